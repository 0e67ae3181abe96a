"""Trace set: figures of many real devices, and how each device of a fleet draws its own from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.segments import normals
from edgesim.streams import fold, key, uniforms

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceSet:
    """What was measured of many devices, as the inverse of each quantity's distribution function.

    Attributes:
        shares: rising, in [0, 1] [point].
        values: name of a quantity → its value at each of `shares`, in base units [point]; between points it is
            interpolated, beyond the outer ones it stays.
        ranks: name → the place, from 0, of each recorded device's value among all [row]; {}: there are no
            recorded devices, only quantiles.
        correlation: without ranks, of the normal scores of the first two quantities; others are drawn apart.
        base: name of the catalogue's device or link whose other figures fit; None: the file names none.
        source: where the figures come from.
    """

    shares: FloatArray
    values: Mapping[str, FloatArray]
    ranks: Mapping[str, IntArray]
    correlation: float = 0.0
    base: str | None = None
    source: str = ""

    def draw(self, devices: IntArray, seed: int, purpose: str) -> dict[str, FloatArray]:
        """Name → a value for each of `devices` [n]; a pure function of (seed, purpose, device).

        Each quantity on its own is distributed as recorded (its quantiles, interpolated). With ranks, quantities
        belong together as they do in the rows: a row is drawn at random, and in each quantity a place evenly within
        the n-th part that is its rank's (the checkerboard copula of the rows).
        """
        keys = fold(key(seed, purpose), devices)
        places = self._places_by_rows(keys) if self.ranks else self._places_by_correlation(keys)
        # single precision: a last-bit difference in erf or log between two machines goes no further
        return {
            name: np.interp(places[name], self.shares, values).astype(np.float32).astype(np.float64)
            for name, values in self.values.items()
        }

    def _places_by_rows(self, keys: NDArray[np.uint64]) -> dict[str, FloatArray]:
        rows = len(next(iter(self.ranks.values())))
        draws = uniforms(keys, 1 + len(self.ranks))
        row = (draws[:, 0] * rows).astype(np.int64)
        return {
            name: (ranks[row] + draws[:, column]) / rows for column, (name, ranks) in enumerate(self.ranks.items(), 1)
        }

    def _places_by_correlation(self, keys: NDArray[np.uint64]) -> dict[str, FloatArray]:
        names = list(self.values)
        if not self.correlation:
            draws = uniforms(keys, len(names))
            return {name: draws[:, column] for column, name in enumerate(names)}
        scores = [normals(fold(keys, column)) for column in range(len(names))]
        rho = self.correlation
        scores[1] = rho * scores[0] + math.sqrt(1 - rho**2) * scores[1]
        return {name: _normal_cdf(score) for name, score in zip(names, scores, strict=True)}


def _normal_cdf(scores: FloatArray) -> FloatArray:
    places: FloatArray = 0.5 + 0.5 * _erf(scores / math.sqrt(2))
    return places


def from_rows(values: Mapping[str, FloatArray], base: str | None = None, source: str = "") -> TraceSet:
    """The set of recorded devices; `values` are in the order of the rows [row]."""
    rows = len(next(iter(values.values())))
    orders = {name: np.argsort(column, kind="stable") for name, column in values.items()}
    return TraceSet(
        shares=np.linspace(0, 1, rows),
        values={name: values[name][order] for name, order in orders.items()},
        ranks={name: np.argsort(order, kind="stable") for name, order in orders.items()},
        base=base,
        source=source,
    )
