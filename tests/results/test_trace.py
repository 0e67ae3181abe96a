"""A trace of a run by hand: what is where, under which name, and what a part of it holds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_runs import CLASSES, clients, metric
from traces import Trace, read

from edgesim.errors import ScenarioError
from edgesim.results.columns import PHASES
from edgesim.results.recorder import Recorder
from edgesim.results.store import Run
from edgesim.results.trace import format
from edgesim.results.trace.drawing import Window, lines

MS = 1_000_000
DOWN, TRAIN, UP = range(3)


WHY = {"done": "", "interrupted": "off-line", "failed": "off-line", "lost": "crash", "stale": "stale"}


def made(folder: Path, kind: str = "buffered", *, unit_ns: int = MS, finished: bool = True, jobs: int = 4) -> Run:
    """Four clients; times in ms. Client 0 gives an update to version 1, which takes 2 ms to compute, and then one to
    version 2 or 3, which are made at one instant. Client 1 is off line in its training, waits for its upload, and is
    too stale. Client 2 loses its job in the second attempt to download. Client 3 has no job, and is off line."""
    recorder = Recorder(folder, CLASSES)
    rows: list[tuple[int, int, list[tuple[int, int, int, str]], int | None]] = [
        (0, 0, [(DOWN, 0, 10, "done"), (TRAIN, 10, 30, "done"), (UP, 30, 40, "done")], 0),
        (1, 0, [(DOWN, 42, 45, "done"), (TRAIN, 45, 55, "done"), (UP, 55, 60, "done")], 0),
        (2, 0, [(DOWN, 0, 10, "failed"), (DOWN, 10, 15, "lost")], None),
        (3, 0, [(DOWN, 0, 5, "done"), (TRAIN, 5, 20, "interrupted"), (TRAIN, 35, 50, "done"), (UP, 52, 64, "stale")],
         3),
    ]  # fmt: skip
    for number, version, stretches, staleness in rows[:jobs]:
        client = {0: 0, 1: 0, 2: 2, 3: 1}[number]
        whole = [
            (phase, start * unit_ns, end * unit_ns, 100 * (end - start), 0.0, 0.5, outcome, WHY[outcome])
            for phase, start, end, outcome in stretches
        ]
        batch = 8 if number == 1 else 0
        recorder.job(number, client, client % 2, version + (number == 1), whole, staleness, batch)
    recorder.aggregation(1, 40 * unit_ns, 42 * unit_ns, 1, "arrival", 0)
    recorder.aggregation(2, 60 * unit_ns, 60 * unit_ns, 1, "arrival", 1)
    recorder.aggregation(3, 60 * unit_ns, 60 * unit_ns, 0, "timer", None)
    none = float("nan")
    for at, accuracy, charge in ((0, 0.1, none), (50, none, 0.75), (70, 0.5, 0.5)):
        power = {"energy_j": at, "battery_level": charge, "batteries_empty": none}
        recorder.metric(metric(time_s=at * unit_ns / 1e9, accuracy=accuracy, jobs_in_flight=3, **power))
    record = {"label": folder.name, "variant": "v", "scenario": {"schedule": {"kind": kind, "mode": "sync"}}}
    (folder / "scenario.yaml").write_text(json.dumps(record))
    away: dict[str, Sequence[Any]] = {
        "client": [1, 3], "start_ns": [20 * unit_ns, 0], "end_ns": [30 * unit_ns, 70 * unit_ns],
        "reason": ["off-line", "no-charge"],
    }  # fmt: skip
    if finished:
        recorder.finish(clients=clients(4), summary={}, availability=away)
    else:
        recorder.flush_partial(away)
    return Run(folder)


def drawn(run: Run, window: tuple[int, int] | None = None, name: str = "trace.json") -> Trace:
    shown = Window() if window is None else Window(window[0] * MS, window[1] * MS)
    format.write(run.path / name, lines(run, shown), {"run": run.label})
    return read(run.path / name)


def told(trace: Trace, track: str) -> list[tuple[str, float, float]]:
    """What is on a track: name, and from when to when in ms."""
    mine = [piece for piece in trace.pieces if piece.track == track]
    return [(p.name, p.start_ns / MS, p.end_ns / MS) for p in sorted(mine, key=lambda p: (p.start_ns, p.end_ns))]


def test_who_did_what_when(tmp_path: Path) -> None:
    trace = drawn(made(tmp_path / "run"))
    assert told(trace, "client 1") == [
        ("download (in vain)", 0, 5), ("train (interrupted)", 5, 20), ("off line", 20, 30), ("waiting", 30, 35),
        ("train (in vain)", 35, 50), ("waiting", 50, 52), ("upload (stale)", 52, 64),
    ]  # fmt: skip
    assert told(trace, "client 2") == [("download (failed)", 0, 10), ("download (lost)", 10, 15)]
    assert told(trace, "client 3") == [("no charge", 0, 70)]
    assert told(trace, "rounds") == [("round 1", 0, 40), ("rounds 2 to 3", 40, 60)]
    assert told(trace, "aggregations") == [("aggregation 1", 40, 42), ("aggregations 2 to 3", 60, 60)]
    assert {piece.track: piece.process for piece in trace.pieces} == {
        "rounds": "server", "aggregations": "server",
        "client 0": "small", "client 1": "large", "client 2": "small", "client 3": "large",
    }  # fmt: skip
    assert trace.levels == {
        "accuracy mean": [(0, 0.1), (70 * MS, 0.5)],
        "energy J": [(0, 0), (50 * MS, 50), (70 * MS, 70)],
        "jobs in flight": [(0, 3), (50 * MS, 3), (70 * MS, 3)],
        "battery mean charge": [(50 * MS, 0.75), (70 * MS, 0.5)],
    }


def test_what_is_told_of_a_piece(tmp_path: Path) -> None:
    trace = drawn(made(tmp_path / "run"))
    of_job: list[dict[str, Any]] = [piece.told for piece in trace.of(*PHASES) if piece.told["job"] == 1]
    common = {"job": 1, "version": 1, "flops": 0, "energy_j": 0.5, "outcome": "done"}
    assert of_job == [
        common | {"bytes": 300}, common | {"bytes": 1000, "batch_size": 8}, common | {"bytes": 500, "staleness": 0},
    ]  # fmt: skip
    (stale,) = (piece.told for piece in trace.pieces if piece.name == "download (in vain)")
    assert stale["job_ended"] == "stale"
    first, second = (piece.told for piece in trace.of("round"))
    assert first == {"version": "1", "updates": 1, "cause": "arrival", "job": 0}
    assert second == {"version": "2 to 3", "updates": 1, "cause": "arrival", "job": 1}


@pytest.mark.parametrize(
    ("kind", "arrows"),
    [
        ("buffered", ["model 1: aggregation 1", "update 0: aggregation 1", "update 1: aggregations 2 to 3"]),
        ("tiered", ["closes 0: aggregation 1", "closes 1: aggregations 2 to 3", "model 1: aggregation 1"]),
        ("hierarchical", ["closes 0: aggregation 1", "closes 1: aggregations 2 to 3"]),
    ],
)
def test_arrows_are_only_what_a_schedule_leaves_no_doubt_of(tmp_path: Path, kind: str, arrows: list[str]) -> None:
    found = []
    for name, start, end in drawn(made(tmp_path / "run", kind)).arrows:
        device, server = (end, start) if name == "model" else (start, end)
        found.append(f"{name} {device.told['job']}: {server.name}")
    assert sorted(found) == arrows


def test_a_column_that_is_new_is_told_as_well(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    path = run.path / "events.parquet"
    table = pq.read_table(path)
    weathers = ['went "off" line' if outcome == "lost" else None for outcome in table["outcome"].to_pylist()]
    pq.write_table(table.append_column("weather", pa.array(weathers)), path)
    found = [piece.told["weather"] for piece in drawn(run).pieces if "weather" in piece.told]
    assert found == ['went "off" line']


def test_a_part_is_cut_at_its_ends_and_says_so(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    trace = drawn(run, (25, 41))
    assert told(trace, "client 0") == [("train", 25, 30), ("upload", 30, 40)]
    assert told(trace, "client 1") == [("off line", 25, 30), ("waiting", 30, 35), ("train (in vain)", 35, 41)]
    assert told(trace, "client 3") == [("no charge", 25, 41)]
    assert told(trace, "rounds") == [("round 1", 25, 40), ("rounds 2 to 3", 40, 41)]
    cut = next(piece.told for piece in trace.pieces if piece.track == "client 0")
    assert (cut["start_ns"], cut["end_ns"], cut["bytes"]) == (10 * MS, 30 * MS, 2000)
    assert [(kind, end.name) for kind, _, end in trace.arrows] == [("update", "aggregation 1")]
    assert trace.levels["energy J"] == [(25 * MS, 0)]
    parts = [drawn(run, (start, start + 7)) for start in range(0, 70, 7)]
    lengths = [sum(piece.end_ns - piece.start_ns for piece in trace.pieces) for trace in (drawn(run), *parts)]
    assert sum(lengths[1:]) == lengths[0]


def test_times_are_exact_after_a_hundred_days_too(tmp_path: Path) -> None:
    unit_ns = 123_456_789_012_347  # 70 of them are a hundred days
    run = made(tmp_path / "run", unit_ns=unit_ns)
    found = {(piece.start_ns, piece.end_ns) for piece in drawn(run).of("upload")}
    assert found == {(start * unit_ns, end * unit_ns) for start, end in ((30, 40), (55, 60), (52, 64))}


def test_of_an_unfinished_run_there_is_what_there_is(tmp_path: Path) -> None:
    trace = drawn(made(tmp_path / "run", finished=False))
    assert {piece.track for piece in trace.pieces} == {"rounds", "aggregations", "client 0", "client 1", "client 2"}


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    names = ("one.json.gz", "other.json.gz")
    found = []
    for folder, name in zip(("a", "b"), names, strict=True):
        run = made(tmp_path / folder / "run")
        drawn(run, name=name)
        found.append((run.path / name).read_bytes())
    assert found[0] == found[1]
    assert found[0][:2] == b"\x1f\x8b"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> Any:
        yield "{}"
        raise ScenarioError("events.parquet: cannot be read")

    (tmp_path / "trace.json").write_text("what was there")
    with pytest.raises(ScenarioError, match="cannot be read"):
        format.write(tmp_path / "trace.json", broken(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert (tmp_path / "trace.json").read_text() == "what was there"


def test_nothing_to_draw_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no events; nothing to export"):
        lines(made(tmp_path / "run", jobs=0), Window())
    run = made(tmp_path / "other")
    with pytest.raises(ScenarioError, match=r"window from 1 s: the run's events lie in 0 to 0\.064 s"):
        lines(run, Window(start_ns=1000 * MS))
    with pytest.raises(ScenarioError, match=r"window from 0\.02 s to 0\.01 s: the run's events"):
        lines(run, Window(20 * MS, 10 * MS))
    (run.path / "events.parquet").write_bytes(b"PAR1")
    with pytest.raises(ScenarioError, match=r"events\.parquet: cannot be read .*; the directory is damaged"):
        lines(run, Window())
