"""When devices are on line: pure functions of (device, time), asked for when needed (P7).

Nothing runs while a device idles. Intervals are closed at the left: at the instant of a flip the new
state already holds. `on_ns(device, t)` counts the time on line in [0, t).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgesim.devices.arrays import IndexArray, IntArray
from edgesim.devices.markov import MarkovTrajectories


class Availability(Protocol):
    """The answers for devices known by their number in the fleet; times in ns, none negative."""

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device is on line at t."""

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t; None if there is none."""

    def on_ns(self, device: int, t_ns: int) -> int:
        """Time on line in [0, t)."""

    def on_ns_many(self, devices: IntArray, t_ns: int) -> IntArray:
        """`on_ns` of each of `devices` [n] → [n], without keeping anything."""


class Process(Protocol):
    """A law of coming and going; with a seed it becomes the trajectories of devices."""

    def start(self, seed: int) -> Availability:
        """The trajectories under this seed: the same object of answers each time."""


@dataclass(frozen=True)
class AlwaysOn:
    """On line for ever."""

    def start(self, seed: int) -> Availability:
        return self

    def is_on(self, device: int, t_ns: int) -> bool:
        return True

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        return None

    def on_ns(self, device: int, t_ns: int) -> int:
        return t_ns

    def on_ns_many(self, devices: IntArray, t_ns: int) -> IntArray:
        return np.full(len(devices), t_ns, np.int64)


@dataclass(frozen=True, kw_only=True)
class Markov:
    """On and off line in turn, for exponential times of these means; stationary from the start.

    A device is thus on line at any instant with probability on / (on + off). Each device follows its own
    trajectory, a pure function of (seed, device). Flips fall on whole microseconds, so that a last-bit
    difference in the logarithm between two machines does not move them.

    Raises:
        ValueError: a mean below 1 ms or above 100 years.
    """

    mean_on_s: float
    mean_off_s: float

    def __post_init__(self) -> None:
        for name in ("mean_on_s", "mean_off_s"):
            if not 1e-3 <= getattr(self, name) <= 3.2e9:
                raise ValueError(f"{name} {getattr(self, name)!r} s: must lie between 1 ms and 100 years")

    @property
    def on_share(self) -> float:
        """Long-run share of time on line."""
        return self.mean_on_s / (self.mean_on_s + self.mean_off_s)

    def start(self, seed: int) -> Availability:
        return MarkovTrajectories(mean_on_s=self.mean_on_s, mean_off_s=self.mean_off_s, seed=seed)


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
        self._group = group
        self._started = tuple(process.start(seed) for process in processes)

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device is on line at t."""
        return self.always or self._of(device).is_on(device, t_ns)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t; None if there is none."""
        return self._of(device).next_change_ns(device, t_ns)

    def on_ns(self, device: int, t_ns: int) -> int:
        """Time on line in [0, t)."""
        return self._of(device).on_ns(device, t_ns)

    def on_ns_all(self, t_ns: int) -> IntArray:
        """`on_ns` of every device → [device], without keeping anything."""
        total_ns = np.zeros(len(self._group), np.int64)
        for index, started in enumerate(self._started):
            devices = np.flatnonzero(self._group == index).astype(np.int64)
            total_ns[devices] = started.on_ns_many(devices, t_ns)
        return total_ns

    def _of(self, device: int) -> Availability:
        return self._started[int(self._group[device])]
