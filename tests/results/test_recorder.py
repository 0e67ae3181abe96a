"""What the recorder promises: whole files, equal bytes however a run was cut, nothing wrong let in."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import CLASSES, clients, event, metric

from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.columns import AVAILABILITY, EVENTS
from edgesim.results.recorder import Recorder


def record(recorder: Recorder, start: int, stop: int) -> None:
    """Rows start … stop − 1, an evaluation after each tenth."""
    for job in range(start, stop):
        recorder.event(event(job))
        if job % 3 == 0:
            recorder.aggregation(job // 3 + 1, job + 5, job + 5, 3, "arrival", job)
        if job % 10 == 0:
            recorder.metric(metric(time_s=job, loss=math.nan))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def finish(recorder: Recorder) -> None:
    none: dict[str, Any] = {name: [] for name in AVAILABILITY.names}
    recorder.finish(clients=clients(), summary={"x": 1}, availability=none)


@settings(max_examples=12)
@given(kept=st.integers(0, 100), lost=st.integers(0, 40), through_json=st.booleans())
def test_a_run_cut_anywhere_and_resumed_leaves_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, kept: int, lost: int, through_json: bool
) -> None:
    """Checkpoint after `kept` rows, killed `lost` rows later (chunks of 16 written meanwhile), resumed."""
    whole, cut = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    uninterrupted = Recorder(whole, CLASSES, chunk_rows=16)
    record(uninterrupted, 0, 140)
    finish(uninterrupted)

    killed = Recorder(cut, CLASSES, chunk_rows=16)
    record(killed, 0, kept)
    state = killed.state()
    record(killed, kept, kept + lost)
    killed.flush_partial()
    (cut / ".metrics.parquet.tmp").write_bytes(b"half a file")
    resumed = Recorder.restore(cut, json.loads(json.dumps(state)) if through_json else state)
    record(resumed, kept, 140)
    finish(resumed)
    assert contents(cut) == contents(whole)
    assert set(contents(whole)) == {
        "events.parquet", "aggregations.parquet", "metrics.parquet", "clients.parquet", "availability.parquet",
        "analysis.json", "summary.json",
    }  # fmt: skip


def test_values_come_back_as_they_went_in(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=2)
    rows = [
        event(2**40, client=np.int32(3), device_class="large", outcome="out-of-memory", energy_j=0.1),
        event(1, phase="upload", staleness=0, end_ns=9_000_000_000_000_000_001),
        event(2, phase="download", bytes=12),
    ]
    for row in rows:
        recorder.event(row)
    finish(recorder)
    table = pq.read_table(tmp_path / "events.parquet")
    assert table["job"].to_pylist() == [2**40, 1, 2]
    assert table["device_class"].to_pylist() == ["large", "large", "small"]
    assert table["phase"].to_pylist() == ["train", "upload", "download"]
    assert table["end_ns"].to_pylist()[1] == 9_000_000_000_000_000_001  # beyond what a float holds
    assert table["staleness"].to_pylist() == [1, 0, 2]
    assert table["energy_j"].to_pylist()[0] == 0.1
    assert table.schema.names == EVENTS.names


def test_memory_stays_flat_chunks_lie_on_disk(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=16)
    record(recorder, 0, 50)
    assert len(list((tmp_path / "checkpoint").glob("events-*.parquet"))) == 3  # 48 rows
    assert len(recorder.state()["events"]) == 2
    finish(recorder)
    assert pq.ParquetFile(tmp_path / "events.parquet").metadata.num_rows == 50
    assert not (tmp_path / "checkpoint").exists()


def test_a_state_does_not_change_afterwards(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=16)
    record(recorder, 0, 5)
    state = recorder.state()
    record(recorder, 5, 60)
    assert (len(state["events"]), len(state["metrics"]), state["parts"]["events"]) == (5, 1, 0)


def test_finish_leaves_what_others_put_into_the_checkpoint(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=4)
    record(recorder, 0, 9)
    (tmp_path / "checkpoint" / "engine").write_text("state")
    finish(recorder)
    assert [p.name for p in (tmp_path / "checkpoint").iterdir()] == ["engine"]


def test_a_partial_run_can_be_read_and_has_no_summary(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=16)
    record(recorder, 0, 30)
    recorder.flush_partial()
    assert pq.read_table(tmp_path / "events.parquet").num_rows == 30
    assert pq.read_table(tmp_path / "metrics.parquet").num_rows == 3
    assert not (tmp_path / "summary.json").exists()


def test_nan_becomes_null_in_the_summary(tmp_path: Path) -> None:
    Recorder(tmp_path, CLASSES).finish(
        clients=clients(), summary={"loss": math.nan, "costs": [math.inf, 2.5], "checks": {"bytes": True}}
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == {"loss": None, "costs": [None, 2.5], "checks": {"bytes": True}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (event(0, phase="sleep"), r"phase: got 'sleep'; it is one of \['download', 'train', 'upload'\]"),
        (event(0, device_class=2), r"device_class: got 2; it is one of \['small', 'large'\]"),
        (event(0, bytes=1.5), "bytes: not all values are int64"),
        (event(0, client=2**31), "client: not all values are int32"),
        (event(0)[:-1], "a row has not the 14 columns"),
    ],
)
def test_a_wrong_event_is_refused_when_its_chunk_is_written(tmp_path: Path, wrong: object, message: str) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=2)
    recorder.event(event(0))
    with pytest.raises(RunError, match=message):
        recorder.event(wrong)  # type: ignore[arg-type]


def test_a_metric_must_have_exactly_the_columns(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES)
    with pytest.raises(RunError, match=r"missing: \['loss'\], unknown: \['los'\]"):
        recorder.metric({("los" if k == "loss" else k): v for k, v in metric().items()})


def test_clients_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="clients: columns of different lengths"):
        Recorder(tmp_path, CLASSES).finish(clients=clients() | {"client": [0]}, summary={})
    assert not (tmp_path / "summary.json").exists()


def test_a_finished_run_is_not_overwritten(tmp_path: Path) -> None:
    finish(Recorder(tmp_path, CLASSES))
    with pytest.raises(RunError, match="holds a finished run"):
        Recorder(tmp_path, CLASSES)


def test_restore_says_which_chunk_is_gone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=4)
    record(recorder, 0, 9)
    (tmp_path / "checkpoint" / "events-00001.parquet").unlink()
    with pytest.raises(RunError, match=r"events-00001\.parquet missing; the run must be started again"):
        Recorder.restore(tmp_path, recorder.state())


def test_of_files_that_are_replaced_together_one_that_fails_leaves_all_as_they_were(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("old")

    def write(path: Path) -> None:
        path.write_text("new")

    def fail(path: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic.replace_all({good: write, bad: fail})
    assert good.read_text() == "old"
    assert not bad.exists()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old", encoding="utf-8")

    def write_half() -> None:
        with atomic.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_text() == "old"


@pytest.mark.parametrize("together", [False, True])
def test_who_reads_meanwhile_has_the_old_file_or_the_new_one_whole(tmp_path: Path, together: bool) -> None:
    """A new file takes the old one's name; what is open stays as it was, and nothing else is left behind."""
    path = tmp_path / "metrics.parquet"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new, and longer")
        assert path.read_text() == "old"

    with path.open() as reader:
        if together:
            atomic.replace_all({path: write})
        else:
            with atomic.replacing(path) as temporary:
                write(temporary)
        assert reader.read() == "old"
    assert path.read_text() == "new, and longer"
    assert list(tmp_path.iterdir()) == [path]
