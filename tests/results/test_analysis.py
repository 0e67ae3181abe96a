"""The analysis of a run, by hand on a few devices, and its laws."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import CLASSES, metric

from edgesim.errors import ScenarioError
from edgesim.results.analysis import report
from edgesim.results.analysis.absences import COLUMNS as AWAY
from edgesim.results.analysis.absences import Absences
from edgesim.results.analysis.concurrency import Concurrency
from edgesim.results.analysis.jobs import Jobs, blocks
from edgesim.results.analysis.source import Files
from edgesim.results.analysis.staleness import Staleness
from edgesim.results.analysis.tables import mean, sections
from edgesim.results.analysis.usage import TIMES
from edgesim.results.columns import CLIENTS, OUTCOMES, PHASES
from edgesim.results.recorder import Recorder

S = 10**9
SMALL, LARGE = range(len(CLASSES))
Stretch = tuple[str, float, float, str] | tuple[str, float, float, str, str]
WHY = {
    "lost": "off-line", "interrupted": "off-line", "failed": "crash", "corrupt": "corrupt", "cancelled": "deadline",
    "stale": "stale",
}  # fmt: skip


class Written:
    """A run of one small and two large devices, by hand: 1 W, 10 B/s in transfers, 1 FLOP/s in training."""

    def __init__(self, folder: Path) -> None:
        self.recorder = Recorder(folder, CLASSES)
        self.jobs = 0

    def job(self, kind: int, *stretches: Stretch, staleness: int | None = None) -> int:
        rows = [
            (PHASES.index(phase), round(start * S), round(end * S), round(10 * (end - start)) * (phase != "train"),
             (end - start) * (phase == "train"), end - start, outcome, *(why or (WHY.get(outcome, ""),)))
            for phase, start, end, outcome, *why in stretches
        ]  # fmt: skip
        self.recorder.job(self.jobs, kind, kind, 0, rows, staleness)
        self.jobs += 1
        return self.jobs - 1

    def aggregation(self, time: float, done: float, cause: str, job: int | None = None) -> None:
        self.recorder.aggregation(0, round(time * S), round(done * S), 1, cause, job)

    def finish(
        self, end_s: float, absences: Sequence[tuple[Any, ...]] | None = None, **columns: Sequence[float]
    ) -> dict[str, Any]:
        """`absences`: client, and from when to when it is off line, in seconds, or, if anything follows, uncharged."""
        clients: dict[str, Any] = {name: [0, 0, 0] for name in CLIENTS.names}
        clients |= {"client": [0, 1, 2], "device_class": [SMALL, LARGE, LARGE], **columns}
        self.recorder.metric(metric(time_s=end_s))
        away = None if absences is None else np.array([each[:3] for each in absences]).reshape(-1, 3) * [1, S, S]
        columns_of: dict[str, Any] | None = None
        if away is not None:
            columns_of = dict(zip(AWAY, away.astype(np.int64).T.tolist(), strict=True))
            columns_of["reason"] = ["no-charge" if absence[3:] else "off-line" for absence in absences or ()]
        self.recorder.finish(clients=clients, summary={}, availability=columns_of)
        found: dict[str, Any] = json.loads((self.recorder.directory / report.FILE).read_text())
        return found


def whole(start: float, *lengths: float) -> list[Stretch]:
    """Download, training and upload, one after the other, for so long each."""
    ends = np.cumsum([start, *lengths])
    return [(p, *pair, "done") for p, pair in zip(PHASES, pairwise(ends), strict=True)]


def three_rounds(run: Written) -> None:
    """Round 1, 0 to 9 s: a large device is off line for 2 s of its job and arrives last. The server computes until
    10 s, nobody is there until 11 s. Round 2 ends at 16 s with the loss of the small device's job, round 3 at 20 s
    with the deadline, which cancels one job and leaves another one alone; the run ends at 22 s."""
    run.job(SMALL, *whole(0, 1, 2, 1), staleness=0)
    run.job(LARGE, ("download", 0, 2, "done"), ("train", 2, 5, "lost"))
    closing = run.job(
        LARGE, ("download", 0, 2, "done"), ("train", 2, 4, "interrupted"), ("train", 6, 6, "done"),
        ("upload", 6, 9, "done"), staleness=0,
    )  # fmt: skip
    run.aggregation(9, 10, "arrival", closing)
    run.job(LARGE, *whole(11, 1, 1, 1), staleness=0)
    lost = run.job(SMALL, ("download", 11, 12, "done"), ("train", 12, 16, "lost"))
    run.aggregation(16, 16, "loss", lost)
    run.job(SMALL, *whole(16, 1, 1, 1), staleness=0)
    run.job(SMALL, ("download", 19, 20, "cancelled"))
    run.aggregation(20, 20, "timer")
    run.job(LARGE, ("download", 16, 22, "in-flight"))


def test_what_set_the_time_of_three_rounds(tmp_path: Path) -> None:
    run = Written(tmp_path)
    three_rounds(run)
    found = run.finish(22)["critical_path"]
    assert (found["rounds"], found["time_s"]) == (3, 20)
    assert found["closed_by"] == {"arrival": 1, "loss": 1, "timer": 1, "server": 0, "client": 0}
    times = {name: {part: pair["time_s"] for part, pair in parts.items()} for name, parts in found["classes"].items()}
    assert times == {
        "large": {"upload": 3, "train": 2, "download": 2, "waiting": 2},
        "small": {"upload": 0, "train": 4, "download": 1, "waiting": 0},
    }
    assert {rule: pair["time_s"] for rule, pair in found["rules"].items()} == {"server": 1, "dispatch": 1, "timer": 4}
    # of each round the part that took longest: the large device's upload, the small one's training, the deadline
    setters = [name for name, parts in found["classes"].items() for part in parts.values() if part["rounds"]]
    assert setters == ["large", "small"]
    assert found["classes"]["large"]["upload"]["rounds"] == found["classes"]["small"]["train"]["rounds"] == 1
    assert found["rules"]["timer"]["rounds"] == 1


def test_only_the_part_of_a_job_within_its_round_counts(tmp_path: Path) -> None:
    """Asynchronous: a job from 0 to 10 s, then one from 0 to 12 s whose upload took 3 s, two of them in the round; then
    one that was dispatched at 12 s, the moment of its round's begin; then two rounds at one instant."""
    run = Written(tmp_path)
    first = run.job(SMALL, *whole(0, 1, 8, 1), staleness=0)
    run.aggregation(10, 10, "arrival", first)
    second = run.job(LARGE, *whole(0, 2, 7, 3), staleness=1)
    run.aggregation(12, 12, "arrival", second)
    third = run.job(LARGE, *whole(13, 1, 1, 1), staleness=0)
    run.aggregation(16, 16, "arrival", third)
    run.aggregation(16, 16, "arrival", third)
    found = run.finish(20)["critical_path"]
    assert found["classes"]["large"] == {
        "upload": {"rounds": 3, "time_s": 3},  # of equal parts the upload, the last phase, counts as the setter
        "train": {"rounds": 0, "time_s": 1},
        "download": {"rounds": 0, "time_s": 1},
        "waiting": {"rounds": 0, "time_s": 0},
    }
    assert found["rules"]["dispatch"] == {"rounds": 0, "time_s": 1}
    rounds, explained_s = _explained(found)
    assert (rounds, explained_s) == (4, 16.0)


