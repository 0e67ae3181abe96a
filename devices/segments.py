"""Segments: the stretches between flips as rows of arrays, and the draws that several processes need."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.trajectories import BoolArray
from edgesim.streams import uniforms

_BLOCK = 1 << 20  # bounds worked on at once
_REMEMBERED = 1 << 17  # devices whose last segment is kept: 18 bytes each


def segments(before_on: BoolArray, flips_us: IntArray, length_us: IntArray) -> tuple[IntArray, IntArray, BoolArray]:
    """Start, end and state of the stretches between flips [n, flips + 1]."""
    starts_us = np.concatenate([np.zeros((len(flips_us), 1), np.int64), flips_us], axis=1)
    ends_us = np.concatenate([flips_us, length_us[:, None]], axis=1)
    on: BoolArray = before_on[:, None] ^ (np.arange(starts_us.shape[1]) % 2 == 1)
    return starts_us, ends_us, on


def compact(row: IntArray, starts_us: IntArray, ends_us: IntArray, on: BoolArray) -> tuple[IntArray, ...]:
    """Row, start and state (0, 1) of the stretches that have a length."""
    real = ends_us > starts_us
    rows = np.broadcast_to(row[:, None], real.shape)
    return rows[real], starts_us[real], on[real].astype(np.int64)


def blocks(count: int, columns: int) -> Iterator[slice]:
    """`count` rows of so many columns, in parts that are worked on at once."""
    size = max(1, _BLOCK // columns)
    for start in range(0, count, size):
        yield slice(start, start + size)


def normals(keys: NDArray[np.uint64]) -> FloatArray:
    """One draw from N(0, 1) for each key [n], by Box and Muller (1958)."""
    draws = uniforms(keys, 2)
    # single precision: a last-bit difference in log or cos between two machines goes no further
    normal = np.sqrt(-2.0 * np.log(1.0 - draws[:, 0])) * np.cos(2.0 * np.pi * draws[:, 1])
    return normal.astype(np.float32).astype(np.float64)


class LastSegments:
    """The stretch in one state that each device was last found in, when many were asked about together: while time has
    not passed it, nothing need be made to answer again. Arrays [device], of the first ones only, in any unit of time.

    Attributes: on, the state; until, its end; flips, whether that is a flip, and not as far as it is known.
    """

    def __init__(self) -> None:
        self._since, self.until = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.on, self.flips = np.zeros(0, np.bool_), np.zeros(0, np.bool_)

    def reach(self, devices: IntArray) -> bool:
        """Make room for these; False where there are too many."""
        most = int(devices.max(initial=-1)) + 1
        if most > _REMEMBERED:
            return False
        if most > len(self.on):
            more = min(max(most, 2 * len(self.on)), _REMEMBERED) - len(self.on)
            for name in ("_since", "until", "on", "flips"):
                setattr(self, name, np.pad(getattr(self, name), (0, more)))
        return True

    def hold(self, devices: IntArray, t: IntArray) -> BoolArray:
        """Which of them are known to be in theirs at t [n]."""
        held: BoolArray = (self._since[devices] <= t) & (t < self.until[devices])
        return held

    def note(self, devices: IntArray, since: IntArray, until: IntArray, on: BoolArray, flips: BoolArray) -> None:
        """These are in such segments [n]."""
        self._since[devices], self.until[devices] = since, until
        self.on[devices], self.flips[devices] = on, flips

    def end(self, devices: IntArray, t: IntArray, until: IntArray) -> None:
        """The first flips after t, an instant that is held [n]."""
        held = self.hold(devices, t)
        self.until[devices[held]], self.flips[devices[held]] = until[held], True
