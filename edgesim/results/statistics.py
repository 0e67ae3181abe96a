"""Figures drawn from a run's tables: cost to a target, spread over seeds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesim.devices.arrays import FloatArray
from edgesim.results.costs import find_cost
from edgesim.results.store import Run

FEWEST_FOR_A_BAND = 5
"""Seeds. Of fewer, an interval that holds the mean as often as it says is wider than their range."""


class Band(NamedTuple):
    """Mean over seeds and the limits around it, each [point]."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray


def to_target(run: Run, accuracy: float, cost: str) -> float | None:
    """What the run had spent of `cost` (base units) when it first reached `accuracy`; None: never.

    The raw crossing: the first evaluation at or above the target, neither smoothed nor interpolated.
    """
    return first_reaching(run.metrics(), accuracy, cost)


def first_reaching(metrics: Mapping[str, NDArray[Any]], accuracy: float, cost: str) -> float | None:
    """`to_target` of a table of metrics that need not be on disk."""
    reached = np.flatnonzero(np.asarray(metrics["accuracy"]) >= accuracy)
    return float(find_cost(cost).of(metrics)[reached[0]]) if len(reached) else None


def band(seeds: ArrayLike) -> Band:
    """Mean over seeds [seed, point] and a band: from least to greatest below FEWEST_FOR_A_BAND seeds, else the
    `interval`."""
    values = _by_seed(seeds, 1)
    if len(values) < FEWEST_FOR_A_BAND:
        return Band(values.mean(axis=0), values.min(axis=0), values.max(axis=0))
    return interval(values)


def interval(seeds: ArrayLike) -> Band:
    """Mean over seeds [seed, point], two at least, and its 95 % confidence interval by Student's t."""
    from scipy.special import stdtrit  # takes a quarter of a second, which a run without figures need not wait for

    values = _by_seed(seeds, 2)
    mean, freedom = values.mean(axis=0), len(values) - 1
    half = stdtrit(freedom, 0.975) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return Band(mean, mean - half, mean + half)


def _by_seed(seeds: ArrayLike, fewest: int) -> FloatArray:
    values = np.asarray(seeds, np.float64)
    if values.ndim != 2 or len(values) < fewest:
        raise ValueError(f"got shape {values.shape}; [seed, point] with at least {fewest} seeds is wanted")
    return values
