"""Staleness: what an update counts for by the number of versions that it is behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Weight: TypeAlias = Callable[[int], float | None]
"""The factor of an update by its staleness; None: it is not wanted."""


def tolerated(weight: Weight, staleness: int, most: int | None) -> float | None:
    """The factor of an update; None if it is more than `most` versions behind."""
    return None if most is not None and staleness > most else weight(staleness)


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


@dataclass(frozen=True)
class Threshold:
    """1 up to τ = cutoff, then `value` (a choice of FLSim, Meta's simulator)."""

    cutoff: int
    value: float

    def __call__(self, staleness: int) -> float:
        return 1.0 if staleness <= self.cutoff else self.value


@dataclass(frozen=True)
class DelayAdaptive:
    """n / max(n, τ), n = the clients at work (Mishchenko et al. 2022, arXiv:2206.07638)."""

    concurrency: int

    def __call__(self, staleness: int) -> float:
        return self.concurrency / max(self.concurrency, staleness)


@dataclass(frozen=True)
class Capped:
    """1 up to τ_C = the clients at work, then min(1, 1 / (4 L η τ)) (Koloskova et al. 2022, arXiv:2206.08307).

    smoothness: L; lr: η; without a smoothness an update that is staler than τ_C is not wanted.
    """

    concurrency: int
    lr: float
    smoothness: float | None = None

    def __call__(self, staleness: int) -> float | None:
        if staleness <= self.concurrency:
            return 1.0
        return None if self.smoothness is None else min(1.0, 1.0 / (4.0 * self.smoothness * self.lr * staleness))
