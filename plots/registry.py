"""The figures by name. A module is imported only when its figure is wanted: matplotlib takes its time."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from edgesim.errors import ScenarioError
from edgesim.spelling import advice

PLOTS = {
    "frontier": "accuracy against time, energy, bytes or FLOPs, the runs that no other beats marked",
    "curves": "accuracy (or loss) as a cost grows, mean and band over seeds",
    "timeline": "what each device does when: download, train, upload, wait, off",
    "staleness": "how many versions old updates arrive, by device class",
    "participation": "how many updates each client gave, by device class, with Jain's index",
    "lorenz": "how evenly clients take part: Lorenz curves, with Gini and Jain's index",
    "concurrency": "how many jobs are in flight as time goes on, by device class",
    "time-use": "what each device class spends its time or energy on",
    "critical-path": "which device classes, phases and rules set the time of the rounds",
    "waste": "time, energy, bytes or FLOPs of work that was in vain, by cause",
}
"""Name → what it shows. The module of a figure has its name, without hyphens; in it is `draw(results, **options)`."""


def file_name(figure: str, metric: str | None = None, cost: str | None = None) -> str:
    """What a picture is called by default, with what was chosen for it."""
    return "-".join(filter(None, (figure, metric, cost))) + ".png"


def find(name: str) -> Callable[..., Any]:
    """The `draw` function of that figure; ScenarioError, naming the nearest, for an unknown name."""
    if name not in PLOTS:
        raise ScenarioError(f"unknown figure {name!r}; {advice(name, PLOTS)}")
    draw: Callable[..., Any] = import_module(f"edgesim.plots.{name.replace('-', '')}").draw
    return draw
