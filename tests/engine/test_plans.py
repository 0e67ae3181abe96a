"""Plans: whatever is planned ahead comes out as if each phase had been looked at when its time came.

The boards of worlds.py: 1 s down, training as said, 1 s up; 1 W in every state; 1 MB each way, 1 GFLOP.
"""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import MB, Counting, Gap, ended, events, fleet, simulation

from edgesim.devices.availability import Markov
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.rules import Rules
from edgesim.engine.schedules import Buffered, Polynomial, Schedule, Sync
from edgesim.engine.simulation import Simulation
from edgesim.results.recorder import Recorder

S = 1_000_000_000


def finished(folder: Path, gap: Gap, rule: str, stop_s: float, **options: Any) -> Simulation:
    """A client that trains 2 s, in rounds of one."""
    rules = Rules(transfer=rule, training=rule)  # type: ignore[arg-type]
    devices = fleet([2.0], availability=gap, **options)
    return ended(folder, devices, Sync(1), Stop(time_ns=round(stop_s * S)), rules=rules)[0]


@pytest.mark.parametrize(
    ("gap_s", "aborted", "moved", "joules"),
    [
        (0.5, [("download", 0, 0.5, "lost")], (MB // 2, 0), 0.5),
        (1.0, [("download", 0, 1, "done"), ("train", 1, 1, "lost")], (MB, 0), 1.0),
        (2.5, [("download", 0, 1, "done"), ("train", 1, 2.5, "lost")], (MB, 0), 2.5),
        (3.0, [("download", 0, 1, "done"), ("train", 1, 3, "done"), ("upload", 3, 3, "lost")], (MB, 0), 3.0),
        (3.25, [("download", 0, 1, "done"), ("train", 1, 3, "done"), ("upload", 3, 3.25, "lost")], (MB, MB // 4), 3.25),
    ],
)
def test_an_absence_ends_the_job_in_each_phase(
    tmp_path: Path, gap_s: float, aborted: list[tuple[Any, ...]], moved: tuple[int, int], joules: float
) -> None:
    """To leave at the instant at which a phase ends is early enough for that phase, and too early for the next."""
    run = finished(tmp_path, Gap(round(gap_s * S), 100 * S), "abort", 50)
    assert events(run) == [(0, *row) for row in aborted]
    wasted = run.ledger.wasted
    assert (wasted.bytes_down, wasted.bytes_up) == moved
    assert wasted.energy_j == pytest.approx(joules)
    assert run.ledger.jobs() == {"dispatched": 1, "aggregated": 0, "lost": 1, "discarded": 0}


@pytest.mark.parametrize(
    ("gap_s", "resumed"),
    [
        (0.5, [("download", 0, 0.5, "interrupted"), ("download", 10, 10.5, "done"), ("train", 10.5, 12.5, "done")]),
        (1.0, [("download", 0, 1, "done"), ("train", 10, 12, "done"), ("upload", 12, 13, "done")]),
        (2.5, [("download", 0, 1, "done"), ("train", 1, 2.5, "interrupted"), ("train", 10, 10.5, "done")]),
        (3.25, [("train", 1, 3, "done"), ("upload", 3, 3.25, "interrupted"), ("upload", 10, 10.75, "done")]),
    ],
)
def test_an_absence_is_waited_for_in_each_phase(tmp_path: Path, gap_s: float, resumed: list[tuple[Any, ...]]) -> None:
    run = finished(tmp_path, Gap(round(gap_s * S), 10 * S), "resume", 14)
    rows = [row[1:] for row in events(run)]
    start = rows.index(resumed[0])
    assert rows[start : start + 3] == resumed
    assert run.ledger.jobs()["aggregated"] == 1
    assert run.ledger.useful.ns == 4 * S
    assert run.ledger.useful.energy_j == pytest.approx(4.0)
    assert (run.ledger.useful.bytes_down, run.ledger.useful.bytes_up) == (MB, MB)


@pytest.mark.parametrize(
    ("stop_s", "rows", "figures"),
    [
        # (bytes down, bytes up, FLOPs, joules): 1 MB/s, 0.5 GFLOP/s, 1 W; the tail of 0.5 s at 0.5 W comes after
        (0.25, [("download", 0, 0.25, "in-flight")], (MB // 4, 0, 0, 0.25)),
        (1.0, [("download", 0, 1, "done")], (MB, 0, 0, 1.25)),
        (2.0, [("download", 0, 1, "done"), ("train", 1, 2, "in-flight")], (MB, 0, 0.5e9, 2.25)),
        (3.0, [("download", 0, 1, "done"), ("train", 1, 3, "done")], (MB, 0, 1e9, 3.25)),
        (
            3.75,
            [("download", 0, 1, "done"), ("train", 1, 3, "done"), ("upload", 3, 3.75, "in-flight")],
            (MB, 3 * MB // 4, 1e9, 4.0),
        ),
        # the clock stops before what happens at that instant: all is there but its arrival, and its tail
        (
            4.0,
            [("download", 0, 1, "done"), ("train", 1, 3, "done"), ("upload", 3, 4, "in-flight")],
            (MB, MB, 1e9, 4.25),
        ),
    ],
)
def test_the_end_of_the_run_cuts_a_plan_where_it_stands(
    tmp_path: Path, stop_s: float, rows: list[tuple[Any, ...]], figures: tuple[float, ...]
) -> None:
    run = finished(tmp_path, Gap(100 * S, 200 * S), "abort", stop_s, tail_s=0.5)
    assert events(run) == [(0, *row) for row in rows]
    total = run.ledger.total
    assert (total.bytes_down, total.bytes_up, total.flops, total.energy_j) == pytest.approx(figures)
    metrics = run.last  # taken before the books were closed
    assert tuple(metrics[name] for name in ("bytes_down", "bytes_up", "flops", "energy_j")) == pytest.approx(figures)
    assert run.ledger.jobs()["aggregated"] == 0


def test_an_energy_limit_is_met_at_the_end_of_the_phase_that_reaches_it(tmp_path: Path) -> None:
    """Two clients at 1 W each, 1 + 2 + 1 and 1 + 6 + 1 s. Phases end at 1, 1, 3 and 4 s: 1, 2, 4 and 5 J so far.
    A limit of 4.5 J is met at 4 s; the slow client has then trained for 3 of its 6 s."""
    run, _ = ended(tmp_path, fleet([2.0, 6.0]), Sync(2), Stop(energy_j=4.5))
    assert (run.stopped, run.now_ns) == ("energy", 4 * S)
    assert run.ledger.total.energy_j == pytest.approx(4 + 4)
    assert run.ledger.phase_ns[:, 1].tolist() == [1 * S, 3 * S, 0]


def test_a_bytes_limit_counts_what_is_through(tmp_path: Path) -> None:
    """Down at 1 s, up at 4 s, a megabyte each."""
    run, _ = simulation(tmp_path, fleet([2.0]), Sync(1), Stop(bytes=MB + 1))
    run.begin()
    run.run()
    assert (run.stopped, run.now_ns) == ("bytes", 4 * S)


def test_a_run_taken_up_inside_a_plan_goes_on_with_it(tmp_path: Path) -> None:
    """Every client down by 1 s, training until 3, 5 and 9 s: written down between 3 and 5 s, where two plans have
    begun and have not ended, and one client waits for the others."""

    def make(folder: str, recorder: Recorder | None = None) -> Simulation:
        run, _ = simulation(
            tmp_path / folder, fleet([2.0, 4.0, 8.0], tail_s=1.5), Sync(3), Stop(aggregations=2),
            evaluate=Evaluate(every_ns=4_500_000_000), recorder=recorder,
        )  # fmt: skip
        return run

    whole = make("whole")
    whole.begin()
    whole.run()
    laws = whole.finish()
    part = make("part")
    part.begin()
    assert not part.run(lambda run: run.now_ns >= 4 * S, events=0)
    state = copy.deepcopy(part.state())
    assert len(state["server"]["flight"]["jobs"]) == 2
    rest = make("part", Recorder.restore(tmp_path / "part", state["recorder"]))
    rest.restore(state)
    assert repr(rest.state()) == repr(state)
    rest.run()
    assert rest.finish() == laws
    assert rest.state()["recorder"] == whole.state()["recorder"]


schedules = st.sampled_from(["sync", "buffered", "async"])
interruptions = st.sampled_from(["abort", "resume"])
rules = st.builds(Rules, transfer=interruptions, training=interruptions)
speeds = st.lists(st.floats(0.1, 8.0), min_size=4, max_size=8)


def schedule(name: str) -> Schedule:
    return Sync(3) if name == "sync" else Buffered(4, 1 if name == "async" else 3, Polynomial(0.5), max_staleness=4)


@given(
    schedules,
    rules,
    speeds,
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([(0.0, 0.0), (1.5, 0.2)]),
    st.integers(0, 1000),
)
@settings(max_examples=40)
def test_planned_whole_planned_by_phase_and_sized_late_are_one(
    name: str, rule: Rules, speed: list[float], latency_s: float, radio: tuple[float, float], seed: int
) -> None:
    """The same rows in the same order, the same ledger and the same metrics, to the last bit."""
    seen = []
    with TemporaryDirectory() as folder:
        for kind, stop in (
            ("whole", Stop(time_ns=60 * S)),
            ("by phase", Stop(time_ns=60 * S, energy_j=1e18)),
            ("late", Stop(time_ns=60 * S)),
        ):
            devices = fleet(
                speed, availability=Markov(mean_on_s=9.0, mean_off_s=3.0), seed=seed, latency_s=latency_s,
                tail_s=radio[0], promotion_s=radio[1], connection=(seed % 2, 4e4 * (seed % 5 > 2)),
            )  # fmt: skip
            run, learning = simulation(
                Path(folder) / kind, devices, schedule(name), stop, rules=rule, seed=seed,
                evaluate=Evaluate(every_ns=7_000_000_000), learning=Counting(len(devices), late=kind == "late"),
            )  # fmt: skip
            run.begin()
            run.run()
            laws = run.finish()
            ledger = {key: repr(value) for key, value in run.ledger.state().items()}
            seen.append((run.state()["recorder"], ledger, laws, learning.aggregations))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", ["sync", "async"])
def test_boards_that_end_together_end_in_the_order_of_dispatch(tmp_path: Path, name: str) -> None:
    """However their plans came about: six equal boards, all on one instant."""
    seen = []
    for late in (False, True):
        counting = Counting(6, late=late)
        run, learning = ended(
            tmp_path / f"{late}", fleet([2.0] * 6), schedule(name), Stop(aggregations=12), learning=counting
        )
        seen.append((run.state()["recorder"], learning.aggregations))
    assert seen[0] == seen[1]
    jobs = [update.job for received in seen[0][1] for update in received]
    assert jobs == sorted(jobs)