def _explained(path: dict[str, Any]) -> tuple[int, float]:
    pairs = [pair for parts in path["classes"].values() for pair in parts.values()] + [*path["rules"].values()]
    return sum(pair["rounds"] for pair in pairs), sum(pair["time_s"] for pair in pairs)


def test_jobs_in_flight_by_hand(tmp_path: Path) -> None:
    """The small device: 4, 5, 3 and 1 s in flight; the large ones: 5, 9, 3 and 6 s, two of them off line."""
    run = Written(tmp_path)
    three_rounds(run)
    found = run.finish(22)["concurrency"]
    assert found["classes"]["small"] == {"jobs": 13 / 22, "working": 13 / 22}
    assert found["classes"]["large"] == {"jobs": 23 / 22, "working": 21 / 22}
    assert found["all"]["jobs"] == pytest.approx(36 / 22)
    assert np.mean(found["over_time"]["jobs"]) == pytest.approx(36 / 22)
    assert found["over_time"]["jobs"][0] == 3
    assert found["over_time"]["time_s"][-1] == 22


def test_waste_by_hand_with_failed_attempts(tmp_path: Path) -> None:
    """Jobs 1, 4 and 6 of the three rounds, and a job that came through at its third attempt to upload: the first, of
    two pieces of 1 s, broke off, the second, of 1 s, was damaged."""
    run = Written(tmp_path)
    three_rounds(run)
    run.job(
        SMALL, ("download", 20, 20.5, "done"), ("train", 20.5, 21, "done"), ("upload", 21, 22, "interrupted"),
        ("upload", 22, 23, "failed"), ("upload", 23, 24, "corrupt"), ("upload", 24, 25, "done"), staleness=0,
    )  # fmt: skip
    run.job(SMALL, ("download", 25, 26, "failed"))  # under way: it will try again
    waste = run.finish(27)["waste"]
    assert counted(waste["lost"]) == {  # count, seconds, bytes, FLOPs, joules
        "off-line": [2, 5 + 5, 20 + 10, 3 + 4, 10],
        "deadline": [1, 1, 10, 0, 1],
    }
    assert counted(waste["repeated"]) == {"crash": [2, 2 + 1, 20 + 10, 0, 3], "corrupt": [1, 1, 10, 0, 1]}
    assert [*waste["wasted"].values()] == [6, 15, 80, 7, 15]
    assert waste["spent"]["count"] == 10


