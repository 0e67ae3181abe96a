"""One process at a time works in a run's directory."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesim.errors import RunError


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; a killed process lets go of it by itself.

    Raises:
        RunError: another process holds it.
    """
    path = directory / ".lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{directory}: another process is at work here; wait for it or stop it") from None
        yield
        path.unlink()
