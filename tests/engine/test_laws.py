"""Laws that hold for every run: conservation, determinism, and that a pause changes nothing (P1, P4–P9)."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Counting, Gap, ended, events, fleet, simulation, workload

from edgesim.devices.availability import Markov
from edgesim.devices.device import Device
from edgesim.engine.ledger import Ledger
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import (
    Buffered,
    Capped,
    Deadline,
    DelayAdaptive,
    Periodic,
    Polynomial,
    Safa,
    Schedule,
    Sync,
    Tiered,
    TimelyFl,
)
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError
from edgesim.results.recorder import Recorder

S = 1_000_000_000
rules = st.builds(Rules, transfer=st.sampled_from(["abort", "resume"]), training=st.sampled_from(["abort", "resume"]))


KINDS: dict[str, Callable[[], Schedule]] = {
    "sync": lambda: Sync(3),
    "async": lambda: Buffered(4, 1, Polynomial(0.5), max_staleness=4),
    "buffered": lambda: Buffered(4, 3, Polynomial(0.5), max_staleness=4),
    "deadline": lambda: Deadline(2, 3, 6 * S),
    "deadline-kept": lambda: Deadline(2, 3, 6 * S, late_kept=True, weight=Polynomial(0.5), max_staleness=3),
    "periodic": lambda: Periodic(4, 5 * S, Capped(4, 0.1)),
    "periodic-at-tick": lambda: Periodic(4, 5 * S, DelayAdaptive(4), at_once=False),
    "tiered": lambda: Tiered(2, 2, retier=5),
    "safa": lambda: Safa(2, 2, 6 * S),
    "timelyfl": lambda: TimelyFl(4, 2),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def world(
    folder: Path, name: str, rule: Rules, speeds: list[float], seed: int, recorder: Recorder | None = None
) -> tuple[Simulation, Counting]:
    devices = fleet(speeds, availability=Markov(mean_on_s=9.0, mean_off_s=3.0), seed=seed)
    return simulation(
        folder, devices, KINDS[name](), Stop(time_ns=120_000_000_000),
        rules=rule, evaluate=Evaluate(every_ns=7_000_000_000), seed=seed, recorder=recorder,
    )  # fmt: skip


speeds = st.lists(st.floats(0.1, 8.0), min_size=4, max_size=8)


@every_kind
@given(rules, speeds, st.integers(0, 1000))
@settings(max_examples=15)
def test_conservation_under_random_availability(name: str, rule: Rules, speed: list[float], seed: int) -> None:
    """`finish` checks seconds, bytes, joules, FLOPs and jobs; here time, order and staleness besides."""
    with TemporaryDirectory() as folder:
        run, learning = world(Path(folder), name, rule, speed, seed)
        run.begin()
        run.run()
        laws = run.finish()
    assert len(laws) == 11
    rows = run.state()["recorder"]["events"]
    assert all(start <= end for _, _, _, _, start, end, *_ in rows)
    arrivals = [row[12] for row in rows if row[12] is not None]
    assert all(staleness >= 0 for staleness in arrivals)
    assert run.version == len(learning.aggregations)
    busy = run.ledger.phase_ns.sum(0)
    assert (busy <= run.fleet.availability.on_ns_all(run.now_ns)).all()  # nobody works while off line


@every_kind
def test_whatever_the_schedule_nothing_begins_while_the_server_computes(tmp_path: Path, name: str) -> None:
    """2 s of computing at each aggregation, on devices that come and go."""
    machine = Device(
        name="small", device_class="server", compute_flops=1e9, bandwidth_bytes_per_s=1e12, step_overhead_s=0,
        sparse_efficiency=1, ram_bytes=2000, usable=1, idle_w=10, training_w=50,
    )  # fmt: skip
    devices = fleet([1.0, 2.0, 5.0, 1.5, 3.0, 2.5], availability=Markov(mean_on_s=40.0, mean_off_s=3.0), seed=1)
    run, learning = simulation(
        tmp_path, devices, KINDS[name](), Stop(time_ns=200 * S), rules=Rules(transfer="resume", training="resume"),
        learning=Counting(6, server_work=workload(2e9)), server=machine,
    )  # fmt: skip
    run.begin()
    seen = 0
    while not run.stopped:
        run.step()
        for job in [job for job in run.server.jobs.values() if job.id >= seen]:
            assert run.server.work.until_ns <= job.dispatched_ns
        seen = run.server.dispatches
    run.finish()
    assert len(learning.aggregations) > 5


@every_kind
@given(rules, speeds, st.integers(0, 1000), st.lists(st.integers(1, 60), min_size=1, max_size=3))
@settings(max_examples=15)
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
    assert broken.state()["recorder"] == whole.state()["recorder"]
    assert again.aggregations == learned.aggregations
    assert again.mergings[-1:] == learned.mergings[-1:] or not again.mergings
    assert broken.now_ns == whole.now_ns


def after(instants: int) -> Callable[[Simulation], bool]:
    left = [instants]

    def pause(_: Simulation) -> bool:
        left[0] -= 1
        return left[0] <= 0

    return pause


def hand(name: str, by: float, at: int | None = None) -> Callable[[Ledger], None]:
    """Falsify an entry of a ledger: a total's, or, with `at`, that of a device."""

    def change(books: Ledger) -> None:
        if at is not None:
            getattr(books, name)[..., at] += by
        elif hasattr(books, name):
            setattr(books, name, getattr(books, name) + by)
        else:
            account, entry = name.split(".")
            setattr(getattr(books, account), entry, getattr(getattr(books, account), entry) + by)

    return change


