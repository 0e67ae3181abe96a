"""Figures drawn from a run's tables: cost to a target, spread over seeds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesim.results.costs import FloatArray, find_cost
from edgesim.results.store import Run
from edgesim.streams import generator

_RESAMPLES = 2000


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
    """Mean over seeds [seed, point] and a band: from least to greatest below three seeds, else the
    percentile-bootstrap 95 % confidence interval of the mean (2000 resamples, fixed random stream)."""
    values = np.asarray(seeds, np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"got shape {values.shape}; [seed, point] with at least one seed is wanted")
    mean = values.mean(axis=0)
    if len(values) < 3:
        return Band(mean, values.min(axis=0), values.max(axis=0))
    draws = generator(0, "bootstrap").multinomial(len(values), np.full(len(values), 1 / len(values)), _RESAMPLES)
    low, high = np.percentile(draws @ values / len(values), [2.5, 97.5], axis=0)
    return Band(mean, low, high)
