"""Drawing: a figure by its name, from results on disk, with the options of the command line."""

import inspect
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgesim import printing, units
from edgesim.errors import ScenarioError
from edgesim.plots.registry import file_name, find
from edgesim.plots.style import save
from edgesim.results.costs import find_cost
from edgesim.results.store import Results


def plot(figure: str, folders: Sequence[Path], asked: Mapping[str, str | None], out: Path | None) -> None:
    """Draw a figure with the options that were asked for, save it and say where."""
    draw = find(figure)
    options = _options(figure, inspect.signature(draw).parameters, asked)
    results = Results.read(*folders)
    picture = draw(results, **options)
    cost = None if asked["cost"] is None else find_cost(asked["cost"]).name
    path = out or results.path / file_name(figure, asked["metric"], cost)
    save(picture, path)
    if figure == "timeline" and len(results.runs) > 1:
        shown = results.runs[0].path
        print(f"{shown} is drawn; for another run: edgesim plot timeline {shown.parent}/RUN", file=sys.stderr)
    printing.lines(str(path))


_WORDS = ("cost", "metric")


def _options(figure: str, known: Collection[str], asked: Mapping[str, str | None]) -> dict[str, Any]:
    """What to draw a figure with; ScenarioError for what it does not know, and for what is no time."""
    options: dict[str, Any] = {}
    for option, text in asked.items():
        if text is None:
            continue
        name = {"from": "start_s", "to": "end_s"}.get(option, option)
        if name not in known:
            what = option if option in _WORDS else "time"
            raise ScenarioError(f"--{option} {text}: the figure {figure} has no {what} to choose; leave it out")
        options[name] = text if option in _WORDS else units.of_option(f"--{option}", text, "time")
    return options
