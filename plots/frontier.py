"""Accuracy against a cost: every variant's path, where it ends, and the points that none beats."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edgesim.plots.style import (
    accuracy_axis,
    bands,
    cost_axis,
    heading,
    legend,
    looks,
    measured,
    shade,
    styled,
    target_line,
)
from edgesim.results.costs import find_cost
from edgesim.results.frontier import non_dominated
from edgesim.results.store import Results
from edgesim.results.table import target_of
from edgesim.results.trajectory import Trajectory, trajectory


@styled
def draw(results: Results, *, cost: str = "time", target: float | None = None) -> Figure:
    """The cost-accuracy frontier.

    cost: time, energy, bytes or flops. target: in place of the scenario's. Large marks: mean over seeds at the end,
    with bars from the band; small hollow ones: each seed's end; lines: mean path with its band; small black rings and
    steps: the non-dominated set.
    """
    kind = find_cost(cost)
    groups = measured(results, results.variants(), "accuracy")
    paths = {variant: trajectory(runs, cost) for variant, runs in groups.items()}
    figure = Figure(figsize=(8, 5.0), layout="constrained")
    axes = figure.subplots()
    worth = cost_axis(axes, kind, max(path.end_cost.high[0] for path in paths.values()))
    styles = looks(paths)
    for variant, path in paths.items():
        _path(axes, path, styles[variant], worth, shade(len(paths)))
    _front(axes, [*paths.values()], worth)
    target_line(axes, target_of(results.runs, target))
    accuracy_axis(axes, "accuracy (mean over clients)")
    heading(figure, results, f"accuracy against {kind.title}", *bands(groups))
    _legend(figure, styles)
    return figure


def _path(axes: Axes, path: Trajectory, look: Mapping[str, Any], worth: float, alpha: float) -> None:
    colour, mark = look["color"], look["marker"]
    x, (mean, low, high) = path.cost / worth, path.accuracy
    axes.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)
    axes.plot(x, mean, color=colour, linestyle=look["linestyle"], linewidth=1.3, alpha=0.9)
    for cost, accuracy in path.each:
        axes.plot(cost[-1] / worth, accuracy[-1], mark, color=colour, markerfacecolor="white", markersize=5)
    end_x, end_y = path.end_cost, path.end_accuracy
    axes.errorbar(
        end_x.mean / worth, end_y.mean,
        xerr=[(end_x.mean - end_x.low) / worth, (end_x.high - end_x.mean) / worth],
        yerr=[end_y.mean - end_y.low, end_y.high - end_y.mean],
        fmt=mark, color=colour, markersize=9, markeredgecolor="white", capsize=3, elinewidth=1.2, zorder=4,
    )  # fmt: skip


def _front(axes: Axes, paths: Sequence[Trajectory], worth: float) -> None:
    cost = np.concatenate([part for path in paths for part in (path.end_cost.mean, path.cost)])
    accuracy = np.concatenate([part for path in paths for part in (path.end_accuracy.mean, path.accuracy.mean)])
    best = non_dominated(cost, accuracy)
    order = np.lexsort((accuracy[best], cost[best]))
    x, y = cost[best][order] / worth, accuracy[best][order]
    axes.step(x, y, where="post", color="black", linewidth=0.9, zorder=5)
    axes.plot(x, y, "o", color="black", markerfacecolor="white", markersize=4, markeredgewidth=1.0, zorder=5)


def _legend(figure: Figure, styles: Mapping[str, Mapping[str, Any]]) -> None:
    handles = [
        Line2D([], [], color=s["color"], marker=s["marker"], linestyle=s["linestyle"], markersize=8)
        for s in styles.values()
    ]
    front = Line2D([], [], color="black", marker="o", markerfacecolor="white", markersize=4, linewidth=0.9)
    legend(figure, [*handles, front], [*styles, "frontier: no point is cheaper and better"])
