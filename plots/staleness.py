"""How old updates are when they arrive: a histogram of staleness, stacked by device class."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgesim.plots.style import (
    areas,
    fills,
    heading,
    means,
    panel_title,
    panels,
    styled,
    whole_numbers,
)
from edgesim.results.store import Results, Run

_BINS = 30
Ages = dict[str, NDArray[np.float64]]
"""Of one run: device class → staleness of each of its updates that arrived [update]."""


@styled
def draw(results: Results) -> Figure:
    """One panel a variant: share of the updates that arrived at each staleness, in server versions; means over its
    runs."""
    groups = results.variants()
    ages = {name: [*map(_ages, runs)] for name, runs in groups.items()}
    every = [by_class for runs in ages.values() for by_class in runs]
    classes = sorted({device_class for by_class in every for device_class in by_class})
    colours = fills(classes)
    greatest = max((int(a.max()) for by_class in every for a in by_class.values()), default=0)
    width = -(-(greatest + 1) // _BINS)  # versions a bar
    edges = np.arange(0, greatest + width + 1, width, dtype=np.float64) - np.float64(0.5)
    figure, axes = panels(len(ages), "staleness at arrival (server versions)", "arrived updates (%)", share_y=False)
    for axis, (name, runs) in zip(axes, ages.items(), strict=True):
        _panel(axis, [by_class for by_class in runs if by_class], colours, edges)
        panel_title(axis, name, _moments(runs))
        whole_numbers(axis, "x")
    heading(figure, results, f"staleness of updates{means(groups)}")
    areas(figure, colours)
    return figure


def _ages(run: Run) -> Ages:
    events = run.events(["device_class", "staleness"])
    staleness = np.asarray(events["staleness"], np.float64)
    arrived = ~np.isnan(staleness)
    classes = events["device_class"].astype(str)
    return {name: staleness[arrived & (classes == name)] for name in np.unique(classes[arrived]).tolist()}


def _panel(axis: Axes, runs: list[Ages], colours: dict[str, str], edges: NDArray[np.float64]) -> None:
    below = np.zeros(len(edges) - 1)
    for device_class, colour in colours.items():
        share = np.zeros(len(edges) - 1)
        for ages in runs:
            total = sum(map(len, ages.values())) * len(runs)
            share += 100 * np.histogram(ages.get(device_class, ()), edges)[0] / total
        axis.bar(edges[:-1], share, np.diff(edges) * 0.9, below, align="edge", color=colour)
        below += share


def _moments(runs: list[Ages]) -> str:
    """Means over runs, as in the analysis; the greatest is that of all."""
    every = [np.concatenate([*ages.values()]) for ages in runs if ages]
    if not every:
        return "no update arrived"
    count = f"{sum(map(len, every)) / len(runs):,.1f}".removesuffix(".0")
    return f"{count} updates, mean {np.mean([*map(np.mean, every)]):.2f}, at most {max(map(np.max, every)):.0f}"
