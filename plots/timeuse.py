"""What devices spend their time (or energy) on: shares of each device class, stacked."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgesim.errors import ScenarioError
from edgesim.plots.style import (
    ACTIVITIES,
    activities,
    finished,
    heading,
    means,
    panel_title,
    panels,
    styled,
)
from edgesim.results.analysis.usage import ENERGIES, TIMES
from edgesim.results.costs import COSTS
from edgesim.results.store import Results
from edgesim.spelling import advice

_PARTS = {"time": TIMES, "energy": ENERGIES}


@styled
def draw(results: Results, *, cost: str = "time") -> Figure:
    """One panel a variant, a bar for each device class: means over its finished seeds. cost: time or energy."""
    if cost not in _PARTS:
        raise ScenarioError(f"--cost {cost}: it is spent on no phase alone; {advice(cost, _PARTS)}")
    groups = finished(results)
    found = {name: [run.analysis() for run in runs] for name, runs in groups.items()}
    classes = sorted({each for analyses in found.values() for each in analyses[0][cost]["classes"]})
    parts = [part for part in _PARTS[cost] if part != "no_charge" or _any(found, part)]
    figure, axes = panels(len(found), f"share of {cost} (%)", "", share_y=True)
    for axis, (name, analyses) in zip(axes, found.items(), strict=True):
        _bars(axis, analyses, cost, parts, classes)
        panel_title(axis, name, _figures(analyses, cost))
    axes[0].set_yticks(range(len(classes)), classes)
    axes[0].set_ylim(len(classes) - 0.4, -0.6)
    heading(figure, results, f"what devices spend their {cost} on{means(groups)}")
    activities(figure, parts)
    return figure


def _any(found: dict[str, list[dict[str, Any]]], part: str) -> bool:
    """Whether any device spent time on this: most fleets have no batteries."""
    return any(analysis["time"]["all"][part] for analyses in found.values() for analysis in analyses)


def _bars(axis: Axes, analyses: list[dict[str, Any]], cost: str, parts: list[str], classes: list[str]) -> None:
    left = np.zeros(len(classes))
    for part in parts:
        shares = [
            [analysis[cost]["classes"].get(name, {}).get(part) or 0.0 for name in classes] for analysis in analyses
        ]
        width = 100 * np.mean(shares, axis=0)
        axis.barh(range(len(classes)), width, 0.8, left, color=ACTIVITIES[part], linewidth=0)
        left += width
    axis.set_xlim(0, 100)
    axis.grid(visible=False)


def _figures(analyses: list[dict[str, Any]], cost: str) -> str:
    if cost == "energy":
        joules = float(np.mean([analysis["energy"]["all"]["joules"] for analysis in analyses]))
        return f"{COSTS['energy'].readable(joules)} in all"
    used = [analysis["utilisation"]["all"] for analysis in analyses]
    return "never there" if None in used else f"at work for {100 * float(np.mean(used)):.1f} % of the time they could"
