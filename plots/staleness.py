"""How old updates are when they arrive: a histogram of staleness, stacked by device class."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from edgesim.plots.style import (
    COLOURS,
    chosen_variants,
    heading,
    legend,
    panel_title,
    panels,
    styled,
    whole_numbers,
)
from edgesim.results.store import Results, Run

_BINS = 30
Ages = dict[str, NDArray[np.float64]]
"""Device class → staleness of each of its updates that arrived [update]."""


@styled
def draw(results: Results, *, variant: str | None = None) -> Figure:
    """One panel a variant, all its seeds together: share of the updates that arrived at each staleness,
    in server versions. variant: only this one."""
    ages = {name: _ages(runs) for name, runs in chosen_variants(results, variant).items()}
    classes = sorted({device_class for by_class in ages.values() for device_class in by_class})
    greatest = max((int(a.max()) for by_class in ages.values() for a in by_class.values()), default=0)
    width = -(-(greatest + 1) // _BINS)  # versions a bar
    edges = np.arange(0, greatest + width + 1, width, dtype=np.float64) - np.float64(0.5)
    figure, axes = panels(len(ages), "staleness at arrival (server versions)", "arrived updates (%)", share_y=False)
    for axis, (name, by_class) in zip(axes, ages.items(), strict=True):
        _panel(axis, by_class, classes, edges)
        panel_title(axis, name, _moments(by_class))
        whole_numbers(axis, "x")
    figure.suptitle(heading(results, "staleness of updates"), x=0.01, ha="left", fontsize=12)
    legend(figure, [Patch(color=COLOURS[i % len(COLOURS)]) for i in range(len(classes))], classes)
    return figure


def _ages(runs: list[Run]) -> Ages:
    found: dict[str, list[NDArray[np.float64]]] = {}
    for run in runs:
        events = run.events(["device_class", "staleness"])
        staleness = np.asarray(events["staleness"], np.float64)
        for device_class in np.unique(events["device_class"].astype(str)):
            mine = staleness[(events["device_class"] == device_class) & ~np.isnan(staleness)]
            if len(mine):
                found.setdefault(device_class, []).append(mine)
    return {device_class: np.concatenate(parts) for device_class, parts in found.items()}


def _panel(axis: Axes, ages: Ages, classes: list[str], edges: NDArray[np.float64]) -> None:
    total = sum(len(a) for a in ages.values())
    below = np.zeros(len(edges) - 1)
    for index, device_class in enumerate(classes):
        if device_class in ages:
            share = 100 * np.histogram(ages[device_class], edges)[0] / total
            colour = COLOURS[index % len(COLOURS)]
            axis.bar(edges[:-1], share, np.diff(edges) * 0.9, below, align="edge", color=colour)
            below += share


def _moments(ages: Ages) -> str:
    if not ages:
        return "no update arrived"
    every = np.concatenate(list(ages.values()))
    return f"{len(every)} updates, mean {every.mean():.2f}, greatest {every.max():.0f}"
