"""What all figures share: the style sheet, colours and marks, axes in readable units, saving."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from warnings import warn

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from edgesim.errors import EdgesimWarning, ScenarioError
from edgesim.folding import fold
from edgesim.plots import letters
from edgesim.results.costs import Cost
from edgesim.results.statistics import FEWEST_FOR_A_BAND
from edgesim.results.store import Results, Run
from edgesim.spelling import advice

P = ParamSpec("P")

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A3D9A")
"""Of variants, classes and causes. Black is left to what is drawn over them: the frontier, crosses."""
ACTIVITIES = {
    "download": "#56B4E9",
    "train": "#E69F00",
    "upload": "#009E73",
    "waiting": "#CC79A7",
    "idle": "#ECECEC",
    "no_charge": "#C9B37E",
    "off": "#9A9A9A",
}
"""Colours of what a device does."""
IN_WORDS = {"waiting": "waiting in a job", "no_charge": "battery too low", "off": "off line"}
"""Of these, what does not stand for itself."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")
SHEET = Path(__file__).with_name("edgesim.mplstyle")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let `draw` make its figure under the style sheet, whatever the process has set; once more with other fonts
    besides, where names have letters that the sheet's has not."""

    @wraps(draw)
    def under_the_sheet(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(fname=SHEET):
            figure = draw(*args, **kwargs)
            more = letters.families(figure)
            if not more:
                return figure
            matplotlib.rcParams["font.family"] = ["sans-serif", *more]
            return draw(*args, **kwargs)

    return under_the_sheet


def save(figure: Figure, path: Path) -> None:
    """Write the figure as its suffix says (png, svg, pdf), undated: equal figures are equal files.

    Raises:
        ScenarioError: no such kind of picture, or it cannot be written there.
    """
    kinds = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in kinds:
        raise ScenarioError(f"{path}: no picture has the suffix {path.suffix!r}; {advice(path.suffix[1:], kinds)}")
    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        with matplotlib.rc_context(fname=SHEET), letters.no_warnings_of_boxes():
            figure.savefig(path, metadata=undated.get(path.suffix))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from error


def fills(names: Iterable[str]) -> dict[str, str]:
    """Name → colour of an area, which has no mark and no dashes: past seven names paler, past fourteen darker ones."""
    shades = [_toward(colour, shade) for shade in (0.0, 0.6, -0.5) for colour in COLOURS]
    return {name: shades[i % len(shades)] for i, name in enumerate(names)}


def _toward(colour: str, shade: float) -> str:
    """A colour mixed with that much white, or black where it is negative."""
    end = 1.0 if shade > 0 else 0.0
    red, green, blue = (part + abs(shade) * (end - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Name → colour, marker and linestyle; past seven names dashes and markers tell equal colours apart."""
    return {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKS[(i + i // len(COLOURS)) % len(MARKS)],
            "linestyle": DASHES[i // len(COLOURS) % len(DASHES)],
        }
        for i, name in enumerate(names)
    }


def shade(variants: int) -> float:
    """How dense a band is drawn: the fainter, the more lie over each other."""
    return min(0.15, 0.9 / variants)


def cost_axis(axes: Axes, cost: Cost, greatest: float) -> float:
    """Label the x axis in the unit that suits `greatest`; returns that unit's worth in base units."""
    worth, unit = cost.unit(greatest)
    axes.set_xlabel(f"{cost.title} ({unit})" if unit else cost.title)
    if greatest > 0:
        axes.set_xlim(0, 1.04 * greatest / worth)
    return worth


def measured(results: Results, groups: dict[str, list[Run]], metric: str) -> dict[str, list[Run]]:
    """The variants of which this metric was measured, with a remark on those that are left out; ScenarioError where
    there are none."""
    runs_with = {n: [run for run in runs if np.isfinite(run.metrics()[metric]).any()] for n, runs in groups.items()}
    found = {name: runs for name, runs in runs_with.items() if runs}
    unseen = metric.startswith("accuracy_unseen")
    what = "accuracies" if metric.startswith("accuracy") else metric.replace("_", " ")
    if not found and unseen and results.have_accuracies:
        raise ScenarioError(f"{results.path}: all clients may train; write task.unseen, e.g. 10 %, to test newcomers")
    if not found:
        raise ScenarioError(
            f"{results.path}: no {what}: estimates train nothing, and quadratic problems alone have a gradient norm, "
            "in place of accuracies (edgesim plot curves --metric gradient_norm); time-use and others need none"
        )
    without = [name for name in groups if name not in found]
    if without:
        warn(
            f"{', '.join(without)}: no {'accuracy of unseen clients' if unseen else what}, so not in the figure",
            EdgesimWarning,
            stacklevel=4,
        )
    return found


def accuracy_axis(axes: Axes, label: str) -> None:
    """Label the y axis, and show no accuracies that cannot be: intervals of few seeds are wide."""
    axes.set_ylabel(label)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.03), min(high, 1.03))


def target_line(axes: Axes, target: float | None) -> None:
    """A dashed line at the accuracy asked for, its name outside the axes, where no curve crosses it."""
    if target is None:
        return
    axes.axhline(target, color="#666666", linestyle=(0, (6, 4)), linewidth=1.2, zorder=1)
    axes.annotate(
        f"target\n{target:.4g}", (1, target), (4, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", color="#444444", fontsize=10, va="center", annotation_clip=False,
    )  # fmt: skip


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend under the axes, in as many columns as its longest label leaves room for; the figure grows by
    it, so that the axes keep their height however many lines there are. Longer labels are folded."""
    room = round(95 * figure.get_figwidth() / 8)  # letters of this size on a line
    columns = max(1, min(len(labels), room // (max(map(len, labels)) + 7)))
    folded = [fold(label, room - 7) for label in labels]
    figure.set_figheight(figure.get_figheight() + 0.23 * -(-sum(map(len, folded)) // columns))
    figure.legend(handles, ["\n".join(lines) for lines in folded], loc="outside lower center", ncols=columns)


def areas(figure: Figure, colours: Mapping[str, str]) -> None:
    """A legend of what is drawn in areas: name → colour."""
    legend(figure, [Patch(color=colour) for colour in colours.values()], list(colours))


def activities(figure: Figure, parts: Iterable[str]) -> None:
    """A legend of what devices do."""
    areas(figure, {IN_WORDS.get(part, part): ACTIVITIES[part] for part in parts})


def panels(count: int, x_label: str, y_label: str, *, share_y: bool) -> tuple[Figure, list[Axes]]:
    """A figure of `count` small axes, two to a row, with a common x scale and one label for each edge."""
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(8, max(4.2, 2.5 * rows + 1.2)), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=share_y, squeeze=False)
    axes = list(grid.flat)
    for index, axis in enumerate(axes[:count]):
        if index % columns == 0:
            axis.set_ylabel(y_label)
        if index + columns >= count:  # nothing below it
            axis.set_xlabel(x_label)
            axis.tick_params(labelbottom=True)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def panel_title(axes: Axes, name: str, figures: str) -> None:
    """A panel's variant, wrapped to its width, and the figures that sum it up."""
    axes.set_title("\n".join([*fold(name, 40), figures]), fontsize=10)


def whole_numbers(axes: Axes, axis: str) -> None:
    """Ticks at whole numbers only, though there be but one: things are counted on this axis ("x" or "y")."""
    getattr(axes, f"{axis}axis").set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))