def counted(works: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    return {name: [*work.values()] for name, work in works.items() if work["count"]}


def test_a_run_of_an_earlier_version_says_of_its_waste_what_it_knows(tmp_path: Path) -> None:
    """Its events have no reasons; what is told by an outcome, is told."""
    run = Written(tmp_path)
    three_rounds(run)
    run.job(SMALL, ("download", 20, 21, "done"), ("train", 21, 21, "out-of-memory"))
    run.finish(22)
    (tmp_path / report.FILE).unlink()
    events = pq.read_table(tmp_path / "events.parquet")
    pq.write_table(events.drop_columns(["reason"]), tmp_path / "events.parquet")
    found = report.read(tmp_path)["waste"]["lost"]
    assert counted(found) == {"not-recorded": [3, 11, 40, 7, 11], "out-of-memory": [1, 1, 10, 0, 1]}


def test_time_and_energy_by_hand(tmp_path: Path) -> None:
    """Of the large devices' 2 · 22 s: 11 s download, 6 s training, 4 s upload, 17 s idle, 6 s off line, 2 of these in
    a job; 21 J in jobs and 9 J without. The small one is on line all the time."""
    run = Written(tmp_path)
    three_rounds(run)
    found = run.finish(
        22, download_s=[4, 11, 0], train_s=[7, 6, 0], upload_s=[2, 4, 0], idle_s=[9, 1, 16], off_s=[0, 0, 6],
        idle_j=[13, 4, 5], jobs_aggregated=[2, 2, 0],
    )  # fmt: skip
    large = found["time"]["classes"]["large"]
    shares = {"download": 11, "train": 6, "upload": 4, "waiting": 2, "idle": 17, "no_charge": 0, "off": 4}
    assert large == {name: pytest.approx(value / 44) for name, value in shares.items()}
    assert found["utilisation"] == {
        "all": pytest.approx(34 / 60), "classes": {"large": pytest.approx(21 / 38), "small": pytest.approx(13 / 22)},
    }  # fmt: skip
    energy = found["energy"]["classes"]["large"]
    assert energy == {
        "joules": 30, "download": pytest.approx(11 / 30), "train": pytest.approx(6 / 30),
        "upload": pytest.approx(4 / 30), "idle": pytest.approx(9 / 30),
    }  # fmt: skip
    part = found["participation"]
    assert (part["jain"], part["gini"]) == (pytest.approx(16 / (3 * 8)), pytest.approx(1 / 3))
    assert part["coverage"] == pytest.approx(2 / 3)
    assert part["classes"]["large"] == {
        "clients": 2, "share_of_clients": pytest.approx(2 / 3), "updates": 2, "share_of_updates": 0.5, "coverage": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("absences", "waiting", "idle", "off"),
    [
        # on line from 3 to 4 s, when the pause after the failed attempt goes on, and from 8 to 9 s, after the outage
        ([(0, 2, 3), (0, 6, 8)], 5, 3, 0),
        ([(0, 2, 3), (0, 6, 8), (1, 0, 10)], 5, 3, 10),
        (None, 5, 3, 0),  # as far as totals tell
    ],
)
def test_what_jobs_wait_is_idle_time_or_time_off_line(
    tmp_path: Path, absences: list[tuple[int, float, float]] | None, waiting: float, idle: float, off: float
) -> None:
    """The small device works for 2 s, pauses for 2, works for 2 and waits for 3; then it is idle, from 9 on for 3 s."""
    run = Written(tmp_path)
    run.job(
        SMALL, ("download", 0, 1, "done"), ("train", 1, 2, "failed"), ("train", 4, 5, "done"),
        ("upload", 5, 6, "interrupted"), ("upload", 9, 9, "done"), staleness=0,
    )  # fmt: skip
    away = [client for client, *_ in absences or ()]
    found = run.finish(
        12, absences, download_s=[1, 0, 0], train_s=[2, 0, 0], upload_s=[1, 0, 0], idle_s=[5, 0, 0],
        off_s=[3, 10 if 1 in away else 0, 0],
    )  # fmt: skip
    assert found["utilisation"]["classes"]["small"] == pytest.approx(4 / 9)
    total = 12 + off
    shares = {"download": 1, "train": 2, "upload": 1, "waiting": waiting, "idle": idle, "no_charge": 0, "off": off}
    assert found["time"]["all"] == {name: pytest.approx(value / total) for name, value in shares.items()}


@pytest.mark.parametrize("absences", [[(0, 2, 5, "uncharged"), (0, 5, 6), (0, 8, 11, "uncharged")], None])
def test_a_device_without_charge_is_not_idle(tmp_path: Path, absences: list[tuple[Any, ...]] | None) -> None:
    """The small device works for 2 s, and waits until 6 s: 3 s for its charge, 1 s off line. From 8 s on, when its job
    is done, it has no charge for 3 s, then it is idle for 1 s. Where only totals are known, all that the job waited
    counts as time without charge, as far as there is so much."""
    run = Written(tmp_path)
    run.job(
        SMALL, ("download", 0, 1, "done"), ("train", 1, 2, "interrupted", "no-charge"), ("train", 6, 7, "done"),
        ("upload", 7, 8, "done"), staleness=0,
    )  # fmt: skip
    found = run.finish(
        12, absences, download_s=[1, 0, 0], train_s=[2, 0, 0], upload_s=[1, 0, 0], idle_s=[1, 0, 0],
        no_charge_s=[6, 0, 0], off_s=[1, 0, 0],
    )  # fmt: skip
    assert found["utilisation"]["classes"]["small"] == pytest.approx(4 / 5)
    shares = {"download": 1, "train": 2, "upload": 1, "waiting": 4, "idle": 1}
    shares |= {"no_charge": 2, "off": 1} if absences is None else {"no_charge": 3, "off": 0}
    assert found["time"]["all"] == {name: pytest.approx(value / 12) for name, value in shares.items()}


def test_tables_of_an_earlier_version_know_of_no_charge(tmp_path: Path) -> None:
    run = Written(tmp_path)
    run.job(SMALL, *whole(0, 1, 2, 1), staleness=0)
    found = run.finish(8, [(0, 5, 7)], download_s=[1, 0, 0], train_s=[2, 0, 0], upload_s=[1, 0, 0],
                       idle_s=[2, 0, 0], off_s=[2, 0, 0])  # fmt: skip
    (tmp_path / report.FILE).unlink()
    for name, column in (("clients", "no_charge_s"), ("availability", "reason")):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pq.read_table(path).drop_columns([column]), path)
    assert report.read(tmp_path) == found


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 30), min_size=2, max_size=8)), max_size=4),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 32), st.integers(0, 32)), min_size=1),
)
def test_time_off_line_within_stretches(
    absences: list[tuple[int, set[int]]], asked: list[tuple[int, int, int]]
) -> None:
    rows, off = [], dict[int, set[int]]()
    for client, instants in dict(absences).items():
        for start, end in list(pairwise(sorted(instants)))[::2]:
            rows.append((client, start, end))
            off.setdefault(client, set()).update(range(start, end))
    table = np.array(rows[::-1], np.int64).reshape(-1, 3)
    client, one, other = np.array(asked, np.int64).T
    start, end = np.minimum(one, other), np.maximum(one, other)
    found = Absences(dict(zip(AWAY, table.T, strict=True))).within(client, start, end)
    expected = [len(off.get(c, set()) & set(range(a, b))) for c, a, b in zip(client, start, end, strict=True)]
    assert found.tolist() == expected


