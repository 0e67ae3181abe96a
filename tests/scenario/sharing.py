"""Runs for tests of worker processes: this process waits with its first until a worker has begun one of its own."""

import os
import signal
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from processes import wait_until

from edgesim.scenario import running


def run(directory: Path, **rest: Any) -> None:
    """As `running.run`."""
    _meet(directory)
    running.run(directory, **rest)


def run_or_die(directory: Path, **rest: Any) -> None:
    """In this process as `running.run`; a worker is killed over it."""
    _meet(directory)
    if parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    running.run(directory, **rest)


def run_or_fail(directory: Path, **rest: Any) -> None:
    """In this process as `running.run`; in a worker a mistake comes to light."""
    _meet(directory)
    if parent_process() is not None:
        raise ZeroDivisionError("in a worker")
    running.run(directory, **rest)


def _meet(directory: Path) -> None:
    begun = directory.parent.with_name("begun")
    if parent_process() is not None:
        begun.touch()
    assert wait_until(begun.exists)
