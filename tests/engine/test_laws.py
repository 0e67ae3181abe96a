"""Laws that hold for every run: conservation, determinism, and that a pause changes nothing (P1, P4–P9)."""

import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Counting, Gap, events, fleet, simulation

from edgesim.devices.availability import Markov
from edgesim.engine.history import History
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Buffered, Polynomial, Schedule, Sync
from edgesim.engine.selection import IdleClients, Uniform
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError
from edgesim.results.recorder import Recorder

schedules = st.sampled_from(["sync", "buffered", "async"])
rules = st.builds(Rules, transfer=st.sampled_from(["abort", "resume"]), training=st.sampled_from(["abort", "resume"]))


def schedule(name: str) -> Schedule:
    if name == "sync":
        return Sync(3)
    return Buffered(4, 1 if name == "async" else 3, Polynomial(0.5), max_staleness=4)


def world(
    folder: Path, name: str, rule: Rules, speeds: list[float], seed: int, recorder: Recorder | None = None
) -> tuple[Simulation, Counting]:
    devices = fleet(speeds, availability=Markov(mean_on_s=9.0, mean_off_s=3.0), seed=seed)
    return simulation(
        folder, devices, schedule(name), Stop(time_ns=120_000_000_000),
        rules=rule, evaluate=Evaluate(every_ns=7_000_000_000), seed=seed, recorder=recorder,
    )  # fmt: skip


speeds = st.lists(st.floats(0.1, 8.0), min_size=4, max_size=8)


