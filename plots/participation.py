"""Who contributes: updates aggregated from each client, most first, coloured by device class."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from edgesim.errors import ScenarioError
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
from edgesim.results.statistics import jain
from edgesim.results.store import Results, Run


@styled
def draw(results: Results, *, variant: str | None = None) -> Figure:
    """One panel a variant: the bars are its first finished seed's clients, Jain's index the mean over all
    finished seeds (1: all gave equally many; 1/n: one gave all). variant: only this one."""
    groups = {name: _finished(results, name, runs) for name, runs in chosen_variants(results, variant).items()}
    classes = sorted({str(c) for runs in groups.values() for c in runs[0].clients()["device_class"]})
    figure, axes = panels(len(groups), "clients, most updates first", "updates aggregated", share_y=True)
    for axis, (name, runs) in zip(axes, groups.items(), strict=True):
        _panel(axis, runs[0], classes)
        index = float(np.mean([jain(run.clients()["jobs_aggregated"]) for run in runs]))
        never = int(np.sum(runs[0].clients()["jobs_aggregated"] == 0))
        panel_title(axis, name, f"Jain index {index:.3f}; {never} clients gave none")
        whole_numbers(axis, "y")
    figure.suptitle(heading(results, "participation of clients"), x=0.01, ha="left", fontsize=12)
    legend(figure, [Patch(color=COLOURS[i % len(COLOURS)]) for i in range(len(classes))], classes)
    return figure


def _finished(results: Results, variant: str, runs: list[Run]) -> list[Run]:
    finished = [run for run in runs if run.finished]
    if not finished:
        raise ScenarioError(f"{results.path}: no run of {variant!r} is finished; edgesim resume {runs[0].path}")
    return finished


def _panel(axis: Axes, run: Run, classes: list[str]) -> None:
    clients = run.clients()
    order = np.lexsort((clients["client"], -clients["jobs_aggregated"]))
    colours = [COLOURS[classes.index(c) % len(COLOURS)] for c in clients["device_class"][order]]
    axis.bar(np.arange(len(order)) + 1, clients["jobs_aggregated"][order], 1.0, color=colours, linewidth=0)
    axis.set_xlim(0.5, len(order) + 0.5)