def test_staleness_by_hand(tmp_path: Path) -> None:
    """20 small updates of staleness 0 … 19, the last one too stale; two large ones of 4."""
    run = Written(tmp_path)
    for staleness in range(20):
        job = whole(0, 1, 1, 1)
        job[-1] = (*job[-1][:3], "stale" if staleness == 19 else "done")
        run.job(SMALL, *job, staleness=staleness)
    for _ in range(2):
        run.job(LARGE, *whole(0, 1, 1, 1), staleness=4)
    found = run.finish(3)["staleness"]
    assert found["classes"]["small"] == {
        "arrived": 20, "mean": 9.5, "median": 9, "p95": 18, "max": 19, "too_stale": 1, "too_stale_share": 0.05,
    }  # fmt: skip
    assert found["classes"]["large"]["p95"] == 4
    assert found["all"]["mean"] == pytest.approx(198 / 22)


def test_a_run_in_which_nothing_happened(tmp_path: Path) -> None:
    found = Written(tmp_path).finish(0)
    assert found["staleness"]["all"]["mean"] is None
    assert found["participation"]["jain"] is None
    assert found["time"]["all"] == dict.fromkeys(TIMES)
    assert found["critical_path"]["rounds"] == 0
    assert len(sections({"v": mean([found, found])})) == 6


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_blocks_hold_whole_jobs_however_the_file_is_read(tmp_path: Path, size: int) -> None:
    run = Written(tmp_path)
    three_rounds(run)
    run.finish(22)
    found = list(blocks(Files(tmp_path), tuple(sorted(CLASSES)), 22 * S, size))
    assert [number for jobs in found for number in jobs.job[jobs.first].tolist()] == list(range(8))
    assert [OUTCOMES[number] for jobs in found for number in jobs.fate] == [
        "done", "lost", "done", "done", "lost", "done", "cancelled", "in-flight",
    ]  # fmt: skip
    assert [*chain(*(jobs.busy_ns.tolist() for jobs in found))] == [s * S for s in (4, 5, 7, 3, 5, 3, 1, 6)]


