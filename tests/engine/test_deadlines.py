"""Rounds with a time limit, by the second. Devices 0, 1 and 2 take 3, 4 and 7 s a job, 1 s of it for each transfer."""

from pathlib import Path

import pytest
from worlds import Counting, Gap, ended, events, fleet, received, simulation

from edgesim.engine.limits import Stop
from edgesim.engine.schedules import Deadline, Periodic, Polynomial, Safa, Sync, TimelyFl
from edgesim.engine.schedules.schedule import Schedule
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError

S = 1_000_000_000
FOREVER = 10**6 * S
SPEEDS = [1.0, 2.0, 5.0]


def run(folder: Path, schedule: Schedule, stop: Stop, speeds: list[float] = SPEEDS) -> tuple[Simulation, Counting]:
    """Begun, and run to its end."""
    return ended(folder, fleet(speeds), schedule, stop)


def test_a_round_ends_with_enough_updates_and_cancels_the_rest(tmp_path: Path) -> None:
    """Three are dispatched for two: at 4 s devices 0 and 1 are there, and 2 is told to stop after 3 s of training."""
    made, learning = run(tmp_path, Deadline(2, 3, FOREVER), Stop(aggregations=2))
    assert made.now_ns == 8 * S
    assert received(learning) == [[(0, 0), (1, 0)]] * 2
    assert [row for row in events(made) if row[0] == 2] == [
        (2, "download", 0.0, 1.0, "done"),
        (2, "train", 1.0, 4.0, "cancelled"),
        (2, "download", 4.0, 5.0, "done"),
        (2, "train", 5.0, 8.0, "cancelled"),
    ]
    assert made.ledger.wasted.ns == 8 * S
    assert made.ledger.jobs() == {"dispatched": 6, "aggregated": 4, "lost": 0, "discarded": 2}


def test_what_is_late_is_cancelled_and_the_part_of_its_upload_is_wasted(tmp_path: Path) -> None:
    """At 3.5 s device 1 has sent half a megabyte."""
    made, learning = run(tmp_path, Deadline(3, 3, 3_500_000_000), Stop(aggregations=1))
    assert made.now_ns == 3_500_000_000
    assert received(learning) == [[(0, 0)]]
    assert (1, "upload", 3.0, 3.5, "cancelled") in events(made)
    assert made.ledger.wasted.bytes_up == 500_000


def test_what_arrives_at_the_instant_of_the_deadline_is_in_time(tmp_path: Path) -> None:
    _, learning = run(tmp_path, Deadline(3, 3, 4 * S), Stop(aggregations=1))
    assert received(learning) == [[(0, 0), (1, 0)]]


def test_late_updates_that_are_kept_are_merged_in_the_round_in_which_they_arrive(tmp_path: Path) -> None:
    """Round 1 ends at 5 without device 2. In round 2 it arrives at 7, one version late, and 0 and 1 at 8 and 9: they
    are all that the round had, so it ends at 9. Round 3 has all three again."""
    schedule = Deadline(3, 3, 5 * S, late_kept=True, weight=Polynomial(1.0))
    made, learning = run(tmp_path, schedule, Stop(aggregations=2))
    assert received(learning) == [[(0, 0), (1, 0)], [(2, 1), (0, 0), (1, 0)]]
    assert [update.discount for update in learning.aggregations[1]] == [0.5, 1.0, 1.0]
    assert made.now_ns == 9 * S
    assert made.ledger.wasted.ns == 0


def test_a_kept_update_beyond_the_largest_staleness_is_discarded(tmp_path: Path) -> None:
    """Rounds of 4 s: device 2 arrives at 7, one version late."""
    schedule = Deadline(3, 3, 4 * S, late_kept=True, max_staleness=0)
    made, _ = run(tmp_path, schedule, Stop(aggregations=2))
    assert (2, "upload", 6.0, 7.0, "stale") in events(made)


