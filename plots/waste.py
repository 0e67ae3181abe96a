"""What was in vain, by reason: a bar for each variant."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from edgesim.errors import ScenarioError
from edgesim.folding import fold
from edgesim.plots.style import COLOURS, finished, heading, legend, means, styled
from edgesim.results.analysis.jobs import REASONS_OF_WASTE
from edgesim.results.analysis.tables import why
from edgesim.results.analysis.waste import PARTS
from edgesim.results.costs import COSTS
from edgesim.results.store import Results
from edgesim.spelling import advice

_AMOUNTS = {"time": "seconds", "energy": "joules", "bytes": "bytes", "flops": "flops"}
_OF = {"time": "time at work", "energy": "energy drawn during jobs", "bytes": "bytes moved", "flops": "training work"}


@styled
def draw(results: Results, *, cost: str = "energy") -> Figure:
    """The share of a cost (time, energy, bytes, flops) that jobs took whose work was in vain, by why it was, attempts
    that had to begin anew hatched: means over finished seeds."""
    if cost not in _AMOUNTS:
        raise ScenarioError(f"--cost {cost}: nothing is told in vain of it; {advice(cost, _AMOUNTS)}")
    groups = finished(results)
    found = {name: [run.analysis()["waste"] for run in runs] for name, runs in groups.items()}
    every = [waste for wastes in found.values() for waste in wastes]
    parts = [
        (part, reason)
        for part in PARTS
        for reason in REASONS_OF_WASTE
        if any(waste[part][reason]["count"] for waste in every)
    ]
    names = [fold(name, 34) for name in found]
    row = max(0.55, 0.1 + 0.19 * max(map(len, names)))  # inches
    figure = Figure(figsize=(8, max(2.6, 1.4 + row * len(found))), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(found))
    for part in parts:
        width = np.array([_share(wastes, part, _AMOUNTS[cost]) for wastes in found.values()])
        axes.barh(range(len(found)), width, 0.7, left, **_look(part))
        left += width
    for place, wastes in enumerate(found.values()):
        amount = float(np.mean([waste["wasted"][_AMOUNTS[cost]] for waste in wastes]))
        axes.text(left[place], place, f" {left[place]:.1f} %, {COSTS[cost].readable(amount)}", va="center", fontsize=10)
    axes.set_yticks(range(len(found)), ["\n".join(name) for name in names], fontsize=10)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(0, max(1.45 * float(left.max()), 1.0))  # room for the figures beside the bars
    axes.set_xlabel(f"share of the {_OF[cost]} (%)")
    axes.grid(visible=False, axis="y")
    heading(figure, results, f"{'work' if parts else 'no work'} in vain{means(groups)}")
    if parts:
        legend(figure, [Patch(**_look(part)) for part in parts], [why(*part) for part in parts])
    return figure


def _look(part: tuple[str, str]) -> dict[str, Any]:
    """A reason keeps its colour, whichever others there are; the two that share one are told apart by its strength."""
    number = REASONS_OF_WASTE.index(part[1])
    hatch = "" if part[0] == "lost" else "////"
    alpha = 1.0 if number < len(COLOURS) else 0.45
    return {
        "facecolor": COLOURS[number % len(COLOURS)],
        "edgecolor": "white",
        "linewidth": 0,
        "hatch": hatch,
        "alpha": alpha,
    }


def _share(wastes: list[dict[str, Any]], part: tuple[str, str], amount: str) -> float:
    """The part of what all runs spent, in per cent, as in the tables of `edgesim run` and `edgesim analyze`."""
    spent = sum(waste["spent"][amount] for waste in wastes)
    return 100 * sum(waste[part[0]][part[1]][amount] for waste in wastes) / spent if spent else 0.0
