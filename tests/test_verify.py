"""`edgesim verify`: finished runs come out the same again, and what does not is told."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processes import Server, files, refused
from tiny import write

import edgesim

OWN = """\
from dataclasses import dataclass
from edgesim.algorithms.contract import Algorithm

@dataclass(frozen=True, kw_only=True)
class Own(Algorithm):
    def local_run(self, local, learner):
        return learner.sgd(local, epochs=1)
"""


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """Two seeds of an algorithm of one's own."""
    (tmp_path / "own.py").write_text(OWN)
    edgesim.run(write(tmp_path), out=tmp_path / "out", overrides=["algorithm=./own.py:Own", "sweep={seed: [0, 1]}"])
    return tmp_path / "out"


def test_what_has_not_changed_comes_out_the_same(server: Server, finished: Path) -> None:
    before = files(finished)
    (finished / "Own_seed=0" / "timeline.png").write_text("a picture, not the run's")
    ended = server.run("verify", finished, "--workers", "2")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [f"{label}: the same, byte for byte" for label in ("Own_seed=0", "Own_seed=1")]
    (finished / "Own_seed=0" / "timeline.png").unlink()
    assert files(finished) == before


def test_damaged_files_are_told_like_all_else_that_is_not_the_same(server: Server, finished: Path) -> None:
    run = finished / "Own_seed=0"
    events = (run / "events.parquet").read_bytes()
    (run / "events.parquet").write_bytes(events[:200])
    (run / "clients.parquet").write_bytes(b"")
    (run / "analysis.json").write_text("{")
    ended = server.run("verify", run)
    assert ended.code == 1
    assert ended.out.splitlines()[1:] == [
        f"  {name}: damaged, cannot be read" for name in ("analysis.json", "clients.parquet", "events.parquet")
    ]


def test_what_was_changed_afterwards_is_told(server: Server, finished: Path) -> None:
    run = finished / "Own_seed=0"
    table = pq.read_table(run / "metrics.parquet")
    place = table.schema.get_field_index("accuracy")
    accuracy = table["accuracy"].to_numpy().copy()
    accuracy[2:4] += 0.25
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(accuracy)), run / "metrics.parquet")
    summary = json.loads((run / "summary.json").read_text())
    updates = summary["final"]["updates"]
    summary["final"]["updates"] = 1
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "availability.parquet").unlink()
    events = pq.read_table(run / "events.parquet")
    pq.write_table(events.slice(1), run / "events.parquet")
    ended = server.run("verify", finished)
    assert ended.code == 1
    assert "1 of 2 runs came out otherwise" in ended.err
    assert ended.out.splitlines() == [
        "Own_seed=0: not the same",
        "  availability.parquet: missing",
        f"  events.parquet: {events.num_rows - 1:,} rows, now {events.num_rows:,}",
        f"  metrics.parquet: accuracy in 2 of {len(accuracy)} rows, by at most 0.25",
        f"  summary.json: final.updates 1, now {updates}",
        "Own_seed=1: the same, byte for byte",
    ]


def test_columns_that_came_or_went_are_named(server: Server, finished: Path) -> None:
    run = finished / "Own_seed=0"
    table = pq.read_table(run / "metrics.parquet")
    pq.write_table(table.rename_columns({"loss": "losses"}), run / "metrics.parquet")
    clients = pq.read_table(run / "clients.parquet")
    pq.write_table(clients.select(clients.schema.names[::-1]), run / "clients.parquet")
    assert server.run("verify", run).out.splitlines() == [
        "Own_seed=0: not the same",
        "  clients.parquet: columns in another order",
        "  metrics.parquet: column losses is not made any more",
        "  metrics.parquet: column loss is new",
    ]


def test_another_version_of_ones_own_file_is_named(server: Server, finished: Path) -> None:
    (finished.parent / "own.py").write_text(OWN.replace("epochs=1", "epochs=2"))
    ended = server.run("verify", finished / "Own_seed=1")
    assert ended.code == 1
    first, versions, *unlike = ended.out.splitlines()
    assert first == "Own_seed=1: not the same"
    assert versions.startswith("  versions: ./own.py ")
    changed = {line.split(" in ")[0].strip() for line in unlike if " in " in line}
    assert "metrics.parquet: accuracy" in changed  # what is learnt, and no cost: nobody told of the second epoch
    assert not {f"metrics.parquet: {name}" for name in ("time_s", "energy_j", "bytes_up")} & changed


def test_what_cannot_be_verified_is_said(server: Server, finished: Path, tmp_path: Path) -> None:
    refused(server.run("verify", tmp_path / "none"), "no such results folder")
    (finished / "Own_seed=0" / "summary.json").unlink()
    refused(server.run("verify", finished / "Own_seed=0"), "no run is finished", "edgesim resume")
    record = finished / "Own_seed=1" / "scenario.yaml"
    record.write_text(record.read_text().replace("lr: 0.1", "lr: 0.2"))
    ended = server.run("verify", finished / "Own_seed=1")
    assert (ended.code, ended.out) == (1, "")
    assert "another scenario than was run" in ended.err
