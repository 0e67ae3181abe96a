"""How many jobs are in flight as time goes on, stacked by device class."""

import numpy as np
from matplotlib.figure import Figure

from edgesim.plots.style import (
    areas,
    fills,
    finished,
    first_seeds,
    heading,
    panel_title,
    panels,
    styled,
)
from edgesim.results.analysis import report
from edgesim.results.costs import COSTS
from edgesim.results.store import Results

_PARTS = 120  # of the run: each step is the mean over one


@styled
def draw(results: Results) -> Figure:
    """One panel a variant: its first finished seed's jobs, from dispatch to arrival or loss, those that wait off line
    included."""
    groups = finished(results)
    drawn = {name: report.in_flight(runs[0].path, _PARTS) for name, runs in groups.items()}
    longest, most = (max(each) for each in zip(*((e[-1], j.sum(0).max()) for _, e, j in drawn.values()), strict=True))
    worth, unit = COSTS["time"].unit(float(longest))
    classes = sorted({name for found, _, _ in drawn.values() for name in found})
    colours = fills(classes)
    figure, axes = panels(len(groups), f"simulated time ({unit})", "jobs in flight", share_y=True)
    for axis, (name, runs) in zip(axes, groups.items(), strict=True):
        found, edges, jobs = drawn[name]
        shades = [colours[each] for each in found]
        # each part twice, at its begin and at its end: steps
        axis.stackplot(np.repeat(edges, 2)[1:-1] / worth, np.repeat(jobs, 2, axis=1), colors=shades, linewidth=0)
        panel_title(axis, name, _figures(runs[0].analysis()["concurrency"]["all"]))
    axes[0].set_xlim(0, longest / worth or 1.0)  # of all panels: they share their scales
    axes[0].set_ylim(0, 1.05 * most or 1.0)
    heading(figure, results, f"jobs in flight{first_seeds(groups)}")
    areas(figure, colours)
    return figure


def _figures(found: dict[str, float]) -> str:
    return f"mean {found['jobs']:.3g} in flight, {found['working']:.3g} at work"
