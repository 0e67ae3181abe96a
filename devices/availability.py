"""When the devices of a fleet are on line: pure functions of (device, time), asked for when needed (P7).

Nothing runs while a device idles, and nothing is kept for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgesim.devices.arrays import FloatArray, IndexArray, IntArray
from edgesim.devices.markov import Markov
from edgesim.devices.trajectories import NEVER, BoolArray, Flips, Instant, Trajectories, share_on
from edgesim.streams import fold, key, uniforms

__all__ = ["NEVER", "AlwaysOn", "FleetAvailability", "Markov", "Process", "Trajectories"]


class Process(Protocol):
    """A law of coming and going; with a seed it becomes the trajectories of devices."""

    def start(self, seed: int) -> Trajectories:
        """The trajectories under this seed: the same answers each time."""


@dataclass(frozen=True)
class AlwaysOn(Trajectories):
    """On line for ever."""

    def start(self, seed: int) -> "AlwaysOn":
        """Itself: no seed makes a difference."""
        return self

    def is_on(self, device: int, t_ns: int) -> bool:
        """True."""
        return True

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """None."""
        return None

    def is_on_many(self, devices: IntArray, t_ns: Instant) -> BoolArray:
        """True for each of `devices`."""
        return np.ones(len(devices), np.bool_)

    def next_change_many(self, devices: IntArray, t_ns: Instant) -> IntArray:
        """NEVER for each of `devices`."""
        return np.full(len(devices), NEVER)

    def on_ns_many(self, devices: IntArray, t_ns: int, since_ns: int = 0) -> IntArray:
        """The whole time for each of `devices`."""
        return np.full(len(devices), t_ns - since_ns, np.int64)

    def flips(self, devices: IntArray, since_ns: int, until_ns: int) -> Flips:
        """None of `devices` flips."""
        none = np.zeros(0, np.int64)
        return Flips(starts_on=np.ones(len(devices), np.bool_), row=none, at_ns=none)


class FleetAvailability:
    """The availability of a whole fleet: each group of devices under its own process.

    Attributes: always, whether all devices are on line for ever, so that nobody need ask.
    """

    def __init__(self, processes: Sequence[Process], group: IndexArray, seed: int) -> None:
        """`processes` one a group; `group` [device] says which of them a device follows.

        Raises:
            ValueError: a group that has no process.
        """
        if group.size and not 0 <= int(group.min()) <= int(group.max()) < len(processes):
            raise ValueError(
                f"groups {int(group.min())} to {int(group.max())}: must lie in [0, {len(processes)}), "
                "one process a group"
            )
        self.always = all(isinstance(process, AlwaysOn) for process in processes)
        self._group, self._base = group, key(seed, "forecast")
        self._started = tuple(process.start(seed) for process in processes)

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device is on line at t."""
        return self.always or self._of(device).is_on(device, t_ns)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t; None if there is none."""
        return self._of(device).next_change_ns(device, t_ns)

    def on_ns(self, device: int, t_ns: int, since_ns: int = 0) -> int:
        """Time on line in [since, t)."""
        return self._of(device).on_ns(device, t_ns, since_ns)

    def is_on_many(self, devices: IntArray, t_ns: int) -> BoolArray:
        """`is_on` of each of `devices` [n] → [n]."""
        found = np.zeros(len(devices), np.bool_)
        for started, rows in self._parts(devices):
            found[rows] = started.is_on_many(devices[rows], t_ns)
        return found

    def next_change_many(self, devices: IntArray, t_ns: int) -> IntArray:
        """`next_change_ns` of each of `devices` [n] → [n]; NEVER where there is none."""
        found = np.zeros(len(devices), np.int64)
        for started, rows in self._parts(devices):
            found[rows] = started.next_change_many(devices[rows], t_ns)
        return found

    def on_ns_all(self, t_ns: int) -> IntArray:
        """`on_ns` of every device → [device], without keeping anything."""
        devices, total_ns = np.arange(len(self._group)), np.zeros(len(self._group), np.int64)
        for started, rows in self._parts(devices):
            total_ns[rows] = started.on_ns_many(devices[rows], t_ns)
        return total_ns

    def share_on(self, devices: IntArray, since_ns: int, until_ns: int) -> FloatArray:
        """Which part of [since, until) each of `devices` is on line [n]: the truth, not a guess.

        Raises ValueError for an empty window.
        """
        share = np.zeros(len(devices), np.float64)
        for started, rows in self._parts(devices):
            share[rows] = share_on(started, devices[rows], since_ns, until_ns)
        return share

    def forecast_on(self, devices: IntArray, since_ns: int, until_ns: int, accuracy: float) -> FloatArray:
        """`share_on` as a forecaster of this accuracy gives it [n]: right with that probability, else 1 - share.

        Whether it is right is a pure function of (seed, device, since). REFL (Abdelmoniem et al. 2023, EuroSys)
        assumes a forecaster of 90 %.

        Raises ValueError for an empty window or an accuracy outside [0, 1].
        """
        if not 0 <= accuracy <= 1:
            raise ValueError(f"accuracy {accuracy!r}: must lie in [0, 1]")
        truth = self.share_on(devices, since_ns, until_ns)
        right = uniforms(fold(fold(self._base, devices), since_ns), 1)[:, 0] < accuracy
        forecast: FloatArray = np.where(right, truth, 1 - truth)
        return forecast

    def _parts(self, devices: IntArray) -> Iterator[tuple[Trajectories, IntArray]]:
        """Each group's trajectories, and which places of `devices` are its."""
        group = self._group[devices]
        for index, started in enumerate(self._started):
            rows = np.flatnonzero(group == index)
            if rows.size:
                yield started, rows

    def _of(self, device: int) -> Trajectories:
        return self._started[int(self._group[device])]