@pytest.mark.parametrize(
    ("falsified", "broken"),
    [
        (hand("dispatched", 1, at=0), "jobs by device = total"),
        (lambda books: books.count("lost", 1), "jobs dispatched = aggregated + lost + discarded + in flight"),
        (hand("phase_ns", 10**12, at=0), "busy + idle + no charge + off = wall-clock, for each device"),
        (hand("phase_ns", 1, at=0), "time by device and state = total"),
        (hand("useful.ns", 1), "time = useful + wasted + in flight"),
        (hand("bytes_up", 1, at=2), "bytes by device = total"),
        (hand("delivered", 1), "bytes sent = delivered + lost + in flight"),
        (hand("broken", -1), "bytes sent = delivered + lost + in flight"),
        (hand("wasted.bytes_down", 1), "bytes = useful + wasted + in flight"),
        (hand("phase_j", 1e-3, at=1), "energy by device and state = total"),
        (hand("wasted.energy_j", 1e-3), "energy = useful + wasted + in flight"),
        (hand("wasted.energy_j", -1e-3), "energy = useful + wasted + in flight"),
        (hand("useful.flops", 1e3), "FLOPs = useful + wasted + in flight"),
    ],
)
def test_books_that_do_not_balance_end_the_run(
    tmp_path: Path, falsified: Callable[[Ledger], None], broken: str
) -> None:
    """A byte, a nanosecond, a job, a millijoule or a thousand FLOPs that nobody spent."""
    run, _ = world(tmp_path, "buffered", Rules(), [1.0, 2.0, 0.5, 3.0, 1.5, 2.5], 3)
    run.begin()
    run.run()
    assert run.ledger.wasted.bytes_down > 0
    falsified(run.ledger)
    with pytest.raises(RunError, match=rf"broke its own laws of conservation: .*{re.escape(broken)}"):
        run.finish()


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
        assert rest.state()["recorder"] == whole.state()["recorder"]


def test_a_device_that_leaves_gives_up_or_resumes_by_rule(tmp_path: Path) -> None:
    """Off from 2 s to 5 s: a 3 s training begun at 1 s is lost at 2 s, or done at 7 s."""
    outcomes = {}
    for rule in ("abort", "resume"):
        devices = fleet([3.0], availability=Gap(2_000_000_000, 5_000_000_000))
        run, _ = ended(tmp_path / rule, devices, Sync(1), Stop(time_ns=8_000_000_000), rules=Rules(training=rule))
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
    run, _ = ended(tmp_path, fleet([2.0], tail_s=10.0), Sync(1), Stop(aggregations=1))
    assert run.ledger.total.energy_j == pytest.approx(4 * 1.0 + (2 + 10) * 0.5)
    assert run.ledger.phase_j[:, 0].tolist() == pytest.approx([1 + 5, 2, 1 + 1])  # booked when each transfer ends


