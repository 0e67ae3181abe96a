"""Faults that simulators of this kind have had, one test each: what a run must do where they went wrong."""

from collections.abc import Callable
from dataclasses import replace
from functools import total_ordering
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from choosing import Past, candidates, facts
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gossip import TRIANGLE, Meeting
from worlds import Counting, Gap, ended, events, fleet, simulation

from edgesim.engine.clock import Clock
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.schedules import AsyncGossip, Buffered, Gossip, Schedule, Sync, SyncGossip, constant
from edgesim.engine.selection import SELECTORS
from edgesim.engine.simulation import Simulation
from edgesim.engine.timers import Timers
from edgesim.errors import RunError

S = 1_000_000_000


def finished(folder: Path, train_s: list[float], schedule: Schedule, stop: Stop, **given: Any) -> Simulation:
    devices = fleet(train_s, availability=given.pop("availability", None), rate_bps=given.pop("rate_bps", 8e6))
    return ended(folder, devices, schedule, stop, **given)[0]


def versions(run: Simulation) -> list[tuple[int, float]]:
    """(version, when) of each aggregation."""
    return [(row[0], row[1] / S) for row in run.state()["recorder"]["aggregations"]]


# ── the queue of events ─────────────────────────────────────────────────────────────────────────────────────
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | st.integers(0, 50), st.booleans()), max_size=60))
def test_a_timer_cleared_or_moved_leaves_the_order_of_the_others(moves: list[tuple[str, int | None, bool]]) -> None:
    """Set (so far ahead), set anew or cleared (none) at random, and stepped on in between: each rings once, at the
    instant last set, and never before one that is due earlier."""
    table: dict[str, int] = {}

    def rang(name: str, due_ns: int) -> None:
        assert clock.now_ns == due_ns == table.pop(name)
        assert all(due_ns <= other for other in table.values())

    clock = Clock()
    timers = Timers(clock, rang)
    for name, ahead, step in moves:
        if ahead is None:
            timers.clear(name)
            table.pop(name, None)
        else:
            table[name] = clock.now_ns + ahead
            timers.set(name, table[name])
        if step and clock.env.peek() < float("inf"):
            clock.step()
    while clock.env.peek() < float("inf"):
        clock.step()
    assert not table


class GivingUp(Schedule):
    """Dispatches to all at once, and gives these clients' jobs up, each at its instant."""

    def __init__(self, at_ns: dict[int, int]) -> None:
        super().__init__()
        self.at_ns, self.ends = at_ns, list[tuple[int, int]]()

    def proceed(self, server: Any) -> None:
        if not server.dispatches:
            server.dispatch(server.clients)
            for client, at_ns in self.at_ns.items():
                server.set_timer(str(client), at_ns)

    def on_timer(self, server: Any, name: str) -> None:
        for job in [job.id for job in server.jobs.values() if job.client == int(name)]:
            server.cancel(job, "deadline")

    def receive(self, server: Any, update: Any) -> None:
        self.ends.append((server.now_ns, update.client))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=20), st.data())
