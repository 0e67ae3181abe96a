"""Side by side: runs in worker processes, one thread each."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from edgesim.errors import EdgesimError, RunError
from edgesim.execution.workers import begin as begin_worker
from edgesim.execution.workers import context, starting
from edgesim.scenario.progress import LOOK_EVERY_S, Asked, Interrupted, Notify

Run = Callable[..., None]
"""What runs one directory; a function that a worker can import."""

_worker: dict[str, Any] = {}


def run_in_workers(
    run: Run, directories: Sequence[Path], processes: int, notify: Notify, asked_to_stop: Asked
) -> list[EdgesimError]:
    """`run` each directory, with its share of so many processes; the errors."""
    queue, stop = context.SimpleQueue(), context.Event()
    side_by_side = min(processes, len(directories))
    errors: list[EdgesimError] = []
    with ProcessPoolExecutor(
        side_by_side,
        mp_context=context,
        initializer=_start_worker,
        initargs=(queue, stop, processes // side_by_side),
    ) as pool:
        with starting():
            futures = [pool.submit(_run_in_worker, run, directory) for directory in directories]
        _watch(futures, queue, stop, notify, asked_to_stop)
        for future in futures:
            error = future.exception()
            if isinstance(error, EdgesimError):
                errors.append(error)
            elif isinstance(error, BrokenProcessPool):
                errors.append(
                    RunError("a worker process was killed, perhaps for want of memory; resume with fewer --workers")
                )
                break
            elif error is not None:
                raise error
    return errors


def _watch(futures: Sequence[Future[None]], queue: Any, stop: Any, notify: Notify, asked_to_stop: Asked) -> None:
    while not all(future.done() for future in futures):
        if asked_to_stop():
            stop.set()
        while not queue.empty():
            notify(queue.get())
        time.sleep(LOOK_EVERY_S / 2)
    while not queue.empty():
        notify(queue.get())


def _start_worker(queue: Any, stop: Any, processes: int) -> None:
    begin_worker()
    _worker.update(notify=queue.put, asked_to_stop=stop.is_set, processes=processes)


def _run_in_worker(run: Run, directory: Path) -> None:
    if _worker["asked_to_stop"]():
        raise Interrupted(f"{directory}: not begun")
    run(directory, **_worker)
