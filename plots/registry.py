"""The figures by name. A module is imported only when its figure is wanted: matplotlib takes its time."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edgesim.errors import ScenarioError
from edgesim.spelling import advice


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Attributes: module, that defines `draw(results, **options) -> Figure`; help, one line."""

    module: str
    help: str


PLOTS: dict[str, Plot] = {
    "frontier": Plot(
        module="edgesim.plots.frontier",
        help="accuracy against time, energy, bytes or FLOPs, the runs that no other beats marked",
    ),
    "curves": Plot(
        module="edgesim.plots.curves",
        help="accuracy (or loss) as a cost grows, mean and band over seeds",
    ),
    "timeline": Plot(
        module="edgesim.plots.timeline",
        help="what each device does when: download, train, upload, wait, off",
    ),
    "staleness": Plot(
        module="edgesim.plots.staleness",
        help="how many versions old updates arrive, by device class",
    ),
    "participation": Plot(
        module="edgesim.plots.participation",
        help="how many updates each client gave, by device class, with Jain's index",
    ),
    "lorenz": Plot(
        module="edgesim.plots.lorenz",
        help="how evenly clients take part: Lorenz curves, with Gini and Jain's index",
    ),
    "concurrency": Plot(
        module="edgesim.plots.concurrency",
        help="how many jobs are in flight as time goes on, by device class",
    ),
    "time-use": Plot(
        module="edgesim.plots.timeuse",
        help="what each device class spends its time or energy on",
    ),
    "critical-path": Plot(
        module="edgesim.plots.criticalpath",
        help="which device classes, phases and rules set the time of the rounds",
    ),
    "waste": Plot(
        module="edgesim.plots.waste",
        help="time, energy, bytes or FLOPs of work that was in vain, by cause",
    ),
}


def file_name(figure: str, metric: str | None = None, cost: str | None = None) -> str:
    """What a picture is called by default, with what was chosen for it."""
    return "-".join(filter(None, (figure, metric, cost))) + ".png"


def find(name: str) -> Callable[..., Any]:
    """The `draw` function of that figure; ScenarioError, naming the nearest, for an unknown name."""
    if name not in PLOTS:
        raise ScenarioError(f"unknown figure {name!r}; {advice(name, PLOTS)}")
    draw: Callable[..., Any] = import_module(PLOTS[name].module).draw
    return draw
