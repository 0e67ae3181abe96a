"""A mistake in somebody's own algorithm that no trial finds (test_trial.py) ends its run, says where it is, and leaves
the others to go on."""

from errno import EACCES
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import pytest
from processes import Server, files, unlike
from tiny import sets, write

from edgesim.errors import RunError
from edgesim.scenario import running
from edgesim.scenario.loading import load
from edgesim.scenario.mishap import told

OWN = """\
from dataclasses import dataclass
from edgesim.algorithms.fedavg import FedAvg

@dataclass(frozen=True, kw_only=True)
class Divides(FedAvg):
    def aggregate(self, context, server, arrivals):
        if len(arrivals) > 2:
            return 1 / 0
        return super().aggregate(context, server, arrivals)

@dataclass(frozen=True, kw_only=True)
class Returns(FedAvg):
    def local_end(self, payload, client, local, learner):
        return super().local_end(payload, client, local, learner) if learner.version[0] == 0 else local["params"]
"""
SWEEP = "sweep={algorithm: ['./own.py:Divides', './own.py:Returns', fedavg], seed: [0, 1]}"


def test_a_mistake_ends_its_own_run_and_no_other(server: Server, tmp_path: Path) -> None:
    scenario, own = write(tmp_path), tmp_path / "own.py"
    own.write_text(OWN, encoding="utf-8")
    ended = server.run("run", scenario, "--out", tmp_path / "out", *sets(SWEEP, "stop.updates=40"))
    assert ended.code == 1
    assert "Traceback" not in ended.err
    for seed in (0, 1):
        divides, returns, plain = (
            tmp_path / "out" / f"{name}_seed={seed}" for name in ("Divides", "Returns", "fedavg")
        )
        assert f"{divides}: ZeroDivisionError: division by zero, in aggregate, {own}:8" in ended.err
        assert "Returns.local_train, or its local_end, must return two states" in ended.err
        assert "1 / 0" in (divides / "error.txt").read_text(encoding="utf-8")
        assert not (divides / "summary.json").exists()
        assert not (returns / "summary.json").exists()
        assert (plain / "summary.json").exists()
        assert not (plain / "error.txt").exists()


def test_a_loss_that_is_no_number_is_told(server: Server, tmp_path: Path) -> None:
    chosen = sets("training.lr=1e30", "stop.updates=40", "evaluate={every: 1 aggregations}")
    ended = server.run("run", write(tmp_path), "--out", tmp_path / "out", *chosen)
    assert ended.code == 0
    assert "fedavg: the loss is no number in the end: the training has diverged" in " ".join(ended.out.split())


def test_a_disk_that_takes_no_more_is_named_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    plan = load(write(tmp_path), ["task.model.hidden=[3000]", "stop.updates=40"])
    whole, full = (running.prepare(plan, tmp_path / name, replace=False)[0] for name in ("whole", "full"))
    before = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(RunError, match=f"^{full}: File too large: the disk takes no more; make room"):
            running.run(full, notify=lambda _: None, asked_to_stop=lambda: False)
    finally:
        setrlimit(RLIMIT_FSIZE, before)
    for directory in (whole, full):
        running.run(directory, notify=lambda _: None, asked_to_stop=lambda: False)
    assert unlike(files(whole), files(full)) == []


def test_what_is_mended_is_started_again(server: Server, tmp_path: Path) -> None:
    """To go on with other code than a run was begun with would give numbers of neither."""
    scenario, own = write(tmp_path), tmp_path / "own.py"
    own.write_text(OWN, encoding="utf-8")
    chosen = sets("algorithm=./own.py:Divides", "stop.updates=40")
    assert server.run("run", scenario, "--out", tmp_path / "out", *chosen).code == 1
    own.write_text(OWN.replace("> 2", "> 100"), encoding="utf-8")
    resumed = server.run("resume", tmp_path / "out")
    assert resumed.code == 1
    assert "begun with other versions (./own.py " in resumed.err
    assert server.run("run", scenario, "--out", tmp_path / "out", "--replace", *chosen).code == 0
    (directory,) = (path.parent for path in (tmp_path / "out").glob("*/summary.json"))
    assert not (directory / "error.txt").exists()


def test_a_directory_that_may_not_be_written_to_is_named_as_that(tmp_path: Path) -> None:
    """As `open` says it of the lock of a run; a file of the user's own is another matter."""
    run = tmp_path / "run"
    closed = PermissionError(EACCES, "Permission denied", str(run / ".lock"))
    said = "Permission denied: let the directory be written to, then go on with `edgesim resume`"
    assert told(closed, run) == said
    with pytest.raises(PermissionError) as own:
        raise PermissionError(EACCES, "Permission denied", str(tmp_path / "my.csv"))
    assert told(own.value, run).startswith("PermissionError: ")
    assert "error.txt" not in told(own.value, run)  # there is no directory to write it into
