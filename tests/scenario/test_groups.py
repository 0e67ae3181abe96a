"""Runs of a sweep that are worked at together leave the same files, byte for byte, as each for itself."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import sharing
from processes import Files, Server, files, unlike
from tiny import ALGORITHMS, SCHEDULES, sets, write

from edgesim.errors import RunError
from edgesim.execution import checkpoint, pool
from edgesim.execution.pieces import deal
from edgesim.learning.joint import Joint
from edgesim.scenario import closing, running, sidebyside
from edgesim.scenario.group import Group, groups, run_group
from edgesim.scenario.loading import load
from edgesim.scenario.progress import Interrupted, Progress

SEEDS = "sweep.seed=[0, 1, 2]"


def prepared(out: Path, *overrides: str) -> Group:
    plan = load(write(out.parent), [SEEDS, "stop.updates=100", "execution.checkpoint_every=1 h", *overrides])
    return tuple(running.prepare(plan, out, replace=False))


def left(directories: Group) -> Files:
    return files(directories[0].parent)


def quiet(_: Progress) -> None:
    """Nobody listens."""


def alone(folder: Path, *overrides: str) -> Files:
    directories = prepared(folder, *overrides)
    for directory in directories:
        running.run(directory, notify=quiet, asked_to_stop=lambda: False)
    return left(directories)


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs shared each stack that was trained."""
    seen: list[int] = []
    update = Joint.update

    def counted(self: Joint, algorithm: Any, kernel: Any, parts: Any) -> Any:
        seen.append(len(parts))
        return update(self, algorithm, kernel, parts)

    monkeypatch.setattr(Joint, "update", counted)
    return seen


def test_a_run_by_itself_trains_in_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stacks are dealt out to as many hands as there are by then."""
    monkeypatch.setattr(pool, "_WORTH", 0.0)
    hands: list[int] = []

    def noted(orders: Any, samples: Any, count: int) -> list[list[int]]:
        hands.append(count)
        return deal(orders, samples, count)

    monkeypatch.setattr(pool, "deal", noted)
    directories = prepared(tmp_path / "pool")[:1]
    assert run_group(running.run, directories, processes=2, notify=quiet, asked_to_stop=lambda: False) == []
    assert hands
    alone(tmp_path / "alone")
    assert unlike(files(directories[0]), files(tmp_path / "alone" / directories[0].name)) == []


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("algorithm", ["fedavg", "fedspa-dst"])
def test_together_as_alone(tmp_path: Path, stacks: list[int], schedule: str, algorithm: str) -> None:
    """Masked training is not joined, but shares the process."""
    chosen = SCHEDULES[schedule], ALGORITHMS[algorithm]
    directories = prepared(tmp_path / "together", *chosen)
    assert run_group(running.run, directories, notify=quiet, asked_to_stop=lambda: False) == []
    assert (3 in stacks) == (algorithm == "fedavg")
    assert unlike(alone(tmp_path / "alone", *chosen), left(directories)) == []


def test_runs_that_end_at_different_times(tmp_path: Path, stacks: list[int]) -> None:
    """By accuracy, which each seed reaches when it does."""
    chosen = "stop={updates: 600, accuracy: 0.75}", "evaluate={every: 1 aggregations}"
    directories = prepared(tmp_path / "together", *chosen)
    assert run_group(running.run, directories, notify=quiet, asked_to_stop=lambda: False) == []
    assert {2, 3} <= set(stacks)
    assert unlike(alone(tmp_path / "alone", *chosen), left(directories)) == []
    assert len({(path / "metrics.parquet").stat().st_size for path in directories}) > 1


def test_one_that_fails_leaves_the_others_to_go_on(tmp_path: Path) -> None:
    directories = prepared(tmp_path / "together")
    broken = directories[1] / checkpoint.FILE
    broken.parent.mkdir()
    broken.write_bytes(b"no checkpoint")
    [error] = run_group(running.run, directories, notify=quiet, asked_to_stop=lambda: False)
    assert isinstance(error, RunError)
    assert f"damaged, and the run cannot go on from it; remove {directories[1]}, and once" in str(error)
    assert [(directory / "summary.json").exists() for directory in directories] == [True, False, True]
    shutil.rmtree(directories[1])
    assert prepared(tmp_path / "together") == directories[1:2]
    assert run_group(running.run, directories[1:2], notify=quiet, asked_to_stop=lambda: False) == []
    assert unlike(alone(tmp_path / "alone"), left(directories)) == []


def test_one_that_fails_while_others_wait_for_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A law found broken at the end of the second run, which ends before the others."""
    directories = prepared(tmp_path / "together")
    close = closing.close

    def failing(simulation: Any, made: Any) -> None:
        if made.scenario.seed == 1:
            raise RunError("a law does not hold")
        close(simulation, made)

    monkeypatch.setattr(closing, "close", failing)
    with pytest.raises(RunError, match=r"seed=1: a law does not hold"):
        running.run_all(directories, workers=1, notify=quiet, asked_to_stop=lambda: False)
    assert [(directory / "summary.json").exists() for directory in directories] == [True, False, True]


