"""Idle is free (P7), and runs in one process do not know of each other."""

from pathlib import Path

import numpy as np
import pytest
from worlds import events, fleet, simulation

from edgesim.devices.availability import Markov
from edgesim.engine.limits import Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Buffered, Sync, constant
from edgesim.engine.simulation import Simulation


def steps(run: Simulation) -> int:
    """Events that a run processes."""
    count = 0
    step = run.step

    def counted() -> int:
        nonlocal count
        happened = step()
        count += happened
        return happened

    run.step = counted  # type: ignore[method-assign]
    run.begin()
    run.run()
    return count


@pytest.mark.parametrize("schedule", ["sync", "buffered"])
def test_events_do_not_grow_with_idle_devices(tmp_path: Path, schedule: str) -> None:
    """Twenty aggregations take as many events in a fleet of 10 as in one of 10,000, of which half come and go."""
    counts = []
    for devices in (10, 10_000):
        made = fleet([1.0] * devices, availability=Markov(mean_on_s=1e5, mean_off_s=1e5))
        plan = Sync(2) if schedule == "sync" else Buffered(2, 2, constant)
        run, _ = simulation(
            tmp_path / f"{devices}",
            made,
            plan,
            Stop(aggregations=20),
            rules=Rules(transfer="resume", training="resume"),
        )
        counts.append(steps(run))
    assert counts[0] == counts[1]


def test_events_do_not_grow_with_idle_time(tmp_path: Path) -> None:
    """One slow client: an hour of training is as many events as a second of it."""
    counts = []
    for train_s in (1.0, 3600.0):
        run, _ = simulation(tmp_path / f"{train_s}", fleet([train_s] * 5), Sync(1), Stop(aggregations=3))
        counts.append(steps(run))
    assert counts[0] == counts[1]


def test_two_simulations_side_by_side_do_not_affect_each_other(tmp_path: Path) -> None:
    """Interleaved event by event, with other devices, schedules and seeds: each as it is alone."""

    def make(name: str) -> list[Simulation]:
        first, _ = simulation(tmp_path / name / "a", fleet([1.0, 2.0, 4.0]), Sync(2), Stop(aggregations=9), seed=1)
        other = fleet([3.0, 0.5], rate_bps=1e6, availability=Markov(mean_on_s=30, mean_off_s=5), seed=2)
        second, _ = simulation(tmp_path / name / "b", other, Buffered(2, 1, constant), Stop(aggregations=9), seed=2)
        for run in (first, second):
            run.begin()
        return [first, second]

    alone = make("alone")
    for run in alone:
        run.run()
    together = make("together")
    turn = np.random.default_rng(0)
    while any(not run.stopped for run in together):
        run = together[int(turn.integers(2))]
        if not run.stopped:
            run.step()
    assert [events(run) for run in together] == [events(run) for run in alone]
