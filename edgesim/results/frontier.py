"""The frontier: which (cost, accuracy) points no other point beats."""

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
