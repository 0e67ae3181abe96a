"""Limits: how much of the nearest one is used up."""

from edgesim.engine.limits import Stop, Stopping


def test_the_nearest_limit_says_how_far_a_run_is() -> None:
    limited = Stopping(Stop(time_ns=100, updates=8))
    assert limited.share(time_ns=20, updates=4, energy_j=1e9) == 0.5
    assert limited.share(time_ns=75, updates=4, energy_j=1e9) == 0.75
    assert limited.share(time_ns=101, updates=4, energy_j=1e9) == 1.0
    assert Stopping(Stop(accuracy=0.9)).share(time_ns=20, updates=4) == 0.0