def test_a_lost_transfer_wastes_what_it_moved(tmp_path: Path) -> None:
    """Off at 0.25 s: a quarter of the megabyte went down, at 1 W."""
    devices = fleet([1.0], availability=Gap(250_000_000, 10_000_000_000))
    run, _ = ended(tmp_path, devices, Sync(1), Stop(time_ns=1_000_000_000))
    assert run.ledger.wasted.bytes_down == 250_000
    assert run.ledger.wasted.energy_j == pytest.approx(0.25)


def test_the_final_figures_say_what_was_wasted(tmp_path: Path) -> None:
    """Off from 2.5 s on, in the middle of the upload: 1 MB down, all of the training and half a MB up were in vain."""
    run, _ = ended(tmp_path, fleet([1.0], availability=Gap(2_500_000_000, None)), Sync(1), Stop(time_ns=3 * S))
    wasted = {"wasted_s": 2.5, "wasted_bytes": 1_500_000, "wasted_j": pytest.approx(2.5), "wasted_flops": 1e9}
    spent = {"bytes_down": 1_000_000, "bytes_up": 500_000, "energy_j": pytest.approx(2.5), "flops": 1e9}
    fates = {"jobs_dispatched": 1, "jobs_aggregated": 0, "jobs_lost": 1, "jobs_discarded": 0, "jobs_in_flight": 0}
    assert {name: run.last[name] for name in (*wasted, *spent, *fates)} == wasted | spent | fates


def test_a_model_that_does_not_fit_is_out_of_memory_visibly(tmp_path: Path) -> None:
    run, _ = ended(tmp_path, fleet([1.0], memory_bytes=999), Sync(1), Stop(time_ns=3_500_000_000))
    assert events(run)[1] == (0, "train", 1.0, 1.0, "out-of-memory")
    assert run.ledger.jobs() == {"dispatched": 4, "aggregated": 0, "lost": 3, "discarded": 0}


def test_a_run_that_can_only_lose_jobs_says_so(tmp_path: Path) -> None:
    run, _ = simulation(tmp_path, fleet([1.0], memory_bytes=999), Sync(1), Stop(aggregations=1))
    run.begin()
    with pytest.raises(RunError, match=r"the last 1000 jobs were all lost \(the last one: lost, out-of-memory\)"):
        run.run()


class Blinking(Gap):
    """On line up to a time, and then for the first tenth of each second."""

    def is_on(self, device: int, t_ns: int) -> bool:
        return t_ns < self.start_ns or t_ns % S < S // 10

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        if t_ns < self.start_ns:
            return self.start_ns
        return t_ns - t_ns % S + (S // 10 if t_ns % S < S // 10 else S)


def test_a_run_whose_jobs_have_begun_to_be_lost_ends_with_what_it_has(tmp_path: Path) -> None:
    """A job takes 1.5 s and more; from 10.5 s on nobody is there for so long."""
    devices = fleet([1.0], availability=Blinking(10 * S + S // 2, None))
    run, _ = simulation(tmp_path, devices, Sync(1), Stop(aggregations=1000))
    run.begin()
    run.run()
    assert run.stopped == "fleet"
    assert run.server.updates > 0
    assert run.ledger.jobs()["lost"] == 1000
    assert "the last 1000 jobs were all lost (the last one: lost, off-line), and no stop.time" in run.server.deserted


def test_nobody_there_and_nobody_coming_is_an_error_not_a_hang(tmp_path: Path) -> None:
    devices = fleet([1.0], availability=Gap(0, None))
    run, _ = simulation(tmp_path, devices, Sync(1), Stop(time_ns=10**12))
    run.begin()
    with pytest.raises(RunError, match="no client is available, none will ever come on line again"):
        run.run()
