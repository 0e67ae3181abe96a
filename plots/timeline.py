"""Who does what when: one row a client, a bar for each stretch of download, training, upload, off line, no charge."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from edgesim.errors import ScenarioError
from edgesim.plots.style import ACTIVITIES, IN_WORDS, heading, legend, styled
from edgesim.results.columns import OUTCOMES, PHASES
from edgesim.results.costs import COSTS
from edgesim.results.store import Columns, Results, Run

_CROSSED = tuple(name for name in OUTCOMES if name not in ("done", "in-flight"))
_AWAY = {"no_charge": "no-charge", "off": "off-line"}
"""What keeps a device from work, as it is drawn, by the reason."""
_LEGIBLE = 300  # stretches of median length that still show side by side
_FEW = 2  # jobs a row, on average: with fewer there is little to see
_LEAST = 1 / 600  # of the window, the width of what would be too thin to see


@styled
def draw(results: Results, *, clients: int = 40, start_s: float = 0.0, end_s: float | None = None) -> Figure:
    """The activity of the first run's devices, grouped by device class.

    clients: at most so many rows, sampled evenly within the order by class. start_s, end_s: the window; by default
    from 0 for as long as single bars can be told apart, or until there are a few jobs to see. Black crosses end
    stretches whose work was in vain or cut off. Where a run did not record who was off line, that is not drawn and the
    title says so.
    """
    chosen = results.runs[0]
    events = chosen.events(["job", "client", "device_class", "phase", "start_ns", "end_ns", "outcome"])
    if not len(events["client"]):
        raise ScenarioError(f"{chosen.path}: no events; nothing to draw a timeline of")
    end = float(events["end_ns"].max()) * 1e-9
    if chosen.has_metrics:
        end = max(end, float(chosen.metrics()["time_s"][-1]))  # what follows the last job is part of the run
    rows = _rows(chosen, events, clients)
    window = (start_s, _good_end(events, rows, start_s, end) if end_s is None else end_s)
    if not 0 <= window[0] < min(window[1], end):
        lasts = f"the run lasts from 0 to {end:g} s; write a beginning within it, and an end after that"
        raise ScenarioError(f"window {start_s:g} s to {window[1]:g} s: {lasts}")
    figure = Figure(figsize=(8, 1.5 + 0.135 * max(len(rows), 12)), layout="constrained")
    axes = figure.subplots()
    worth, unit = COSTS["time"].unit(window[1])
    off = chosen.availability()
    shown = _bars(axes, rows, events, off, np.array(window) / worth, worth)
    _classes(axes, rows)
    axes.set_xlabel(f"simulated time ({unit})")
    heading(figure, results, "activity of the devices", _title(results, chosen, window, end, off is None))
    _legend(figure, shown, off is not None)
    return figure


def _good_end(events: Columns, rows: Mapping[int, str], start_s: float, end_s: float) -> float:
    """As long as single bars can be told apart; where few jobs of these rows have begun by then, until they have."""
    lengths = (events["end_ns"] - events["start_ns"])[events["end_ns"] > start_s * 1e9]
    long = lengths[lengths > 0]
    legible_s = _LEGIBLE * float(np.median(long)) * 1e-9 if len(long) else end_s
    shown = np.isin(events["client"], list(rows)) & (events["start_ns"] >= start_s * 1e9)
    _, first = np.unique(events["job"][shown], return_index=True)
    begun_s = np.sort(events["start_ns"][shown][first]) * 1e-9 - start_s
    busy_s = 1.05 * float(begun_s[: _FEW * len(rows)][-1]) if len(begun_s) else end_s
    return min(end_s, start_s + max(legible_s, busy_s))


def _rows(run: Run, events: Columns, most: int) -> dict[int, str]:
    """Client → device class, in drawing order: by class, then by number; evenly thinned to `most`."""
    known = run.clients() if run.finished else events  # an unfinished run shows only those with a job
    pairs = sorted({(str(c), int(i)) for c, i in zip(known["device_class"], known["client"], strict=True)})
    keep = np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().astype(int))
    return {pairs[i][1]: pairs[i][0] for i in keep}


def _bars(
    axes: Axes,
    rows: Mapping[int, str],
    events: Columns,
    off: Columns | None,
    window: NDArray[Any],
    worth: float,
) -> set[str]:
    """What is drawn, as `_legend` names it."""
    shown = {"idle"}
    start, end = (events[column] * (1e-9 / worth) for column in ("start_ns", "end_ns"))
    seen = (end > window[0]) & (start < window[1])
    failed = np.isin(events["outcome"].astype(str), _CROSSED) & seen
    for y, client in enumerate(rows):
        axes.broken_barh([(window[0], window[1] - window[0])], (y - 0.4, 0.8), color=ACTIVITIES["idle"], linewidth=0)
        if off is not None:
            for name, reason in _AWAY.items():
                away = (off["client"] == client) & (off["reason"] == reason)
                first, last = (off[column][away] * (1e-9 / worth) for column in ("start_ns", "end_ns"))
                here = (last > window[0]) & (first < window[1])
                _stretches(axes, y, first[here], last[here], ACTIVITIES[name], 0.0)
                shown |= {name} if here.any() else set()
        mine = (events["client"] == client) & seen
        for phase in PHASES:
            here = mine & (events["phase"] == phase)
            _stretches(axes, y, start[here], end[here], ACTIVITIES[phase], _LEAST * (window[1] - window[0]))
            shown |= {phase} if here.any() else set()
        lost = end[mine & failed]
        shown |= {"cut off or in vain"} if len(lost) else set()
        axes.plot(lost, np.full(len(lost), y), "x", color="black", markersize=4.5, markeredgewidth=1.3)
    axes.set_xlim(window[0], window[1])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False)
    return shown


def _stretches(axes: Axes, y: int, start: NDArray[Any], end: NDArray[Any], colour: str, least: float) -> None:
    """Bars, `least` wide at least; what comes after one is drawn over it."""
    if len(start):
        wide = np.maximum(end - start, least)
        axes.broken_barh(list(zip(start, wide, strict=True)), (y - 0.4, 0.8), color=colour, linewidth=0)


def _classes(axes: Axes, rows: Mapping[int, str]) -> None:
    """Name each group of rows at its middle, and draw a line between groups."""
    classes = list(rows.values())
    first = {name: classes.index(name) for name in dict.fromkeys(classes)}
    middle = [start + (classes.count(name) - 1) / 2 for name, start in first.items()]
    axes.set_yticks(middle, [f"{name} ({classes.count(name)})" for name in first])
    axes.tick_params(axis="y", length=0)
    for start in list(first.values())[1:]:
        axes.axhline(start - 0.5, color="black", linewidth=0.8)
    axes.set_ylabel("device class (clients shown)")


def _title(results: Results, run: Run, window: tuple[float, float], end: float, off_unknown: bool) -> str:
    """Which run it is, which part of it, and what is not known of it."""
    time = COSTS["time"].readable
    part = "" if window[0] <= 0 and window[1] >= end else f"{time(window[0])} to {time(window[1])} of {time(end)}"
    which = f"one of {len(results.runs)} runs" if len(results.runs) > 1 else ""
    notes = [note for note in (which, part, "off-line times not recorded" if off_unknown else "") if note]
    return run.label + (f" ({'; '.join(notes)})" if notes else "")


def _legend(figure: Figure, shown: set[str], off_known: bool) -> None:
    """Of what is drawn."""
    words = {**IN_WORDS, "idle": "on line, not at work" if off_known else "not at work"}
    handles: dict[str, Any] = {name: Patch(color=ACTIVITIES[name]) for name in (*PHASES, "idle", *_AWAY)}
    cross = Line2D([], [], linestyle="none", marker="x", color="black", markersize=6, markeredgewidth=1.5)
    handles["cut off or in vain"] = cross
    names = [name for name in handles if name in shown]
    legend(figure, [handles[name] for name in names], [words.get(name, name) for name in names])