def finished(results: Results) -> dict[str, list[Run]]:
    """The finished runs of each variant; ScenarioError for a variant without any."""
    found = {}
    for name, runs in results.variants().items():
        found[name] = [run for run in runs if run.finished]
        if not found[name]:
            raise ScenarioError(f"{results.path}: no run of {name!r} is finished; edgesim resume {runs[0].path}")
    return found


def heading(figure: Figure, results: Results, *lines: str) -> None:
    """The title of a figure, folded to its width: the scenario's name, then what is shown."""
    first = f"{results.name}: {lines[0]}"
    folded = [part for line in (first, *lines[1:]) for part in fold(line, round(8 * figure.get_figwidth()))]
    figure.set_figheight(figure.get_figheight() + 0.2 * (len(folded) - 1))
    figure.suptitle("\n".join(folded), x=0.01, ha="left", fontsize=12)


def means(groups: dict[str, list[Run]]) -> str:
    """What to add to the title of a figure of means over the runs of each variant."""
    return ", means over seeds" if any(len(runs) > 1 for runs in groups.values()) else ""


def bands(groups: dict[str, list[Run]]) -> list[str]:
    """The second line of the title of a figure of means over seeds: what their bands are. None for single runs."""
    counts = [len(runs) for runs in groups.values() if len(runs) > 1]
    few = ["range"] if any(count < FEWEST_FOR_A_BAND for count in counts) else []
    many = ["95 % interval"] if any(count >= FEWEST_FOR_A_BAND for count in counts) else []
    return [f"means over seeds and their {' or '.join(few + many)}"] if counts else []


def first_seeds(groups: dict[str, list[Run]]) -> str:
    """What to add to the title of a figure of the first run of each variant."""
    seeds = sorted({str(runs[0].scenario["seed"]) for runs in groups.values()})
    return f", seed {', '.join(seeds)} only" if means(groups) else ""
