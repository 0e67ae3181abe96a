"""What `edgesim export` writes: one run as a trace, to look through in a viewer of traces."""

from pathlib import Path

from edgesim import printing, units
from edgesim.errors import ScenarioError
from edgesim.results.store import Results, Run
from edgesim.results.trace import format
from edgesim.results.trace.drawing import NEVER, Window, lines

_NAMED = 8  # runs, in an error


def trace(folder: Path, begin: str | None, end: str | None, out: Path | None) -> None:
    """Write the only run in `folder`, or its part from `begin` to `end`, and say where.

    Raises:
        ScenarioError: there is another number of runs, nothing to write, or no place to write it to.
    """
    window = Window(_ns("--from", begin, 0), _ns("--to", end, NEVER))
    run = _only(folder)
    path = out or run.path / "trace.json.gz"
    events = lines(run, window)
    try:
        format.write(path, events, {"run": run.label, "times": "simulated"})
    except OSError as error:
        raise ScenarioError(f"--out {path}: cannot be written: {error.strerror}") from error
    printing.lines(str(path))


def _only(folder: Path) -> Run:
    results = Results.read(folder)
    found = [*(run.path for run in results.runs), *results.unreadable]
    if len(found) > 1:
        names = ", ".join(str(path) for path in sorted(found)[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise ScenarioError(f"{folder}: holds {len(found)} runs, and a trace is of one; export one of {names}{more}")
    return results.runs[0]


def _ns(option: str, text: str | None, default: int) -> int:
    return default if text is None else round(units.of_option(option, text, "time") * 1e9)