def test_a_missing_or_older_file_is_made_anew_from_the_tables(tmp_path: Path) -> None:
    run = Written(tmp_path)
    three_rounds(run)
    found = run.finish(22)
    path = tmp_path / report.FILE
    path.write_text("{}")
    assert report.read(tmp_path) == found
    path.unlink()
    assert report.read(tmp_path) == found
    (tmp_path / "aggregations.parquet").unlink()
    assert report.read(tmp_path)["critical_path"] is None
    (tmp_path / "events.parquet").write_bytes(b"PAR1")
    with pytest.raises(ScenarioError, match=r"events\.parquet: cannot be read"):
        report.read(tmp_path)


def test_means_over_seeds_leave_out_what_a_run_does_not_have() -> None:
    seeds: list[dict[str, Any]] = [{"a": {"x": 1, "y": None}, "b": None}, {"a": {"x": 4, "y": 2}, "b": None}]
    assert mean(seeds) == {"a": {"x": 2.5, "y": 2}, "b": None}


spans = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 30), st.integers(0, 1)), min_size=1, max_size=30)


@given(spans, st.integers(1, 12))
def test_jobs_in_flight_are_those_that_a_count_at_every_instant_gives(
    jobs: list[tuple[int, int, int]], parts: int
) -> None:
    """Of a run of 100 ns; a job's end may lie beyond it."""
    concurrency = Concurrency(2, 100, parts)
    concurrency.add(_jobs(jobs))
    counted = [
        [sum(kind == k and start <= t < start + length for start, length, kind in jobs) for t in range(100)]
        for k in (0, 1)
    ]
    edges = concurrency.edges_ns
    means = [[np.mean(row[a:b]) if b > a else 0 for a, b in pairwise(edges)] for row in counted]
    assert concurrency.over_time() == pytest.approx(np.array(means), abs=1e-9)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=50))
