"""What set the time of the rounds: device classes, by what they were doing, and rules."""

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
from edgesim.results.analysis.criticality import RULES
from edgesim.results.analysis.tables import RULE_NAMES
from edgesim.results.columns import PHASES
from edgesim.results.store import Results

_PARTS = (*PHASES, "waiting")
_RULE = "#000000"


@styled
def draw(results: Results) -> Figure:
    """One panel a variant: the share of the time of all rounds, from one aggregation to the next, that each device
    class took while the server waited for it, and rules; means over its finished seeds."""
    groups = finished(results)
    found = {name: [run.analysis()["critical_path"] for run in runs] for name, runs in groups.items()}
    found = {name: [each for each in paths if each and each["time_s"]] for name, paths in found.items()}
    if not any(found.values()):
        raise ScenarioError(f"{results.path}: no run recorded an aggregation; nothing to draw a critical path of")
    classes = sorted({name for paths in found.values() for path in paths for name in path["classes"]})
    rules = [rule for rule in RULES if any(path["rules"][rule]["time_s"] for p in found.values() for path in p)]
    figure, axes = panels(len(found), "share of the time of all rounds (%)", "", share_y=True)
    for axis, (name, paths) in zip(axes, found.items(), strict=True):
        _bars(axis, paths, classes, rules)
        panel_title(axis, name, _figures(paths))
    axes[0].set_yticks(range(len(classes) + len(rules)), [*classes, *(RULE_NAMES[rule] for rule in rules)])
    axes[0].set_ylim(len(classes) + len(rules) - 0.4, -0.6)
    heading(figure, results, f"what set the time of the rounds{means(groups)}")
    activities(figure, _PARTS)
    return figure


def _bars(axis: Axes, paths: list[dict[str, Any]], classes: list[str], rules: list[str]) -> None:
    left = np.zeros(len(classes))
    for part in _PARTS:
        width = np.array([_share(paths, "classes", name, part) for name in classes])
        axis.barh(range(len(classes)), width, 0.8, left, color=ACTIVITIES[part], linewidth=0)
        left += width
    for row, rule in enumerate(rules, len(classes)):
        axis.barh(row, _share(paths, "rules", rule), 0.8, color=_RULE, linewidth=0)
    axis.grid(visible=False, axis="y")


def _share(paths: list[dict[str, Any]], *keys: str) -> float:
    """Part of the time of all rounds of all runs, in per cent; a device class that a run does not have took none."""
    time_s = 0.0
    for path in paths:
        pair: dict[str, Any] = path
        for key in keys:
            pair = pair.get(key, {})
        time_s += pair.get("time_s", 0.0)
    return 100 * time_s / sum(path["time_s"] for path in paths) if paths else 0.0


def _figures(paths: list[dict[str, Any]]) -> str:
    if not paths:
        return "no round"
    rounds, lost = (float(np.mean(each)) for each in zip(*map(_ends, paths), strict=True))
    return f"{rounds:,.0f} rounds" + (f", {100 * lost / rounds:.0f} % ended by a loss" if lost else "")


def _ends(path: dict[str, Any]) -> tuple[int, int]:
    return path["rounds"], path["closed_by"]["loss"]
