"""When a fleet is on line: the share of each device class, hour by hour over a week."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgesim.devices.fleet import Fleet
from edgesim.plots.style import legend, looks, styled

_HOUR_NS = 3_600_000_000_000
_HOURS = 7 * 24
_ASKED = 2_000  # devices of a class: their share strays by 1 % from that of more
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@styled
def draw(fleet: Fleet, title: str) -> Figure:
    """One line a class: the part of each hour that its devices are on line by their availability alone. Classes that
    are so at the same times share a line, as those that always are.

    Simulated time begins on Monday, 00:00 UTC. Of a larger class, every n-th device counts. What only a run can tell,
    that is empty batteries and outages of the server, is not in it.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    alike: dict[bytes, list[str]] = {}
    for number, name in enumerate(fleet.class_names):
        devices = np.flatnonzero(fleet.device_class == number)
        if len(devices):
            share = week(fleet, devices[:: -(-len(devices) // _ASKED)])
            alike.setdefault(share.tobytes(), []).append(name)
    styles, hours = looks(fleet.class_names), np.arange(_HOURS + 1)
    for share_of, names in alike.items():
        look = {key: value for key, value in styles[names[0]].items() if key != "marker"}
        part = 100 * np.frombuffer(share_of, np.float64)
        axes.stairs(part, hours, baseline=None, linewidth=1.4, label=", ".join(names), **look)
    _label(axes, title)
    legend(figure, *axes.get_legend_handles_labels())
    return figure


def week(fleet: Fleet, devices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Which part of each hour of the first week these devices are on line, on average [hour]."""
    hours = range(0, _HOURS * _HOUR_NS, _HOUR_NS)
    return np.array([fleet.availability.share_on(devices, hour, hour + _HOUR_NS).mean() for hour in hours])


def _label(axes: Axes, title: str) -> None:
    axes.set(xlim=(0, _HOURS), ylim=(-3, 103), ylabel="devices on line (%)", xlabel="simulated time (UTC)")
    axes.set_xticks(np.arange(0, _HOURS + 1, 24), labels=[])
    axes.set_xticks(np.arange(12, _HOURS, 24), labels=_DAYS, minor=True)
    axes.tick_params(axis="x", which="minor", length=0)
    axes.set_title(title, loc="left")