@given(schedules, rules, speeds, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_conservation_under_random_availability(name: str, rule: Rules, speed: list[float], seed: int) -> None:
    """`finish` checks seconds, bytes, joules, FLOPs and jobs; here time, order and staleness besides."""
    with TemporaryDirectory() as folder:
        run, learning = world(Path(folder), name, rule, speed, seed)
        run.begin()
        run.run()
        laws = run.finish()
    assert len(laws) == 11
    rows = run.recorder.state()["events"]
    assert all(start <= end for _, _, _, _, start, end, *_ in rows)
    arrivals = [row[11] for row in rows if row[11] is not None]
    assert all(staleness >= 0 for staleness in arrivals)
    assert run.version == len(learning.aggregations)
    busy = run.ledger.phase_ns.sum(0)
    assert (busy <= run.fleet.availability.on_ns_all(run.now_ns)).all()  # nobody works while off line


@given(schedules, rules, speeds, st.integers(0, 1000), st.lists(st.integers(1, 60), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_pause_anywhere_changes_nothing(
    name: str, rule: Rules, speed: list[float], seed: int, pauses: list[int]
) -> None:
    """Stop between two instants, write everything down, go on in a new simulation: the same rows."""
    with TemporaryDirectory() as folder:
        whole, learned = world(Path(folder) / "whole", name, rule, speed, seed)
        whole.begin()
        whole.run()
        whole.finish()

        broken, _ = world(Path(folder) / "broken", name, rule, speed, seed)
        broken.begin()
        for instants in pauses:
            broken.run(after(instants), events=0)
            state = copy.deepcopy(broken.state())
            recorder = Recorder.restore(Path(folder) / "broken", state["recorder"])
            broken, again = world(Path(folder) / "broken", name, rule, speed, seed, recorder)
            broken.restore(state)
        broken.run()
        broken.finish()
    assert broken.recorder.state() == whole.recorder.state()
    assert again.aggregations == learned.aggregations
    assert broken.now_ns == whole.now_ns


def after(instants: int) -> Callable[[Simulation], bool]:
    left = [instants]

    def pause(_: Simulation) -> bool:
        left[0] -= 1
        return left[0] <= 0

    return pause


def test_ties_fall_the_same_way_after_a_pause(tmp_path: Path) -> None:
    """Equal devices finish at the same instants as evaluations fall due: only their order tells them apart."""

    def make(folder: Path, recorder: Recorder | None = None) -> tuple[Simulation, Counting]:
        return simulation(
            folder, fleet([2.0] * 6), Buffered(6, 2, Polynomial(0.5)), Stop(time_ns=41_000_000_000),
            evaluate=Evaluate(every_ns=4_000_000_000), recorder=recorder,
        )  # fmt: skip

    whole, _ = make(tmp_path / "whole")
    whole.begin()
    whole.run()
    for instants in range(1, 12):
        folder = tmp_path / str(instants)
        part, _ = make(folder)
        part.begin()
        part.run(after(instants), events=0)
        state = copy.deepcopy(part.state())
        rest, _ = make(folder, Recorder.restore(folder, state["recorder"]))
        rest.restore(state)
        rest.run()
        assert rest.recorder.state() == whole.recorder.state()


def test_a_device_that_leaves_gives_up_or_resumes_by_rule(tmp_path: Path) -> None:
    """Off from 2 s to 5 s: a 3 s training begun at 1 s is lost at 2 s, or done at 7 s."""
    outcomes = {}
    for rule in ("abort", "resume"):
        devices = fleet([3.0], availability=Gap(2_000_000_000, 5_000_000_000))
        run, _ = simulation(tmp_path / rule, devices, Sync(1), Stop(time_ns=8_000_000_000), rules=Rules(training=rule))
        run.begin()
        run.run()
        run.finish()
        outcomes[rule] = events(run)
    assert outcomes["abort"][:2] == [(0, "download", 0.0, 1.0, "done"), (0, "train", 1.0, 2.0, "lost")]
    assert outcomes["resume"] == [
        (0, "download", 0.0, 1.0, "done"),
        (0, "train", 1.0, 2.0, "interrupted"),
        (0, "train", 5.0, 7.0, "done"),
        (0, "upload", 7.0, 8.0, "in-flight"),
    ]


def test_a_radio_tail_is_paid_once_however_transfers_follow(tmp_path: Path) -> None:
    """1 s down, 2 s training, 1 s up at 1 W, and a tail of 10 s at 0.5 W. The tail after the download lasts the 2 s
    until the upload begins: 1 J; the one after the upload the whole 10 s: 5 J."""
    run, _ = simulation(tmp_path, fleet([2.0], tail_s=10.0), Sync(1), Stop(aggregations=1))
    run.begin()
    run.run()
    run.finish()
    assert run.ledger.total.energy_j == pytest.approx(4 * 1.0 + (2 + 10) * 0.5)
    assert run.ledger.phase_j[:, 0].tolist() == pytest.approx([1 + 5, 2, 1 + 1])  # booked when each transfer ends


def test_a_lost_transfer_wastes_what_it_moved(tmp_path: Path) -> None:
    """Off at 0.25 s: a quarter of the megabyte went down, at 1 W."""
    devices = fleet([1.0], availability=Gap(250_000_000, 10_000_000_000))
    run, _ = simulation(tmp_path, devices, Sync(1), Stop(time_ns=1_000_000_000))
    run.begin()
    run.run()
    run.finish()
    assert run.ledger.wasted.bytes_down == 250_000
    assert run.ledger.wasted.energy_j == pytest.approx(0.25)


def test_a_model_that_does_not_fit_is_out_of_memory_visibly(tmp_path: Path) -> None:
    run, _ = simulation(tmp_path, fleet([1.0], memory_bytes=999), Sync(1), Stop(time_ns=3_500_000_000))
    run.begin()
    run.run()
    run.finish()
    assert events(run)[1] == (0, "train", 1.0, 1.0, "out-of-memory")
    assert run.ledger.jobs() == {"dispatched": 4, "aggregated": 0, "lost": 3, "discarded": 0}


def test_a_run_that_can_only_lose_jobs_says_so(tmp_path: Path) -> None:
    run, _ = simulation(tmp_path, fleet([1.0], memory_bytes=999), Sync(1), Stop(aggregations=1))
    run.begin()
    with pytest.raises(RunError, match=r"the last 1000 jobs were all lost \(the last one: out-of-memory\)"):
        run.run()


def test_nobody_there_and_nobody_coming_is_an_error_not_a_hang(tmp_path: Path) -> None:
    devices = fleet([1.0], availability=Gap(0, None))
    run, _ = simulation(tmp_path, devices, Sync(1), Stop(time_ns=10**12))
    run.begin()
    with pytest.raises(RunError, match="no client is available, none will ever come on line again"):
        run.run()


@pytest.mark.parametrize("clients", [10, 100_000])
def test_a_uniform_choice_asks_as_many_as_it_must_whatever_the_fleet(clients: int) -> None:
    """Where every second client is on line, choosing 5 asks about 10 of them, of ten or of a hundred thousand."""
    asked: list[int] = []

    def is_on(client: int) -> bool:
        asked.append(client)
        return client % 2 == 0

    chosen = Uniform(seed=1).select(5, 0, IdleClients(clients), is_on, History(Ledger(clients)))
    assert len(set(chosen)) == 5
    assert len(asked) == len(set(asked)) <= 40


def test_a_uniform_choice_is_uniform_among_idle_clients_on_line() -> None:
    """4,000 choices of 1 of clients 5 to 8 (0 to 4 are off line, 9 is busy): each about 1,000 times
    (5 standard deviations: 137)."""
    counts = np.zeros(10)
    idle = IdleClients(10)
    idle.leave(9)
    for draw in range(4000):
        (client,) = Uniform(seed=3).select(1, draw, idle, lambda c: c >= 5, History(Ledger(10)))
        idle.leave(client)  # as in a run: it gets a job, and gives it back
        idle.join(client)
        counts[client] += 1
    assert counts[:5].sum() == counts[9] == 0
    assert np.abs(counts[5:9] - 1000).max() < 137


@given(st.lists(st.integers(0, 19), max_size=60))
def test_idle_clients_are_a_set_whatever_the_order_of_coming_and_going(moves: list[int]) -> None:
    idle, model = IdleClients(20), set(range(20))
    for client in moves:
        if client in model:
            idle.leave(client)
            model.remove(client)
        else:
            idle.join(client)
            model.add(client)
        assert sorted(idle) == sorted(model)
        assert len(idle) == len(model)
    again = IdleClients(20)
    again.restore(idle.state())
    assert list(again) == list(idle)
