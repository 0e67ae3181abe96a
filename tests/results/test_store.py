"""Reading results: what comes back, how runs are grouped, what is said of folders that hold none."""

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_runs import CLASSES, clients, event, metric, write_run

from edgesim.errors import ScenarioError
from edgesim.results.recorder import Recorder
from edgesim.results.store import Results, Run, _above


def test_tables_come_back_as_arrays(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES, chunk_rows=2)
    for job in range(5):
        recorder.event(event(job))
    recorder.metric(metric(accuracy=0.5))
    off: dict[str, Any] = {"client": [1], "start_ns": [0], "end_ns": [9], "reason": ["off-line"]}
    recorder.finish(clients=clients(3), summary={"a": 1}, availability=off)
    run = Run(tmp_path)
    events = run.events()
    assert events["device_class"].tolist() == ["small", "large", "small", "large", "small"]
    assert events["start_ns"].tolist() == [0, 1, 2, 3, 4]
    assert [None if math.isnan(s) else s for s in events["staleness"]] == [None, 1, 2, None, 1]
    assert list(run.events(["job"])) == ["job"]
    assert run.metrics()["accuracy"].tolist() == [0.5]
    assert run.clients()["client"].tolist() == [0, 1, 2]
    assert run.summary == {"a": 1}
    read = run.availability()
    assert read is not None
    assert (read["end_ns"].tolist(), read["reason"].tolist()) == ([9], ["off-line"])


def test_a_table_of_an_earlier_version_has_the_columns_of_this_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, CLASSES)
    recorder.event(event(0, outcome="lost", reason="crash"))
    recorder.event(event(1))
    recorder.flush_partial()
    assert Run(tmp_path).events(["reason"])["reason"].tolist() == ["crash", None]
    path = tmp_path / "events.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["reason"]), path)
    assert Run(tmp_path).events()["reason"].tolist() == [None, None]
    assert Run(tmp_path).events(["reason"])["reason"].tolist() == [None, None]
    assert list(Run(tmp_path).events(["job"])) == ["job"]


def test_no_events_are_empty_columns(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric()])
    assert {name: len(column) for name, column in run.events(["job", "phase"]).items()} == {
        "job": 0,
        "phase": 0,
    }
    assert run.availability() is None


def test_variants_group_seeds(tmp_path: Path) -> None:
    for label, variant in (("a_seed=0", "a"), ("a_seed=1", "a"), ("b_seed=0", "b")):
        write_run(tmp_path / label, [metric()], variant=variant)
    groups = Results.read(tmp_path).variants()
    assert {name: [run.label for run in runs] for name, runs in groups.items()} == {
        "a": ["a_seed=0", "a_seed=1"],
        "b": ["b_seed=0"],
    }
    assert [run.label for run in Results.read(tmp_path / "b_seed=0").runs] == ["b_seed=0"]


def test_unfinished_runs_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    write_run(tmp_path / "interrupted", [metric()], finished=False)
    write_run(tmp_path / "before-its-first-evaluation", [], finished=False)
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / "scenario.yaml").write_text("{label: k, variant: k, scenario: {}}")
    results = Results.read(tmp_path)
    assert [run.path.name for run in results.runs] == ["interrupted"]
    assert [path.name for path in results.unreadable] == ["before-its-first-evaluation", "killed"]
    assert results.runs[0].summary is None
    with pytest.raises(ScenarioError, match=r"clients\.parquet: not there; .* edgesim resume .*interrupted"):
        results.runs[0].clients()
    with pytest.raises(ScenarioError, match="no run in it has metrics yet"):
        Results.read(killed)


def test_runs_of_several_folders_are_told_apart_by_as_much_of_the_path_as_it_takes(tmp_path: Path) -> None:
    for folder in ("slow/out", "fast/out"):
        for variant in ("a", "b"):
            write_run(tmp_path / folder / variant, [metric()], variant=variant, name=folder[:4])
    slow, fast = tmp_path / "slow" / "out", tmp_path / "fast" / "out"
    results = Results.read(slow, fast)
    assert [*results.variants()] == ["slow/out/a", "slow/out/b", "fast/out/a", "fast/out/b"]
    assert [run.label for run in results.runs] == [*results.variants()]
    assert (results.path, results.name) == (tmp_path, "slow, fast")
    assert [*Results.read(slow / "a", slow / "b", slow).variants()] == ["a", "b"]  # one folder; none twice
    assert [*Results.read(slow / "b", fast / "b").variants()] == ["slow/out/b", "fast/out/b"]
    with pytest.raises(ScenarioError, match="nowhere: no such results folder"):
        Results.read(slow, tmp_path / "nowhere")


def test_what_is_made_of_folders_with_nothing_in_common_does_not_go_to_the_root() -> None:
    assert _above([Path("/home/ada/out"), Path("/home/ada/old/out")]) == Path("/home/ada")
    assert _above([Path("/home/ada/out"), Path("/scratch/out")]) == Path()


def test_folders_without_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="nowhere: no such results folder"):
        Results.read(tmp_path / "nowhere")
    with pytest.raises(ScenarioError, match=r"holds no run \(no scenario\.yaml in it or in its sub-folders\)$"):
        Results.read(tmp_path)
    write_run(tmp_path / "one" / "fedavg", [metric()])
    with pytest.raises(ScenarioError, match=rf"sub-folders\); there are some in {tmp_path / 'one'}$"):
        Results.read(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric()])
    (tmp_path / "events.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ScenarioError, match=r"events\.parquet: cannot be read"):
        run.events()
    (tmp_path / "analysis.json").write_text("{")  # which can be made anew
    with pytest.raises(
        ScenarioError, match=r"events\.parquet: cannot be read \(.*\); the directory is damaged; delete it"
    ):
        run.analysis()
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(
        ScenarioError, match=r"summary\.json: cannot be read \(.*\); the directory is damaged; delete it"
    ):
        _ = run.summary
    (tmp_path / "metrics.parquet").write_bytes((tmp_path / "metrics.parquet").read_bytes()[:-9])
    with pytest.raises(
        ScenarioError, match=r"metrics\.parquet: cannot be read \(.*\); the directory is damaged; delete it"
    ):
        Results.read(tmp_path)
    (tmp_path / "metrics.parquet").unlink()
    with pytest.raises(ScenarioError, match=r"metrics\.parquet: not there; the directory is damaged; delete it"):
        Results.read(tmp_path)
    (tmp_path / "scenario.yaml").write_text("{label: [")
    with pytest.raises(ScenarioError, match=r"cannot be read as a run's scenario; the directory is damaged"):
        _ = Run(tmp_path).label
    (tmp_path / "scenario.yaml").write_text("hash: 1")
    with pytest.raises(ScenarioError, match=r"scenario\.yaml: no label, scenario, variant"):
        _ = Run(tmp_path).label
