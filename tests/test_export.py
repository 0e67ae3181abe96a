"""`edgesim export`: traces of real runs under every schedule, and what the command refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import write
from traces import Trace, read
from typer.testing import CliRunner

import edgesim
from edgesim import cli, exports
from edgesim.errors import ScenarioError
from edgesim.results.columns import PHASES
from edgesim.results.store import Results, Run
from edgesim.scenario.samples import SCHEDULES

SWEEP = f"sweep={{schedule: {json.dumps([{'kind': kind, **keys} for kind, keys in SCHEDULES.items()])}}}"
SETS = (SWEEP, "stop={updates: 80}", "failures={transfer: abort, training: resume}", "server.device=raspberry-pi-4")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind of schedule."""
    folder = tmp_path_factory.mktemp("exported")
    edgesim.run(write(folder), overrides=SETS, out=folder / "out")
    return folder / "out"


def of_kind(finished: Path, kind: str) -> Run:
    return next(run for run in Results.read(finished).runs if run.scenario["schedule"]["kind"] == kind)


def exported(*arguments: str | Path) -> Path:
    """What the command says that it has written."""
    result = CliRunner().invoke(cli.app, ["export", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Path(result.output.strip())


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_trace_of_a_real_run(finished: Path, tmp_path: Path, kind: str) -> None:
    run = of_kind(finished, kind)
    trace = read(exported(run.path, "--out", tmp_path / "trace.json"))
    rows, clients = run.events(), run.clients()
    for column in ("bytes", "flops", "energy_j"):
        assert sum(float(piece.told[column]) for piece in trace.of(*PHASES)) == pytest.approx(rows[column].sum())
    for phase in PHASES:
        length_ns = sum(piece.end_ns - piece.start_ns for piece in trace.of(phase))
        assert length_ns == (rows["end_ns"] - rows["start_ns"])[rows["phase"] == phase].sum()
        assert length_ns / 1e9 == pytest.approx(clients[f"{phase}_s"].sum())
    off_s = sum(piece.end_ns - piece.start_ns for piece in trace.of("off line")) / 1e9
    assert off_s == pytest.approx(clients["off_s"].sum())
    check_rounds(run, trace)


def check_rounds(run: Run, trace: Trace) -> None:
    aggregations = run.aggregations()
    lengths_ns = [piece.end_ns - piece.start_ns for piece in trace.of("round")]
    assert sum(lengths_ns) == aggregations["time_ns"][-1]
    last = run.metrics()
    assert sum(int(piece.told["updates"]) for piece in trace.of("aggregation")) == aggregations["updates"].sum()
    computing_ns = sum(piece.end_ns - piece.start_ns for piece in trace.of("aggregation"))
    kind = run.scenario["schedule"]["kind"]
    if kind != "hierarchical":  # edges compute, too
        assert computing_ns / 1e9 == pytest.approx(last["server_s"][-1])
    takes_all = kind not in ("tiered", "hierarchical")
    assert len(trace.ends("update")) == (last["jobs_aggregated"][-1] if takes_all else 0)
    joined = {str(end.told["version"]) for _, end in trace.ends("update") + trace.ends("closes")}
    named = {str(piece.told["version"]) for piece in trace.of("aggregation") if "job" in piece.told}
    assert named <= joined
    later = (run.events()["phase"] == "download") & (run.events()["version"] > 0)
    sent = len(np.unique(run.events()["job"][later])) if kind not in ("hierarchical", "gossip") else 0
    assert len(trace.ends("model")) == sent


def test_where_a_trace_goes(finished: Path, tmp_path: Path) -> None:
    run = of_kind(finished, "sync")
    default = exported(run.path)
    assert default == run.path / "trace.json.gz"
    plain = exported(run.path, "--out", tmp_path / "trace.json", "--from", "100 ms", "--to", "0.3 s")
    part = read(plain)
    assert min(piece.start_ns for piece in part.pieces) == 100_000_000
    assert max(piece.end_ns for piece in part.pieces) == 300_000_000
    assert len(part.pieces) < len(read(default).pieces)
    default.unlink()


def test_of_several_runs_one_must_be_chosen(finished: Path) -> None:
    several = r"out: holds 10 runs, and a trace is of one; export one of .*out/async, .* and 2 more$"
    with pytest.raises(ScenarioError, match=several):
        exports.trace(finished, None, None, None)


def test_what_is_refused(finished: Path, tmp_path: Path) -> None:
    run = of_kind(finished, "sync").path
    with pytest.raises(ScenarioError, match="--to 1: missing unit"):
        exports.trace(run, None, "1", None)
    with pytest.raises(ScenarioError, match="--from soon: "):
        exports.trace(run, "soon", None, None)
    with pytest.raises(ScenarioError, match=r"window from 2 s to 1 s: the run's events lie in 0 to"):
        exports.trace(run, "2 s", "1 s", None)
    with pytest.raises(ScenarioError, match=r"--out .*none/trace\.json: cannot be written: No such file"):
        exports.trace(run, None, None, tmp_path / "none" / "trace.json")
    with pytest.raises(ScenarioError, match=r"--out .*: cannot be written: Is a directory"):
        exports.trace(run, None, None, tmp_path)
    with pytest.raises(ScenarioError, match="no such results folder"):
        exports.trace(tmp_path / "none", None, None, None)
