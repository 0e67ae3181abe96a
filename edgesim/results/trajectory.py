"""A variant's accuracy as its cost grows: the mean path over seeds, and where it ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesim.devices.arrays import FloatArray
from edgesim.results.costs import find_cost
from edgesim.results.statistics import Band, band
from edgesim.results.store import Run


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Attributes: cost [point], base units, ascending; accuracy, mean and band over seeds [point];
    each, (cost, accuracy) of every seed's own evaluations; end_cost and end_accuracy, mean and band of
    the seeds' last evaluations [1]."""

    cost: FloatArray
    accuracy: Band
    each: tuple[tuple[FloatArray, FloatArray], ...]
    end_cost: Band
    end_accuracy: Band


def trajectory(runs: Sequence[Run], cost: str, metric: str = "accuracy", *, geometric: bool = False) -> Trajectory:
    """The path of one variant's runs (at least one). geometric: means and bands of logarithms, for what is positive and
    falls by orders of magnitude.

    Seeds spend different amounts between evaluations, so the mean path has one point for each evaluation,
    at the seeds' mean cost, with each seed's accuracy interpolated between its own evaluations; it covers
    only what all seeds have reached, so that no mean is taken over fewer of them (nothing, where one
    ended before another was first evaluated). One seed alone: its
    evaluations.
    """
    each = tuple((find_cost(cost).of(run.metrics()), run.metrics()[metric]) for run in runs)
    grid = _grid([costs for costs, _ in each])

    def over_seeds(values: Sequence[FloatArray]) -> Band:
        return Band(*map(np.exp, band(np.log(values)))) if geometric else band(values)

    return Trajectory(
        cost=grid,
        accuracy=over_seeds([np.interp(grid, costs, values) for costs, values in each]),
        each=each,
        end_cost=band([costs[-1:] for costs, _ in each]),
        end_accuracy=over_seeds([values[-1:] for _, values in each]),
    )


def _grid(costs: Sequence[FloatArray]) -> FloatArray:
    rows = min(len(column) for column in costs)
    mean = np.mean([column[:rows] for column in costs], axis=0)
    low, high = max(column[0] for column in costs), min(column[-1] for column in costs)
    return np.unique(np.clip(mean, low, high)) if low <= high else np.empty(0)
