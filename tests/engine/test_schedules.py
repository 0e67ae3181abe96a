"""Schedules on devices whose every duration is a whole second: download 1 s, training as said, upload 1 s."""

from pathlib import Path

import pytest
from worlds import ended, events, fleet, simulation

from edgesim.engine.limits import Stop
from edgesim.engine.schedules import (
    Buffered,
    Capped,
    DelayAdaptive,
    Hinge,
    Polynomial,
    Sync,
    Threshold,
    Weight,
    constant,
)


def test_one_job_takes_download_then_training_then_upload(tmp_path: Path) -> None:
    """1 MB over 8 Mbit/s takes exactly 1 s each way; 1 GFLOP at 0.5 GFLOP/s takes 2 s."""
    run, _ = simulation(tmp_path, fleet([2.0]), Sync(1), Stop(aggregations=1))
    run.begin()
    assert run.run()
    assert events(run) == [
        (0, "download", 0.0, 1.0, "done"), (0, "train", 1.0, 3.0, "done"), (0, "upload", 3.0, 4.0, "done")
    ]  # fmt: skip
    assert run.now_ns == 4_000_000_000


def test_a_sync_round_lasts_as_long_as_its_slowest(tmp_path: Path) -> None:
    run, learning = simulation(tmp_path, fleet([1.0, 2.0, 5.0]), Sync(3), Stop(aggregations=2))
    run.begin()
    run.run()
    assert run.now_ns == 2 * 7_000_000_000  # 1 + 5 + 1 s a round
    assert [len(a) for a in learning.aggregations] == [3, 3]


def test_buffered_replaces_a_finished_client_at_once(tmp_path: Path) -> None:
    """Two devices, the fast one (3 s a job) arrives at 3, 6, 9 and the slow one (8 s) at 8: with a buffer of 2
    the server aggregates at 6 (fast, fast) and at 9 (slow, fast).  At 8 the slow update is one version old."""
    run, learning = simulation(tmp_path, fleet([1.0, 6.0]), Buffered(2, 2, constant), Stop(aggregations=2))
    run.begin()
    run.run()
    assert run.now_ns == 9_000_000_000
    received = [[(u.client, u.staleness) for u in a] for a in learning.aggregations]
    # the fast client's third job began at 6 after the first aggregation: fresh
    assert received == [[(0, 0), (0, 0)], [(1, 1), (0, 0)]]


def test_a_buffer_of_one_advances_the_version_with_each_arrival(tmp_path: Path) -> None:
    run, learning = simulation(tmp_path, fleet([1.0, 6.0]), Buffered(2, 1, constant), Stop(aggregations=3))
    run.begin()
    run.run()
    assert [[(u.client, u.staleness) for u in a] for a in learning.aggregations] == [
        [(0, 0)],
        [(0, 0)],
        [(1, 2)],
    ]


def test_too_stale_updates_are_discarded_and_their_cost_is_wasted(tmp_path: Path) -> None:
    schedule = Buffered(2, 1, constant, max_staleness=1)
    run, _ = ended(tmp_path, fleet([1.0, 6.0]), schedule, Stop(time_ns=8_500_000_000))
    assert events(run)[-2] != events(run)[-1]
    assert (1, "upload", 7.0, 8.0, "stale") in events(run)
    assert run.ledger.jobs()["discarded"] == 1
    assert run.ledger.wasted.ns == 8_000_000_000


def test_equal_clients_with_a_full_buffer_are_a_synchronous_round(tmp_path: Path) -> None:
    """Buffer = concurrency = all, equal speeds: the same instants and the same companies as sync."""
    seen = []
    for name, schedule in (("sync", Sync(4)), ("buffered", Buffered(4, 4, constant))):
        run, learning = simulation(tmp_path / name, fleet([2.0] * 4), schedule, Stop(aggregations=3))
        run.begin()
        run.run()
        seen.append((run.now_ns, [[u.staleness for u in a] for a in learning.aggregations], events(run)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("weight", "staleness", "factor"),
    [
        (constant, 9, 1.0),
        (Polynomial(0.5), 0, 1.0),
        (Polynomial(0.5), 3, 0.5),  # (1 + 3)^-1/2
        (Hinge(slope=10, grace=4), 0, 1.0),
        (Hinge(slope=10, grace=4), 4, 1.0),
        (Hinge(slope=10, grace=4), 5, 1 / 11),  # 1 / (10 (5 - 4) + 1): the "+ 1" that some ports forget
        (Hinge(slope=10, grace=4), 7, 1 / 31),
        (Threshold(cutoff=2, value=0.25), 2, 1.0),
        (Threshold(cutoff=2, value=0.25), 3, 0.25),
        (DelayAdaptive(concurrency=4), 4, 1.0),
        (DelayAdaptive(concurrency=4), 10, 0.4),  # Mishchenko: n / max(n, τ)
        (Capped(concurrency=4, lr=0.1, smoothness=5.0), 4, 1.0),
        (Capped(concurrency=4, lr=0.1, smoothness=5.0), 8, 1 / 16),  # Koloskova: 1 / (4 · 5 · 0.1 · 8)
        (Capped(concurrency=4, lr=0.01, smoothness=1.0), 8, 1.0),  # 1 / 0.32 > 1
    ],
)
def test_staleness_weights(weight: Weight, staleness: int, factor: float) -> None:
    assert weight(staleness) == pytest.approx(factor)


def test_without_a_smoothness_the_cap_discards(tmp_path: Path) -> None:
    """Two at work: the slow device's first update is 7 // 3 = 2 versions late, the cap; with 5 to come it is 4."""
    weight = Capped(concurrency=2, lr=0.1)
    assert (weight(2), weight(3)) == (1.0, None)
    run, _ = ended(tmp_path, fleet([1.0, 12.0]), Buffered(2, 1, weight), Stop(time_ns=15_000_000_000))
    assert run.ledger.jobs()["discarded"] == 1
