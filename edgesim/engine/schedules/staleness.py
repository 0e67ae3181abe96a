"""Staleness: what an update counts for by the number of versions that it is behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Weight: TypeAlias = Callable[[int], float]
"""The factor of an update by its staleness."""


def constant(staleness: int) -> float:
    """1: staleness does not matter."""
    return 1.0


@dataclass(frozen=True)
class Polynomial:
    """(1 + τ)^−exponent (Xie et al. 2019, arXiv:1903.03934; FedBuff uses 1/2)."""

    exponent: float

    def __call__(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


@dataclass(frozen=True)
class Hinge:
    """1 up to τ = grace, then 1 / (slope (τ − grace) + 1) (Xie et al. 2019, arXiv:1903.03934)."""

    slope: float
    grace: int

    def __call__(self, staleness: int) -> float:
        return 1.0 if staleness <= self.grace else 1.0 / (self.slope * (staleness - self.grace) + 1.0)
