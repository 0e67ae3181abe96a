"""Mishap: an exception that nobody foresaw, in a user's own code or in ours, as an error of its run."""

import traceback
from pathlib import Path

from edgesim import references

FILE = "error.txt"


def told(error: Exception, directory: Path) -> str:
    """What went wrong, and where: in the user's own files if the exception came through one. Its traceback is written
    into the run's directory."""
    frames = traceback.extract_tb(error.__traceback__)
    own = {str(path) for path, _ in references.files()}
    place = next((frame for frame in reversed(frames) if frame.filename in own), frames[-1])
    directory.joinpath(FILE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return (
        f"{type(error).__name__}: {error}, in {place.name}, {place.filename}:{place.lineno}; the traceback is in "
        f"{directory / FILE}; once your own code is mended, start again with --replace"
    )
