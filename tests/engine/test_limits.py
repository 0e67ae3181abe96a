"""Limits: which of them ends a run, and how much of the nearest one is used up."""

from edgesim.engine.limits import Stop, Stopping


def test_the_nearest_limit_says_how_far_a_run_is() -> None:
    limited = Stopping(Stop(time_ns=100, updates=8))
    assert limited.share(time_ns=20, updates=4, energy_j=1e9) == 0.5
    assert limited.share(time_ns=75, updates=4, energy_j=1e9) == 0.75
    assert limited.share(time_ns=101, updates=4, energy_j=1e9) == 1.0
    assert Stopping(Stop(accuracy=0.9)).share(time_ns=20, updates=4) == 0.0


def test_the_limit_reached_first_is_the_one_that_ended_the_run() -> None:
    limited = Stopping(Stop(time_ns=100, updates=8))
    limited.compare(time_ns=99, updates=7)
    assert limited.reached == ""
    limited.compare(updates=8)
    limited.compare(time_ns=100)
    assert limited.reached == "updates"