def test_what_is_no_error_of_a_run_ends_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directories = prepared(tmp_path / "together")

    def interrupted(self: Joint, *_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Joint, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.run_all(directories, workers=1, notify=quiet, asked_to_stop=lambda: False)
    monkeypatch.undo()
    assert not any((directory / "summary.json").exists() for directory in directories)
    running.run_all(directories, workers=1, notify=quiet, asked_to_stop=lambda: False)  # no lock is held any more
    assert unlike(alone(tmp_path / "alone"), left(directories)) == []


def test_asked_to_stop_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesim.scenario.progress.LOOK_EVERY_S", 0.0)
    directories = prepared(tmp_path / "together")
    shares: dict[str, float] = {}

    def note(progress: Progress) -> None:
        shares[progress.label] = progress.share

    with pytest.raises(Interrupted, match="stopped at"):
        running.run_all(
            directories, workers=1, notify=note, asked_to_stop=lambda: min(shares.values(), default=0) > 0.3
        )
    assert all((directory / checkpoint.FILE).exists() for directory in directories)
    running.run_all(running.unfinished(tmp_path / "together"), workers=1, notify=note, asked_to_stop=lambda: False)
    assert unlike(alone(tmp_path / "alone"), left(directories)) == []


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start at once."""
    monkeypatch.setattr(sidebyside, "PATIENCE_S", 0.0)


@pytest.mark.usefixtures("eager")
def test_with_a_worker_beside(tmp_path: Path) -> None:
    directories = prepared(tmp_path / "together")
    parts = groups(directories, 2)
    assert [len(group) for group in parts] == [1, 2]
    seen = set[str]()
    assert sidebyside.run_side_by_side(sharing.run, parts, 2, lambda now: seen.add(now.label), lambda: False) == []
    assert seen == {directory.name for directory in directories}
    assert unlike(alone(tmp_path / "alone"), left(directories)) == []


def test_no_worker_starts_for_a_short_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidebyside, "PATIENCE_S", 60.0)
    monkeypatch.setattr(sidebyside, "Worker", None)
    directories = prepared(tmp_path / "together")
    running.run_all(directories, workers=3, notify=quiet, asked_to_stop=lambda: False)
    assert unlike(alone(tmp_path / "alone"), left(directories)) == []


@pytest.mark.usefixtures("eager")
def test_a_worker_that_is_killed_costs_its_own_runs_alone(tmp_path: Path) -> None:
    directories = prepared(tmp_path / "together")
    parts = [(directory,) for directory in directories]
    [error] = sidebyside.run_side_by_side(sharing.run_or_die, parts, 2, quiet, lambda: False)
    assert "a worker process was killed" in str(error)
    [lost] = running.unfinished(directories[0].parent)
    running.run_all([lost], workers=1, notify=quiet, asked_to_stop=lambda: False)
    assert unlike(alone(tmp_path / "alone"), left(directories)) == []


@pytest.mark.usefixtures("eager")
def test_a_mistake_in_a_worker_is_raised_here_once_all_have_ended(tmp_path: Path) -> None:
    directories = prepared(tmp_path / "together")
    parts = [(directory,) for directory in directories]
    with pytest.raises(ZeroDivisionError, match="in a worker"):
        sidebyside.run_side_by_side(sharing.run_or_fail, parts, 2, quiet, lambda: False)
    assert len(running.unfinished(directories[0].parent)) == 1


@pytest.mark.usefixtures("eager")
def test_asked_to_stop_while_a_worker_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not begun is named, too."""
    directories = prepared(tmp_path / "together", "stop.updates=1000")
    parts, asked = [(directory,) for directory in directories], (tmp_path / "begun").exists
    errors = sidebyside.run_side_by_side(sharing.run, parts, 2, quiet, asked)
    assert all(isinstance(error, Interrupted) for error in errors)
    assert sorted(str(error).rpartition(":")[2].split()[0] for error in errors) == ["not", "stopped", "stopped"]
    running.run_all(running.unfinished(directories[0].parent), workers=1, notify=quiet, asked_to_stop=lambda: False)
    assert unlike(alone(tmp_path / "alone", "stop.updates=1000"), left(directories)) == []


def test_killed_and_resumed(server: Server, tmp_path: Path) -> None:
    often = "stop.updates=300", "execution.checkpoint_every=20 ms"
    out = tmp_path / "killed"
    process = server.start("run", write(tmp_path), "--out", out, "--workers", "1", *sets(SEEDS, *often))
    process.wait_for(lambda: all((out / f"fedavg_seed={seed}" / checkpoint.FILE).exists() for seed in range(3)))
    assert process.kill().code == -signal.SIGKILL
    assert len(running.unfinished(out)) == 3
    assert server.run("resume", out, "--workers", "1").code == 0
    assert unlike(alone(tmp_path / "alone", *often), files(out)) == []


def sizes(folder: Path, workers: int, *overrides: str) -> list[int]:
    plan = load(write(folder), overrides)
    return [len(group) for group in groups(running.prepare(plan, folder / "out", replace=True), workers)]


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look at what runs are made of."""
    monkeypatch.setattr(running, "check", lambda _: None)


@pytest.mark.parametrize(
    ("workers", "overrides", "expected"),
    [
        (1, ["sweep.seed=[0,1,2,3,4]"], [5]),
        (2, ["sweep.seed=[0,1,2,3,4]"], [2, 3]),
        (4, ["sweep.seed=[0,1,2,3,4]"], [1, 2, 2]),
        (1, ["sweep={seed: [0,1,2], training.lr: [0.1, 0.2]}"], [3, 3]),
        (2, ["sweep={seed: [0,1,2], training.lr: [0.1, 0.2]}"], [3, 3]),
        (1, ["sweep.seed=[0,1,2,3,4,5,6,7,8,9]"], [5, 5]),
        (1, ["sweep.seed=[0,1,2]", "task.clients=90000"], [1, 2]),
        (1, ["sweep.seed=[0,1,2]", "execution.backend=loop"], [1, 1, 1]),
        (1, ["sweep.seed=[0,1,2]", "execution.kind=ray"], [1, 1, 1]),
        (1, ["sweep.seed=[0,1,2]", "execution.cohort=15"], [1, 1, 1]),
        (1, ["sweep.seed=[0,1,2]", "execution.cohort=16"], [3]),
        (1, ["sweep.seed=[0,1,2]", "execution.cohort=19", SCHEDULES["buffered"]], [1, 1, 1]),
    ],
)
@pytest.mark.usefixtures("cheap")
def test_groups_keep_all_workers_busy_and_fit_into_memory(
    tmp_path: Path, workers: int, overrides: list[str], expected: list[int]
) -> None:
    assert sizes(tmp_path, workers, *overrides) == expected
