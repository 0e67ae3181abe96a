"""Figures drawn from a run's tables: cost to a target, spread over seeds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgesim.results.costs import FloatArray, find_cost
from edgesim.results.store import Run


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
    """Mean over seeds [seed, point] and a band: from least to greatest below three seeds, else the 95 % confidence
    interval of the mean by Student's t, which is wide for few seeds because little is known then."""
    values = np.asarray(seeds, np.float64)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"got shape {values.shape}; [seed, point] with at least one seed is wanted")
    mean = values.mean(axis=0)
    if len(values) < 3:
        return Band(mean, values.min(axis=0), values.max(axis=0))
    from scipy.special import stdtrit  # takes a quarter of a second, which a run without figures need not wait for

    half = stdtrit(len(values) - 1, 0.975) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return Band(mean, mean - half, mean + half)
