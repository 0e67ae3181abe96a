"""Markov: on and off line in turn, for exponentially distributed times."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.cells import KEPT, Cells
from edgesim.devices.segments import normals
from edgesim.devices.trajectories import NEVER, BoolArray
from edgesim.streams import fold, key, uniforms

_CYCLES = 10  # mean cycles (on + off) in a cell
_DRAWS = 32  # periods drawn for a cell at first: 20 are expected, sd below 5


@dataclass(frozen=True, kw_only=True)
class Markov:
    """On and off line in turn, for exponential times of these means; stationary from the start.

    A device is thus on line at any instant with probability on / (on + off). Each device follows its own
    trajectory, a pure function of (seed, device).

    Attributes: mean_on_s, mean_off_s: of the typical device; variation: sigma of a device's own factors
        exp(N(0, sigma)), one on each mean.

    Raises:
        ValueError: a mean below 1 ms or above 100 years, or a variation outside [0, 3].
    """

    mean_on_s: float
    mean_off_s: float
    variation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mean_on_s", "mean_off_s"):
            if not 1e-3 <= getattr(self, name) <= 3.2e9:
                raise ValueError(f"{name} {getattr(self, name)!r} s: must lie between 1 ms and 100 years")
        if not 0 <= self.variation <= 3:
            raise ValueError(f"variation {self.variation!r}: must lie in [0, 3]")

    def start(self, seed: int) -> "MarkovTrajectories":
        """The trajectories under this seed."""
        return MarkovTrajectories(
            mean_on_s=self.mean_on_s, mean_off_s=self.mean_off_s, variation=self.variation, seed=seed
        )


class MarkovTrajectories(Cells):
    """What `Markov` promises, under one seed, with access to any time at the same cost.

    The states at the borders of cells are independent draws: across ten mean cycles the chain's correlation
    exp(-10 (on + off) (1/on + 1/off)) ≤ e^-40 is below the resolution of a uniform draw. Within a cell a chain B
    runs backwards from the state at the end (a two-state chain is reversible). A chain F runs forwards from the
    state at the beginning until it meets B, and is B from there on: by the strong Markov property that is a
    chain from the one border to the other. If they differ at first, they meet at the first flip of either.
    """

    columns = _DRAWS

    def __init__(
        self, *, mean_on_s: float, mean_off_s: float, seed: int, variation: float = 0.0, kept: int = KEPT
    ) -> None:
        super().__init__(kept)
        self._mean_us, self._variation = (1e6 * mean_on_s, 1e6 * mean_off_s), variation
        self._base = key(seed, "availability")
        self.pace_ns = max(1, round(1000 * min(self._mean_us)))

    def grid(self, devices: IntArray) -> tuple[IntArray, IntArray]:
        """Cells of ten mean cycles of the device."""
        means_us = self._means_us(fold(self._base, devices) if self._variation else devices)
        return np.zeros(len(devices), np.int64), _length_us(*means_us)

    def cell(self, devices: IntArray, cells: IntArray) -> tuple[BoolArray, IntArray]:
        """B's flips, with F's first one put in or B's first one taken out where the two chains differ at first."""
        keys = fold(self._base, devices)
        means_us = self._means_us(keys)
        length_us = _length_us(*means_us)
        here, on_share = fold(keys, cells), means_us[0] / (means_us[0] + means_us[1])
        ends_on = uniforms(fold(keys, cells + 1), 1)[:, 0] < on_share
        draws = uniforms(here, 2 + _DRAWS)  # of the state at the beginning, of F's first period, of B's periods
        starts_on = draws[:, 0] < on_share
        flips_us = self._backwards(here, draws[:, 2:], ends_on, length_us, means_us)
        spare = (flips_us == 0).sum(axis=1)
        differ = ends_on ^ ((flips_us.shape[1] - spare) % 2 == 1) ^ starts_on
        first_us = _periods_us(draws[:, 1], np.where(starts_on, *means_us))
        _meet(flips_us, spare, differ, np.minimum(first_us, length_us))
        # flips at 0 fill the row up: an odd number of them turns the state before them round
        before_on: BoolArray = starts_on ^ ((flips_us == 0).sum(axis=1) % 2 == 1)
        return before_on, flips_us

    def _backwards(
        self,
        keys: NDArray[np.uint64],
        draws: FloatArray,
        ends_on: BoolArray,
        length_us: IntArray,
        means_us: tuple[FloatArray, FloatArray],
    ) -> IntArray:
        """B's flips in ascending order [n, k], after zeros, of which there is at least one."""
        count = draws.shape[1]
        on: BoolArray = ends_on[:, None] ^ (np.arange(count) % 2 == 1)
        periods_us = _periods_us(draws, np.where(on, means_us[0][:, None], means_us[1][:, None]))
        flips_us: IntArray = np.maximum(length_us[:, None] - np.cumsum(periods_us, axis=1), 0)[:, ::-1]
        few = np.flatnonzero(flips_us[:, 0])
        if few.size:
            more = uniforms(keys[few], 2 + 2 * count)[:, 2:]
            of_few = (means_us[0][few], means_us[1][few])
            longer_us = self._backwards(keys[few], more, ends_on[few], length_us[few], of_few)
            flips_us = np.pad(flips_us, ((0, 0), (longer_us.shape[1] - count, 0)))
            flips_us[few] = longer_us
        return flips_us

    def _means_us(self, keys: NDArray[np.uint64] | IntArray) -> tuple[FloatArray, FloatArray]:
        if not self._variation:
            return np.full(len(keys), self._mean_us[0]), np.full(len(keys), self._mean_us[1])
        on_us, off_us = (
            # single precision, for the same reason as in `normals`
            mean_us * np.exp(self._variation * normals(fold(keys.astype(np.uint64), -1 - side))).astype(np.float32)
            for side, mean_us in enumerate(self._mean_us)
        )
        return np.clip(on_us, 1e3, 3.2e15), np.clip(off_us, 1e3, 3.2e15)


def _meet(flips_us: IntArray, spare: IntArray, differ: BoolArray, forward_us: IntArray) -> None:
    """Join F, whose first flip is at `forward_us`, to B, for the rows where they differ at first; in place."""
    row = np.flatnonzero(differ)
    padded = np.concatenate([flips_us[row], np.full((len(row), 1), NEVER)], axis=1)
    backward_us = padded[np.arange(len(row)), spare[row]]
    early = forward_us[row] < backward_us
    # F's flip takes the place of the last zero; or B's goes, for F had that state all along
    inserted, dropped = row[early], row[~early]
    flips_us[inserted, spare[inserted] - 1] = forward_us[inserted]
    flips_us[dropped, spare[dropped]] = 0


def _length_us(on_us: FloatArray, off_us: FloatArray) -> IntArray:
    return np.rint(_CYCLES * (on_us + off_us)).astype(np.int64)


def _periods_us(draws: FloatArray, means_us: FloatArray) -> IntArray:
    """Exponential periods of these means, each ≥ 1 µs, one for each draw from [0, 1)."""
    # 1 - u lies in (0, 1], so the logarithm is finite; whole µs, so that a last-bit difference in it between
    # two machines does not move them
    unit: FloatArray = -np.log(1.0 - draws)
    return np.maximum(1, np.rint(unit * means_us)).astype(np.int64)