def test_quantiles_of_staleness_are_numpys(ages: list[int]) -> None:
    staleness = Staleness(2)
    for age in ages:
        staleness.add(_jobs([(0, 1, 1)], age))
    found = staleness.of(1)
    assert found["median"] == np.quantile(ages, 0.5, method="inverted_cdf")
    assert found["p95"] == np.quantile(ages, 0.95, method="inverted_cdf")
    assert (found["mean"], found["max"]) == (pytest.approx(np.mean(ages)), max(ages))


def _jobs(spans: list[tuple[int, int, int]], age: int = 0) -> Jobs:
    """Jobs of one upload each: (start, length, device class)."""
    start, length, kind = np.array(spans, np.int64).T
    zero, real = np.zeros(len(start), np.int64), np.zeros(len(start))
    return Jobs(
        job=np.arange(len(start)), client=kind, device_class=kind, phase=zero + 2, start_ns=start,
        end_ns=start + length, bytes=zero, flops=real, energy_j=real, outcome=zero, reason=zero - 1,
        staleness=zero + age, classes=CLASSES, run_ns=100,
    )  # fmt: skip


def test_among_peers_a_job_is_over_with_its_last_transfer_either_way() -> None:
    """Trained, sent, received and counted; or trained and sent, and the run ended."""
    phase, start, end, staleness = np.array(
        [[1, 0, 10, -1], [2, 15, 20, -1], [0, 20, 25, 0], [1, 0, 12, -1], [2, 30, 40, -1]], np.int64
    ).T
    zero = np.zeros(5, np.int64)
    jobs = Jobs(
        job=np.array([0, 0, 0, 1, 1]), client=zero, device_class=zero, phase=phase, start_ns=start, end_ns=end,
        bytes=zero, flops=zero.astype(float), energy_j=zero.astype(float), outcome=zero, reason=zero - 1,
        staleness=staleness, classes=CLASSES, run_ns=100,
    )  # fmt: skip
    assert jobs.fate.tolist() == [OUTCOMES.index("done"), OUTCOMES.index("in-flight")]
    assert jobs.ended_ns.tolist() == [25, 100]
    assert jobs.among_peers.all()
    failed = replace(jobs, outcome=np.where(jobs.phase == 0, OUTCOMES.index("failed"), 0))
    assert failed.fate.tolist() == jobs.fate.tolist()  # a last exchange may break off, and the model be mixed
