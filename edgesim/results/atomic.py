"""Files that are whole or absent: written beside their place, flushed to the disk, then renamed."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; when the block ends without an error it takes the place of `path`.

    The temporary name is fixed, so that what a killed process left behind is overwritten, not collected.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    yield temporary
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)  # the rename itself must survive a power cut


def replace_all(writers: Mapping[Path, Callable[[Path], None]]) -> None:
    """Replace files, each by what its writer puts at the path that it is given. They take their places in this order,
    once all of them are on the disk."""
    ready = {path: path.with_name(f".{path.name}.tmp") for path in writers}
    for path, write in writers.items():
        write(ready[path])
    for temporary in ready.values():
        _sync(temporary)
    for path, temporary in ready.items():
        os.replace(temporary, path)
    for folder in dict.fromkeys(path.parent for path in writers):
        _sync(folder)


def json_text(document: Mapping[str, Any]) -> str:
    """The document; NaN and infinities, which JSON does not have, are written as null."""
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in `folder`."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def finite(value: Any) -> Any:
    """Plain data with null for NaN and infinities, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
