"""Trajectories: what may be asked about devices that come and go, and the answers that follow from others.

Times are whole ns and never negative. Intervals are closed at the left: at the instant of a flip the new
state already holds. Every answer is a pure function of (device, time); caches only save work.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray, IntArray

BoolArray: TypeAlias = NDArray[np.bool_]
Instant: TypeAlias = int | IntArray
"""one time for all devices, or one each [device]"""

NEVER = int(np.iinfo(np.int64).max)
"""in arrays of times: there is no such time (292 years are the end of simulated time)"""

_ROWS = 256  # devices, and periods of each, that `on_ns_many` holds at once
_PERIODS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Flips:
    """All flips of some devices in (since, until], ordered by device and time; a device's flips alternate.

    Attributes: starts_on [device], the states at since; row [flip], whose; at_ns [flip], when.
    """

    starts_on: BoolArray
    row: IntArray
    at_ns: IntArray

    @property
    def turns_on(self) -> BoolArray:
        """Whether each flip is a coming on line [flip]."""
        first = np.searchsorted(self.row, np.arange(len(self.starts_on)))
        place = np.arange(len(self.row)) - first[self.row]
        turns_on: BoolArray = self.starts_on[self.row] == (place % 2 == 1)
        return turns_on

    def on_ns(self, since_ns: int, until_ns: int) -> IntArray:
        """Time on line in [since, until) [device]; the bounds are those of the flips."""
        total_ns = self.starts_on * (until_ns - since_ns)
        left_ns = until_ns - self.at_ns
        np.add.at(total_ns, self.row, np.where(self.turns_on, left_ns, -left_ns))
        return total_ns


class Trajectories(ABC):
    """When devices are on line, each known by its number in the fleet.

    A kind of its own answers `is_on` and `next_change_ns`; what is faster for many at once, it overrides.
    Attributes: pace_ns, about how long a state lasts (it sizes blocks, no answer depends on it).
    """

    pace_ns: int = 3_600_000_000_000

    @abstractmethod
    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device is on line at t."""

    @abstractmethod
    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t; None if there is none."""

    def on_ns(self, device: int, t_ns: int, since_ns: int = 0) -> int:
        """Time on line in [since, t)."""
        return int(self.on_ns_many(np.array([device]), t_ns, since_ns)[0])

    def is_on_many(self, devices: IntArray, t_ns: Instant) -> BoolArray:
        """`is_on` of each of `devices` [n] → [n]."""
        times_ns = np.broadcast_to(t_ns, devices.shape).tolist()
        return np.array([self.is_on(*query) for query in zip(devices.tolist(), times_ns, strict=True)], np.bool_)

    def next_change_many(self, devices: IntArray, t_ns: Instant) -> IntArray:
        """`next_change_ns` of each of `devices` [n] → [n]; NEVER where there is none."""
        times_ns = np.broadcast_to(t_ns, devices.shape).tolist()
        changes = [self.next_change_ns(*query) for query in zip(devices.tolist(), times_ns, strict=True)]
        return np.array([NEVER if change is None else change for change in changes], np.int64)

    def on_ns_many(self, devices: IntArray, t_ns: int, since_ns: int = 0) -> IntArray:
        """`on_ns` of each of `devices` [n] → [n]; keeps nothing."""
        total_ns = np.zeros(len(devices), np.int64)
        for row in range(0, len(devices), _ROWS):
            block = slice(row, row + _ROWS)
            for start_ns, end_ns in _slices(since_ns, t_ns, _PERIODS * self.pace_ns):
                total_ns[block] += self.flips(devices[block], start_ns, end_ns).on_ns(start_ns, end_ns)
        return total_ns

    def flips(self, devices: IntArray, since_ns: int, until_ns: int) -> Flips:
        """All flips of `devices` in (since, until]."""
        starts_on, rows, times = self.is_on_many(devices, since_ns), list[IntArray](), list[IntArray]()
        at_ns, row = np.full(len(devices), since_ns, np.int64), np.arange(len(devices))
        while row.size:
            at_ns = self.next_change_many(devices[row], at_ns)
            row, at_ns = row[at_ns <= until_ns], at_ns[at_ns <= until_ns]
            rows.append(row)
            times.append(at_ns)
        return ordered(starts_on, np.concatenate([row, *rows]), np.concatenate([at_ns, *times]))


def ordered(starts_on: BoolArray, row: IntArray, at_ns: IntArray) -> Flips:
    """Flips that come in any order."""
    order = np.lexsort((at_ns, row))
    return Flips(starts_on=starts_on, row=row[order].astype(np.int64), at_ns=at_ns[order])


def check_time(t_ns: Instant) -> None:
    """Raise ValueError for a time below 0."""
    if np.min(t_ns, initial=0) < 0:
        raise ValueError(f"time {int(np.min(t_ns))} ns: must not be negative")


def share_on(trajectories: Trajectories, devices: IntArray, since_ns: int, until_ns: int) -> FloatArray:
    """Which part of [since, until) each of `devices` is on line [n]: the truth, as a look into the future.

    Raises ValueError for an empty window.
    """
    if not 0 <= since_ns < until_ns:
        raise ValueError(f"window {since_ns} to {until_ns} ns: must not be empty or begin before 0")
    share: FloatArray = trajectories.on_ns_many(devices, until_ns, since_ns) / (until_ns - since_ns)
    return share


def _slices(since_ns: int, until_ns: int, longest_ns: int) -> Iterator[tuple[int, int]]:
    for start_ns in range(since_ns, until_ns, longest_ns):
        yield start_ns, min(start_ns + longest_ns, until_ns)
