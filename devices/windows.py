"""Bernoulli windows: in each window of time a device is on line or not, by a draw of its own."""

from dataclasses import dataclass

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.devices.cells import Cells
from edgesim.devices.trajectories import BoolArray
from edgesim.streams import fold, key, uniforms

_WINDOWS = 32  # in a cell


@dataclass(frozen=True, kw_only=True)
class Bernoulli:
    """On line in a window of `window_s` with probability `chance`, independently for each device and window.

    Raises:
        ValueError: a window below 1 ms or above a year, or a chance outside (0, 1).
    """

    window_s: float
    chance: float

    def __post_init__(self) -> None:
        if not 1e-3 <= self.window_s <= 3.2e7:
            raise ValueError(f"window {self.window_s!r} s: must lie between 1 ms and a year")
        if not 0 < self.chance < 1:
            raise ValueError(f"chance {self.chance!r}: must lie strictly between 0 and 1")

    def start(self, seed: int) -> "BernoulliTrajectories":
        """The trajectories under this seed."""
        return BernoulliTrajectories(self, seed)


class BernoulliTrajectories(Cells):
    """What `Bernoulli` promises, under one seed."""

    columns = 2 * _WINDOWS

    def __init__(self, law: Bernoulli, seed: int) -> None:
        super().__init__()
        self._window_us, self._chance = round(1e6 * law.window_s), law.chance
        self._base = key(seed, "availability")
        self.pace_ns = 1000 * self._window_us

    def grid(self, devices: IntArray) -> tuple[IntArray, IntArray]:
        """Cells of 32 windows."""
        return np.zeros(len(devices), np.int64), np.full(len(devices), _WINDOWS * self._window_us)

    def cell(self, devices: IntArray, cells: IntArray) -> tuple[BoolArray, IntArray]:
        """Each window's beginning, and its end if it is on line, else its beginning once more."""
        on = uniforms(fold(fold(self._base, devices), cells), _WINDOWS) < self._chance
        starts_us = np.broadcast_to(np.arange(_WINDOWS) * self._window_us, on.shape)
        return intervals(starts_us, starts_us + on * self._window_us)


def intervals(starts_us: IntArray, ends_us: IntArray) -> tuple[BoolArray, IntArray]:
    """A cell in which devices are on line in [start, end) [n, interval] and nowhere else."""
    flips_us = np.stack([starts_us, ends_us], axis=2).reshape(len(starts_us), -1)
    return np.zeros(len(starts_us), np.bool_), flips_us
