"""Worker processes: started afresh (spawn), one thread each, deaf to Ctrl-C and SIGTERM, gone when their parent is."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from typing import Any

from edgesim.execution.process import prepare_process

context: SpawnContext = multiprocessing.get_context("spawn")


@contextmanager
def _starting() -> Iterator[None]:
    """Processes that are started meanwhile never hear Ctrl-C or SIGTERM: their parent decides what becomes of them.

    They inherit the mask, so that not even their first seconds, spent importing, can be interrupted.
    """
    resource_tracker.ensure_running()  # multiprocessing starts it with the first process, and then lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child:
    """A worker process, seen from its parent. Attributes: wire, where it is heard."""

    def __init__(self, work: Callable[..., None], *arguments: Any, daemon: bool) -> None:
        """`work` is given the other end of the wire, and the arguments."""
        self.wire, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *arguments), daemon=daemon)
        with _starting():
            self._process.start()
        theirs.close()

    def end(self) -> None:
        """Kill it, if it is not dead yet."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.wire.close()


def begin() -> None:
    """What every worker does first."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare_process()


def _end_with_parent() -> None:
    """A worker whose parent was killed would otherwise wait for orders for ever, holding its run's lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
