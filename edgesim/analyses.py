"""What `edgesim analyze` prints: the analyses of finished runs as tables, or as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgesim import printing
from edgesim.errors import ScenarioError
from edgesim.results.analysis.tables import mean, sections
from edgesim.results.store import Results


def show(folders: Sequence[Path], *, as_json: bool) -> None:
    """Print the analyses of all finished runs in `folders`.

    Raises:
        ScenarioError: there is none.
    """
    results = Results.read(*folders)
    found = _analyses(results)
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    for section in sections({variant: mean([*runs.values()]) for variant, runs in found.items()}):
        printing.figures(section.title, section.header, section.rows, section.names)
    printing.lines(_note(results))


def _analyses(results: Results) -> dict[str, dict[str, Any]]:
    """Variant → label → analysis."""
    finished = results.finished().variants()
    if not finished:
        raise ScenarioError(f"{results.path}: no run is finished; go on with: edgesim resume {results.runs[0].path}")
    return {variant: {run.label: run.analysis() for run in runs} for variant, runs in finished.items()}


def _note(results: Results) -> str:
    unfinished = sum(not run.finished for run in results.runs) + len(results.unreadable)
    missing = f" {unfinished} unfinished runs are left out." if unfinished else ""
    return f"Means over seeds. What each figure is: docs/results.md.{missing}"
