"""The frontier: which (cost, accuracy) points no other point beats, and how much they cover."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(cost: ArrayLike, accuracy: ArrayLike) -> NDArray[np.bool_]:
    """A flag for each point [point]: no other costs at most as much and is at least as accurate, one of
    the two strictly. Equal points stand or fall together; a point with a NaN is never on the frontier.
    """
    x, y = np.asarray(cost, np.float64), np.asarray(accuracy, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"got cost {x.shape}, accuracy {y.shape}; two arrays [point] of one length are wanted")
    flags = np.zeros(len(x), np.bool_)
    known = np.flatnonzero(~(np.isnan(x) | np.isnan(y)))
    # cheapest first and, at equal cost, best first: a point must beat all before it, or repeat the best
    best = (np.inf, -np.inf)
    for index in known[np.lexsort((-y[known], x[known]))]:
        if y[index] > best[1] or (x[index], y[index]) == best:
            best = (x[index], y[index])
            flags[index] = True
    return flags


def hypervolume(cost: ArrayLike, accuracy: ArrayLike, budget: float) -> float:
    """The best accuracy that points [point] reach within a budget, on average over all budgets from 0 to `budget`.

    It is the hypervolume of Zitzler and Thiele (1999) in two dimensions, with the reference point (budget, 0), over
    `budget`: between 0 and the best accuracy. Below the cheapest point it is 0.
    """
    if not budget > 0:
        raise ValueError(f"got budget={budget!r}; a positive cost is wanted")
    x, y = np.asarray(cost, np.float64), np.asarray(accuracy, np.float64)
    front = np.unique(np.stack([x, y])[:, non_dominated(x, y) & (x < budget) & (y > 0)], axis=1)
    widths = np.diff(np.append(front[0], budget))
    return float(widths @ front[1]) / budget
