"""One process at a time works in a run's directory."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesim.errors import RunError

LOCK = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; a killed process lets go of it by itself, and leaves only its file.

    Raises:
        RunError: another process holds it.
    """
    path = directory / LOCK
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except OSError:
            held = False
        if not held:  # by us; or it is no longer the file that others see, for its last holder has just removed it
            raise RunError(f"{directory}: another process is at work here; wait for it or stop it")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_idle(directories: Iterable[Path]) -> None:
    """Raise RunError where another process is at work in one of these."""
    for directory in directories:
        if (directory / LOCK).exists():
            with locked(directory):
                pass
