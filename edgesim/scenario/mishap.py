"""Mishap: an exception that nobody foresaw, in a user's own code or in ours, as an error of its run."""

import traceback
from contextlib import suppress
from pathlib import Path

from edgesim import references

FILE = "error.txt"


def told(error: BaseException, directory: Path) -> str:
    """What went wrong, and where: in the user's own files if the exception came through one. Its traceback is written
    into the run's directory, if that can be."""
    own = references.own_frames(error)
    place = (own or traceback.extract_tb(error.__traceback__))[-1]
    with suppress(OSError):  # that may be what went wrong
        directory.joinpath(FILE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    advice = "once your own code is mended, start again with --replace"
    if not own:
        advice = f"if the cause is none of your own code, `edgesim resume` tries again; otherwise, {advice}"
    return (
        f"{type(error).__name__}: {error}, in {place.name}, {place.filename}:{place.lineno}; the traceback is in "
        f"{directory / FILE}; {advice}"
    )
