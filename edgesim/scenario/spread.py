"""Runs spread over a Ray cluster, each a task of its own.

A run's directory travels there and back, so that no disk need be shared: files that its scenario names by relative
paths go with it, and what it leaves is written here when it has ended. Ray starts a run again whose worker was lost.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from edgesim.errors import EdgesimError, RunError, ScenarioError
from edgesim.execution import card, checkpoint
from edgesim.execution.cluster import cause, connect
from edgesim.execution.process import prepare_process
from edgesim.results import atomic
from edgesim.results.recorder import SUMMARY
from edgesim.results.store import SCENARIO
from edgesim.scenario import inputs
from edgesim.scenario.execution import Execution
from edgesim.scenario.lock import LOCK, locked
from edgesim.scenario.progress import Asked, Notify, Progress
from edgesim.scenario.record import Record
from edgesim.scenario.running import run
from edgesim.scenario.schema import Scenario

_LOOK_EVERY_S = 0.1  # host time
_ATTEMPTS = 3
_DATA = "EDGESIM_DATA"


def workers(text: str | None) -> int | str:
    """What `--workers` asks for: a number of processes, or the address of a cluster. Raises ScenarioError."""
    if text is None:
        return os.cpu_count() or 1
    if text == "ray":
        return "auto"
    if re.fullmatch(r"ray://[^/:\s]+:\d+", text):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise ScenarioError(f"--workers {text}: write a number from 1, or ray or ray://HOST:PORT for a Ray cluster")
    return int(text)


def run_on_cluster(
    directories: Sequence[Path], address: str, notify: Notify, asked_to_stop: Asked
) -> list[EdgesimError]:
    """Run, or go on with, the runs of these directories on a cluster; what went wrong, by run.

    Raises:
        ScenarioError: Ray is not installed.
        RunError: no cluster answers, or a directory is in use.
    """
    ray = connect(address, "--workers")
    with ExitStack() as held:
        for directory in directories:
            held.enter_context(locked(directory))
        board = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Board).remote()
        try:
            tasks = dict(_tasks(ray, directories, board))
            return list(_errors(ray, tasks, board, notify, asked_to_stop))
        finally:
            ray.kill(board)


def _tasks(ray: Any, directories: Sequence[Path], board: Any) -> Iterator[tuple[Any, Path]]:
    records = [Record.read(directory) for directory in directories]
    named = {path for made in records for path in _sent(made.scenario, made.folder)}
    files = ray.put({str(path): path.read_bytes() for path in sorted(named)})
    for directory, made in zip(directories, records, strict=True):
        gpus = _gpus(made.scenario.execution)
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_ATTEMPTS - 1)(_run_there)
        yield (
            task.remote(str(directory), _content(directory), str(made.folder), files, os.environ.get(_DATA), board),
            directory,
        )


def _errors(
    ray: Any, tasks: dict[Any, Path], board: Any, notify: Notify, asked_to_stop: Asked
) -> Iterator[EdgesimError]:
    while tasks:
        ended, _ = ray.wait(list(tasks), timeout=_LOOK_EVERY_S)
        if asked_to_stop():
            board.stop.remote()
        for progress in ray.get(board.take.remote()):
            notify(progress)
        for task in ended:
            directory = tasks.pop(task)
            try:
                content, error = ray.get(task)
            except ray.exceptions.RayTaskError as failure:
                raise cause(failure) from None
            except ray.exceptions.RayError:
                content, error = None, RunError(f"{directory}: {_ATTEMPTS} workers of the Ray cluster died over it")
            if content is not None:
                _bring(directory, content)
            if error is not None:
                yield error


def _bring(directory: Path, content: dict[str, bytes]) -> None:
    """Write what a run left; the summary, which says that it is finished, last."""
    for name in sorted(content.keys() - {SCENARIO}, key=lambda name: name == SUMMARY):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(content[name])
    for name in _content(directory).keys() - content.keys():
        (directory / name).unlink()
    if SUMMARY in content and (directory / checkpoint.FILE.parent).is_dir():
        (directory / checkpoint.FILE.parent).rmdir()


def _content(directory: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != LOCK]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def _sent(scenario: Scenario, folder: Path) -> Iterator[Path]:
    """The files that a scenario names by relative paths, and those in the folders that it names."""
    folders = [name for name in (scenario.task.data_dir, scenario.profiles) if name]
    for name in [*inputs.named(scenario, folder), *folders]:
        path = Path(os.path.normpath(folder / name))
        if not Path(name).is_absolute() and not folder.is_relative_to(path):
            yield from (file for _, file in inputs.within(path))


def _gpus(execution: Execution) -> float:
    """How many a run is to be lent. Raises ScenarioError where it wants a certain one."""
    if execution.device not in (card.NONE, "cuda"):
        raise ScenarioError(
            f"execution.device: got '{execution.device}', but the Ray cluster says which GPU is whose; write cuda"
        )
    return execution.gpus_per_worker or float(execution.device != card.NONE)


# ── on the cluster ──────────────────────────────────────────────────────────────────────────────────────
class _Board:
    """What runs and the command that spread them tell each other."""

    def __init__(self) -> None:
        self._news: list[Progress] = []
        self._stop = False

    def note(self, progress: Progress) -> None:
        self._news.append(progress)

    def take(self) -> list[Progress]:
        news, self._news = self._news, []
        return news

    def stop(self) -> None:
        self._stop = True

    def stopped(self) -> bool:
        return self._stop


def _run_there(
    name: str, content: dict[str, bytes], folder: str, files: dict[str, bytes], data: str | None, board: Any
) -> tuple[dict[str, bytes], EdgesimError | None]:
    """Run a directory in a place of its own; what it leaves, and what went wrong."""
    ray = import_module("ray")
    prepare_process()
    if data is not None:
        os.environ[_DATA] = data
    with tempfile.TemporaryDirectory(prefix="edgesim-") as place:
        for path, text in files.items():
            _put(Path(place + path), text)
        directory, there = Path(place, "run"), Path(place + folder)
        for path, text in content.items():
            _put(directory / path, text)
        there.mkdir(parents=True, exist_ok=True)
        error = None
        try:
            run(
                directory, folder=there, notify=board.note.remote,
                asked_to_stop=lambda: bool(ray.get(board.stopped.remote())),
            )  # fmt: skip
        except EdgesimError as failure:
            error = type(failure)(str(failure).replace(str(directory), name).replace(place, ""))
        return _content(directory), error


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
