"""What a fleet is: speed against bandwidth of each device, its memory as the size of its mark."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from edgesim.devices.fleet import Fleet
from edgesim.plots.style import COLOURS, MARKS, styled
from edgesim.units import short

_SHOWN = 5_000  # devices: more marks than that hide one another


@styled
def draw(fleet: Fleet, title: str) -> Figure:
    """One mark a device, of a larger fleet every n-th; both axes logarithmic, the area grows with the memory. Where all
    devices of a class are alike, so that one mark hides the others, their number stands beside it."""
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = figure.subplots()
    every = -(-len(fleet) // _SHOWN)
    area = _areas(fleet.memory_bytes)
    handles: list[Line2D] = []
    for number, name in enumerate(fleet.class_names):
        rows = np.flatnonzero(fleet.device_class == number)[::every]
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number // len(COLOURS) % len(MARKS)]
        x, y = fleet.compute_flops[rows] / 1e9, fleet.down_bps[rows] / 1e6
        axes.scatter(x, y, s=area[rows], c=colour, marker=mark, alpha=0.5, linewidths=0.3, edgecolors="white")
        if len(rows) > 1 and np.ptp(x) == np.ptp(y) == 0:
            axes.annotate(f"×{_count(fleet, number)}", (x[0], y[0]), (6, 4), textcoords="offset points", color=colour)
        label = f"{name} ({_count(fleet, number)})"
        handles.append(Line2D([], [], linestyle="", label=label, color=colour, marker=mark))
    _label(axes, title if every == 1 else f"{title}; one of {every} devices shown")
    figure.legend(handles=handles, loc="outside right upper", title=_memory(fleet.memory_bytes), alignment="left")
    return figure


def _areas(memory_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Area of each mark: 60 points² of the most memory, 18 less of a tenth of it, at least 6."""
    memory = np.log10(memory_bytes.astype(np.float64))
    area: NDArray[np.float64] = np.maximum(60 - 18 * (memory.max() - memory), 6)
    return area


def _memory(memory_bytes: NDArray[np.int64]) -> str:
    least, most = (short(float(value), "size") for value in (memory_bytes.min(), memory_bytes.max()))
    return f"mark size: memory,\n{least if least == most else f'{least} to {most}'}"


def _count(fleet: Fleet, number: int) -> str:
    return f"{np.count_nonzero(fleet.device_class == number):,}"


def _label(axes: Axes, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="speed in training (GFLOP/s)", ylabel="download rate (Mbit/s)")
    axes.set(xlim=_wide(*axes.get_xlim()), ylim=_wide(*axes.get_ylim()))
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_title(title, loc="left")
    axes.grid(True, which="major", alpha=0.3)


def _wide(low: float, high: float) -> tuple[float, float]:
    """Limits so far apart that two of 1, 2, 5, 10, 20 … lie between them."""
    middle = math.sqrt(low * high)
    return min(low, middle / 2.5), max(high, middle * 2.5)
