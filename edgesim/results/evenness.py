"""Evenness: how equally something is shared out."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def jain(counts: ArrayLike) -> float:
    """Jain's fairness index (Σx)² / (n Σx²) (Jain, Chiu, Hawe 1984): 1 when all are equal, 1/n when one
    has all. NaN when there is nobody, or nothing to share."""
    x = np.asarray(counts, np.float64)
    squares = float(np.sum(x * x))
    return float(np.sum(x)) ** 2 / (len(x) * squares) if squares else math.nan


def gini(counts: ArrayLike) -> float:
    """Gini coefficient Σᵢ (2 i − n − 1) x₍ᵢ₎ / (n Σ x), x₍₁₎ ≤ x₍₂₎ ≤ …, n of them: 0 when all are equal,
    1 − 1/n when one has all. NaN when there is nobody, or nothing to share."""
    x = np.sort(np.asarray(counts, np.float64))
    total = float(x.sum())
    return float((2 * np.arange(1, len(x) + 1) - len(x) - 1) @ x) / (len(x) * total) if total else math.nan


def lorenz(counts: ArrayLike) -> NDArray[np.float64]:
    """The Lorenz curve: the share of the sum that the k least have together, k = 0 … n [n + 1]; NaN but for its
    start when there is nothing to share."""
    sums = np.concatenate(([0.0], np.cumsum(np.sort(np.asarray(counts, np.float64)))))
    return sums / sums[-1] if sums[-1] else np.where(np.arange(len(sums)) == 0, 0.0, np.nan)
