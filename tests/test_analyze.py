"""`edgesim analyze`, and that the analysis of real runs agrees with their books."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import Server
from tiny import SCHEDULES, write

import edgesim
from edgesim.plots.registry import find
from edgesim.results.store import Results, Run

SWEEP = f"sweep={{schedule: [{', '.join(one.removeprefix('schedule=') for one in SCHEDULES.values())}]}}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synchronous and a buffered run whose devices leave and come back to their training."""
    folder = tmp_path_factory.mktemp("analysed")
    overrides = [SWEEP, "failures={transfer: abort, training: resume}"]
    edgesim.run(write(folder), overrides=overrides, out=folder / "out")
    return folder / "out"


@pytest.fixture(params=["sync", "buffered"])
def run(finished: Path, request: pytest.FixtureRequest) -> Run:
    return next(run for run in Results.read(finished).runs if request.param in run.label)


def test_the_causes_of_waste_add_up_to_the_ledgers_waste(run: Run) -> None:
    last = {name: values[-1] for name, values in run.metrics().items()}
    waste = run.analysis()["waste"]
    assert waste["wasted"]["count"] == last["jobs_lost"] + last["jobs_discarded"] > 0
    assert waste["wasted"]["seconds"] == pytest.approx(last["wasted_s"])
    assert waste["wasted"]["bytes"] == last["wasted_bytes"]
    assert waste["wasted"]["flops"] == pytest.approx(last["wasted_flops"])
    assert waste["wasted"]["joules"] == pytest.approx(last["wasted_j"])
    assert waste["spent"]["bytes"] == last["bytes_down"] + last["bytes_up"]
    assert waste["spent"]["joules"] == pytest.approx(last["energy_j"])
    assert waste["spent"]["flops"] == pytest.approx(last["flops"])


def test_time_in_flight_is_work_and_waiting(run: Run) -> None:
    analysis, clients = run.analysis(), run.clients()
    for name, shares in analysis["time"]["classes"].items():
        mine = clients["device_class"] == name
        flight = analysis["concurrency"]["classes"][name]
        busy_s = sum(float(clients[column][mine].sum()) for column in ("download_s", "train_s", "upload_s"))
        assert flight["working"] * analysis["time_s"] == pytest.approx(busy_s)
        waiting = (flight["jobs"] - flight["working"]) / mine.sum()
        assert shares["waiting"] == pytest.approx(waiting, abs=1e-12)
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0
        off = float(clients["off_s"][mine].sum()) / (analysis["time_s"] * mine.sum())
        assert shares["waiting"] + shares["off"] == pytest.approx(off)  # these wait for nothing but their devices
    assert analysis["time"]["classes"]["raspberry-pi-4"]["waiting"] > 0


def test_rounds_are_explained_from_the_first_moment_to_the_last_aggregation(run: Run) -> None:
    analysis = run.analysis()
    path = analysis["critical_path"]
    pairs = [pair for parts in path["classes"].values() for pair in parts.values()] + [*path["rules"].values()]
    assert sum(pair["rounds"] for pair in pairs) == path["rounds"] == run.metrics()["version"][-1]
    assert sum(pair["time_s"] for pair in pairs) == pytest.approx(path["time_s"])
    assert path["time_s"] <= analysis["time_s"]
    assert sum(path["closed_by"].values()) == path["rounds"]


def test_updates_are_those_of_the_clients(run: Run) -> None:
    analysis, last = run.analysis(), run.metrics()["updates"][-1]
    assert analysis["participation"]["updates"] == last
    classes = analysis["participation"]["classes"].values()
    assert sum(part["share_of_updates"] for part in classes) == pytest.approx(1)
    staleness = analysis["staleness"]["all"]
    assert 0 <= staleness["arrived"] - staleness["too_stale"] - last < 10  # some may wait in the buffer
    assert (staleness["max"] == 0) == ("sync" in run.label)


def test_a_full_pipeline_is_never_empty(finished: Path) -> None:
    buffered = next(run for run in Results.read(finished).runs if "buffered" in run.label).analysis()["concurrency"]
    assert buffered["all"]["jobs"] == pytest.approx(np.mean(buffered["over_time"]["jobs"]))
    assert max(buffered["over_time"]["jobs"]) <= 10 + 1e-9


def test_what_batteries_keep_devices_from_is_told_wherever_one_looks(server: Server, tmp_path: Path) -> None:
    """Half of the devices run empty after a few jobs and charge at a pace: jobs are lost to that, or as devices leave;
    that time is no idle time; and where nothing is trained, all is the same, to the byte."""
    scenario = write(tmp_path)
    battery = "    link: wifi-home\n    battery: {capacity: 0.1 J, start: [30 %, 90 %], charger: 0.5 W, drain: 0.1 W}\n"
    scenario.write_text(scenario.read_text().replace("    link: wifi-home\n", battery))
    [run] = edgesim.run(scenario, overrides=["stop.updates=200"], out=tmp_path / "run").runs
    edgesim.run(scenario, overrides=["stop.updates=200", "execution.backend=none"], out=tmp_path / "none")
    for name in ("events", "availability"):
        [other] = (tmp_path / "none").rglob(f"{name}.parquet")
        assert (run.path / f"{name}.parquet").read_bytes() == other.read_bytes()
    lost = {reason: work["count"] for reason, work in run.analysis()["waste"]["lost"].items() if work["count"]}
    assert set(lost) == {"off-line", "no-charge"}
    assert sum(lost.values()) == run.metrics()["jobs_lost"][-1]
    powered = run.analysis()["time"]["classes"]["raspberry-pi-4"]
    assert powered["no_charge"] > 0
    assert sum(powered.values()) == pytest.approx(1)
    assert run.analysis()["time"]["classes"]["raspberry-pi-zero-2w"]["no_charge"] == 0
    ended = server.run("analyze", tmp_path / "run")
    assert (ended.code, ended.err) == (0, "")
    for told in ("no charge", "battery too low", "device off line"):
        assert told in ended.out
    for figure in ("timeline", "time-use", "waste"):
        legend = find(figure)(Results.read(run.path)).legends[0]
        assert "battery too low" in {text.get_text() for text in legend.get_texts()}


def test_the_command_prints_tables_or_json(server: Server, finished: Path, tmp_path: Path) -> None:
    ended = server.run("analyze", finished)
    assert (ended.code, ended.err) == (0, "")
    for told in ("who takes part", "staleness at arrival", "what set the time of rounds", "raspberry-pi-zero-2w"):
        assert told in ended.out
    ended = server.run("analyze", finished, "--json")
    assert (ended.code, ended.err) == (0, "")
    found: dict[str, dict[str, Any]] = json.loads(ended.out)
    assert {label: one for runs in found.values() for label, one in runs.items()} == {
        run.label: json.loads((run.path / "analysis.json").read_text()) for run in Results.read(finished).runs
    }
    ended = server.run("analyze", tmp_path / "none")
    assert (ended.code, ended.out) == (2, "")
    assert "no such results folder" in ended.err


def test_an_unfinished_run_is_not_analysed(server: Server, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    source = next(run for run in Results.read(finished).runs).path
    for name in ("scenario.yaml", "metrics.parquet", "events.parquet"):
        (tmp_path / "out" / name).write_bytes((source / name).read_bytes())
    ended = server.run("analyze", tmp_path / "out")
    assert ended.code == 2
    assert "no run is finished; go on with: edgesim resume" in ended.err
