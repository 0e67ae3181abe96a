"""Mishap: an exception that nobody foresaw, in a user's own code or in ours, as an error of its run."""

import errno
import os
import traceback
from contextlib import suppress
from pathlib import Path

from edgesim import references

FILE = "error.txt"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def told(error: BaseException, directory: Path) -> str:
    """What went wrong, and where: in the user's own files if the exception came through one. Its traceback is written
    into the run's directory, if that can be. A disk that is full is nobody's mistake, nor is a directory that nothing
    may be written to."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"{os.strerror(error.errno)}: the disk takes no more; make room, then go on with `edgesim resume`"
    if isinstance(error, OSError) and error.errno in _CLOSED and Path(str(error.filename)).is_relative_to(directory):
        return f"{os.strerror(error.errno)}: let the directory be written to, then go on with `edgesim resume`"
    own = references.own_frames(error)
    place = (own or traceback.extract_tb(error.__traceback__))[-1]
    where = ""
    with suppress(OSError):  # that may be what went wrong
        directory.joinpath(FILE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        where = f"; the traceback is in {directory / FILE}"
    advice = "once your own code is mended, start again with --replace"
    if not own:
        advice = f"if the cause is none of your own code, `edgesim resume` tries again; otherwise, {advice}"
    return f"{type(error).__name__}: {error}, in {place.name}, {place.filename}:{place.lineno}{where}; {advice}"
