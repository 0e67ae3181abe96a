"""Who contributes: updates aggregated from each client, most first, coloured by device class."""

import numpy as np
from matplotlib.axes import Axes
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
    whole_numbers,
)
from edgesim.results.evenness import gini, jain
from edgesim.results.store import Results, Run


@styled
def draw(results: Results) -> Figure:
    """One panel a variant: the clients of its first finished seed, with Jain's index (1: all gave equally many; 1/n:
    one gave all) and the Gini coefficient (0; 1 − 1/n)."""
    groups = finished(results)
    classes = sorted({str(c) for runs in groups.values() for c in runs[0].clients()["device_class"]})
    colours = fills(classes)
    figure, axes = panels(len(groups), "clients, most updates first", "updates aggregated", share_y=True)
    for axis, (name, runs) in zip(axes, groups.items(), strict=True):
        _panel(axis, runs[0], colours)
        updates = runs[0].clients()["jobs_aggregated"]
        evenness = f"Jain {jain(updates):.3f}, Gini {gini(updates):.3f}"
        panel_title(axis, name, f"{evenness}; {np.count_nonzero(updates == 0)} gave none")
        whole_numbers(axis, "x")
        whole_numbers(axis, "y")
    heading(figure, results, f"participation of clients{first_seeds(groups)}")
    areas(figure, colours)
    return figure


def _panel(axis: Axes, run: Run, colours: dict[str, str]) -> None:
    clients = run.clients()
    order = np.lexsort((clients["client"], -clients["jobs_aggregated"]))
    each = [colours[str(name)] for name in clients["device_class"][order]]
    axis.bar(np.arange(len(order)) + 1, clients["jobs_aggregated"][order], 1.0, color=each, linewidth=0)
    axis.set_xlim(0.5, len(order) + 0.5)