def test_a_round_in_which_nothing_arrives_is_none(tmp_path: Path) -> None:
    """2 s are too short for anybody: the version stays 0, and with no other end the run says so."""
    made, learning = run(tmp_path / "timed", Deadline(3, 3, 2 * S), Stop(time_ns=7 * S))
    assert (made.version, learning.aggregations) == (0, [])
    assert made.ledger.jobs() == {"dispatched": 12, "aggregated": 0, "lost": 0, "discarded": 9}
    endless, _ = simulation(tmp_path / "endless", fleet(SPEEDS), Deadline(3, 3, 2 * S), Stop(aggregations=1))
    endless.begin()
    with pytest.raises(RunError, match="the last one: cancelled"):
        endless.run()


def test_a_tick_merges_what_has_arrived_and_clients_are_replaced_at_once(tmp_path: Path) -> None:
    """Arrivals: 0 at 3, 6, 9; 1 at 4, 8; 2 at 7. What began before the tick at 5 is one version late after it."""
    _, learning = run(tmp_path, Periodic(3, 5 * S), Stop(aggregations=2))
    assert received(learning) == [[(0, 0), (1, 0)], [(0, 1), (2, 1), (1, 1), (0, 0)]]


def test_or_they_are_replaced_at_the_tick(tmp_path: Path) -> None:
    """0 and 1 are dispatched to at 0 and at 5, so they arrive at 8 and 9."""
    made, learning = run(tmp_path, Periodic(3, 5 * S, at_once=False), Stop(aggregations=2))
    assert received(learning) == [[(0, 0), (1, 0)], [(2, 1), (0, 0), (1, 0)]]
    assert [row[2] for row in events(made) if row[:2] == (0, "download")] == [0, 5]


def test_where_nobody_was_there_at_a_tick_the_next_is_not_waited_for(tmp_path: Path) -> None:
    """All are away from 4 s to 8 s. At 3 s device 0 is done and waits for the tick at 5 s, as 1 does from 4 s on; then
    nobody is there, so that both begin at 8 s, when they come back, and do not wait for the tick at 10 s."""
    devices = fleet([1.0, 2.0], availability=Gap(4 * S + 1, 8 * S))
    made, _ = ended(tmp_path, devices, Periodic(2, 5 * S, at_once=False), Stop(aggregations=2))
    assert [row[2] for row in events(made) if row[1] == "download"] == [0, 0, 8, 8]


def test_a_tick_without_arrivals_is_no_aggregation(tmp_path: Path) -> None:
    made, _ = run(tmp_path, Periodic(3, 2 * S), Stop(aggregations=1))
    assert made.now_ns == 4 * S


@pytest.mark.parametrize("speeds", [[2.0] * 4, [1.0, 2.0, 5.0, 3.0]], ids=["equal", "unequal"])
def test_an_endless_deadline_is_a_synchronous_round(tmp_path: Path, speeds: list[float]) -> None:
    assert _seen(tmp_path / "a", Deadline(4, 4, FOREVER), speeds) == _seen(tmp_path / "b", Sync(4), speeds)


@pytest.mark.parametrize(
    "schedule",
    [
        Periodic(4, 4 * S),
        Periodic(4, 4 * S, at_once=False),
        TimelyFl(4, 4),
        Safa(4, 1, FOREVER),
        Deadline(4, 4, 4 * S),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_equal_devices_are_synchronous_under_any_clock_of_the_rounds_length(tmp_path: Path, schedule: Schedule) -> None:
    """4 s a job, 4 s from tick to tick."""
    assert _seen(tmp_path / "a", schedule, [2.0] * 4) == _seen(tmp_path / "b", Sync(4), [2.0] * 4)


def _seen(folder: Path, schedule: Schedule, speeds: list[float]) -> tuple[object, ...]:
    made, learning = run(folder, schedule, Stop(aggregations=3), speeds)
    clients = [sorted(update.client for update in each) for each in learning.aggregations]
    return made.now_ns, clients, sorted(events(made)), made.ledger.total.state()