@settings(max_examples=40)
def test_jobs_given_up_leave_the_order_of_all_others(tenths: list[int], data: Any) -> None:
    """Each job ends 2 s after its training; those cancelled in time never do, and nobody else is passed over."""
    clients = st.integers(0, len(tenths) - 1)
    at_ns = data.draw(st.dictionaries(clients, st.integers(1, 5 * S)))
    schedule = GivingUp(at_ns)
    with TemporaryDirectory() as folder:
        finished(Path(folder), [tenth / 10 for tenth in tenths], schedule, Stop(time_ns=10 * S))
    due = {client: 2 * S + tenth * S // 10 for client, tenth in enumerate(tenths)}
    left = [(end, client) for client, end in due.items() if at_ns.get(client, end) >= end]
    assert [end for end, _ in schedule.ends] == sorted(end for end, _ in left)
    assert sorted(schedule.ends) == sorted(left)


@total_ordering
class Compared(int):
    """An instant that counts how often it is compared with another."""

    count = 0

    def __lt__(self, other: int) -> bool:
        Compared.count += 1
        return int(self) < int(other)

    def __eq__(self, other: object) -> bool:
        Compared.count += 1
        return int(self) == other

    __hash__ = int.__hash__

    def __add__(self, other: int) -> "Compared":
        return Compared(int(self) + int(other))

    __radd__ = __add__

    def __sub__(self, other: int) -> "Compared":
        return Compared(int(self) - int(other))


def test_a_hundred_thousand_pending_events_cost_less_than_twice_a_thousand() -> None:
    """By comparisons of instants when 500 events happen, each of which makes another: log2 of 10^5 is 17, that of
    10^3 is 10. A sorted list would move, and a search compare, a hundred times as many."""
    counts = []
    for pending in (1_000, 100_000):
        clock, draws = Clock(), np.random.default_rng(0)

        def again(_: Any, clock: Clock = clock, draws: Any = draws) -> None:
            clock.at(Compared(clock.now_ns + int(draws.integers(1, 10**12))), 0, [again])

        for due_ns in sorted(draws.integers(1, 10**12, pending).tolist()):
            clock.at(Compared(due_ns), 0, [again])
        Compared.count = 0
        for _ in range(500):
            clock.step()
        counts.append(Compared.count)
    assert 0 < counts[1] < 2 * counts[0]


@pytest.mark.parametrize("name", ["uniform", "data-size", "round-robin", "fastest-available"])
def test_choosing_one_client_does_not_look_at_the_whole_fleet(name: str) -> None:
    """Of a hundred idle clients or of ten thousand, it asks after a handful."""
    asked: list[list[int]] = [[], []]
    for clients, noted in zip((100, 10_000), asked, strict=True):
        selector = SELECTORS[name](3)
        selector.meet(facts([1.0] * clients))
        assert len(selector.select(1, 0, candidates(clients, asked=noted), Past(clients))) == 1
    assert len(asked[1]) <= len(asked[0]) + 8


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_takes_less_than_a_second_takes_what_it_takes(tmp_path: Path) -> None:
    """1 MB over 8 Gbit/s is 1 ms, training 2.5 ms: nothing is cut to whole seconds, or ticks."""
    run = finished(tmp_path, [0.0025], Sync(1), Stop(aggregations=2), rate_bps=8e9)
    assert [row[2:4] for row in events(run)][:3] == [(0, 0.001), (0.001, 0.0035), (0.0035, 0.0045)]
    assert versions(run) == [(1, 0.0045), (2, 0.009)]


def test_an_arrival_is_not_held_back_until_its_whole_wave_is_there(tmp_path: Path) -> None:
    """Four are sent off together; the one of an hour delays nobody else's aggregation, at 3, 4 and 5 s."""
    run = finished(tmp_path, [1.0, 2.0, 3.0, 3600.0], Buffered(4, 1, constant), Stop(aggregations=3))
    assert versions(run) == [(1, 3.0), (2, 4.0), (3, 5.0)]


# ── versions and staleness ──────────────────────────────────────────────────────────────────────────────────
def test_updates_that_arrive_together_are_merged_one_by_one_in_asynchronous_learning(tmp_path: Path) -> None:
    """Two equal devices: two versions at 3 s, the second update one version late; no mean of both as one version."""
    learning = Counting(2)
    run = finished(tmp_path, [1.0, 1.0], Buffered(2, 1, constant), Stop(time_ns=4 * S), learning=learning)
    assert versions(run) == [(1, 3.0), (2, 3.0)]
    assert [[update.staleness for update in each] for each in learning.aggregations] == [[0], [1]]


def test_only_a_full_buffer_makes_a_version(tmp_path: Path) -> None:
    """A buffer of two: neither evaluations all the while, nor an arrival short of it (3 s), nor a loss, when all leave
    at 3.5 s, nor idle time does; what was received waits for the next arrival, at 13 s, and is not stale by then."""
    learning = Counting(2)
    run = finished(
        tmp_path, [1.0, 4.0], Buffered(2, 2, constant), Stop(time_ns=14 * S), learning=learning,
        availability=Gap(3_500_000_000, 10 * S), evaluate=Evaluate(every_ns=S // 10),
    )  # fmt: skip
    assert versions(run) == [(1, 13.0)]
    assert [[(u.client, u.staleness) for u in each] for each in learning.aggregations] == [[(0, 0), (0, 0)]]
    assert run.ledger.jobs()["lost"] == 2


def test_a_staleness_of_none_at_all_may_be_demanded(tmp_path: Path) -> None:
    """0 tolerated is a limit, not its absence: of two that arrive together the second is one version late, and out."""
    learning = Counting(2)
    run = finished(
        tmp_path, [1.0, 1.0], Buffered(2, 1, constant, max_staleness=0), Stop(time_ns=4 * S), learning=learning
    )
    assert [[update.staleness for update in each] for each in learning.aggregations] == [[0]]
    assert run.ledger.jobs()["discarded"] == 1


def test_nobody_is_chosen_for_what_only_the_future_knows(tmp_path: Path) -> None:
    """A device that will leave in the middle of its job is dispatched to like any other, and its job is lost: only
    one that will stay could be told apart by knowing the future."""
    run = finished(tmp_path, [5.0], Sync(1), Stop(time_ns=3 * S), availability=Gap(2 * S, 2 * S + 1))
    assert events(run)[:2] == [(0, "download", 0, 1, "done"), (0, "train", 1, 2, "lost")]


# ── time that stands still ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", [SyncGossip, AsyncGossip])
def test_a_job_that_is_lost_where_it_begins_is_not_begun_again_at_the_same_instant(
    tmp_path: Path, kind: Callable[..., Gossip]
) -> None:
    """Peers download nothing, so device 0, with too little memory, loses its turn at once; were it given another there
    and then, time would stand still. The others learn on, and it has its next turn when something has happened."""
    devices = replace(fleet([1.0, 1.0, 1.0]), memory_bytes=np.array([10, 10**9, 10**9]))
    run, _ = simulation(tmp_path, devices, kind(neighbours=TRIANGLE), Stop(time_ns=20 * S), learning=Meeting(3))
    stepped(run)
    assert run.stopped == "time"
    assert run.version > 3
    starts = [row[2] for row in events(run) if row[:2] == (0, "train")]
    assert 1 < len(starts) == len(set(starts))


@pytest.mark.parametrize("kind", [SyncGossip, AsyncGossip])
def test_peers_none_of_whom_can_train_are_an_error_and_no_endless_loop(
    tmp_path: Path, kind: Callable[..., Gossip]
) -> None:
    devices = fleet([1.0, 1.0, 1.0], memory_bytes=10)
    run, _ = simulation(tmp_path, devices, kind(neighbours=TRIANGLE), Stop(time_ns=20 * S), learning=Meeting(3))
    with pytest.raises(RunError, match="from 0 s on nobody works: no client is available"):
        stepped(run)


def stepped(run: Simulation) -> None:
    """To its end, but no more than 2000 events, so that an endless loop fails the test."""
    run.begin()
    for _ in range(2000):
        if not run.stopped:
            run.step()
