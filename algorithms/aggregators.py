"""Aggregators: how a set of vectors becomes one, and what may be done to the set before.

Vectors are float32 [n, D]: updates, flattened. f of the n are assumed to be hostile, f = ⌊byzantine · n⌋; and as many
of what they are made into before, since each may spoil one.
Rules and constants as in the code of Karimireddy, He, Jaggi 2022 (arXiv:2006.09365; github
epfml/byzantine-robust-noniid-optimizer), with Krum's distances squared once, as in its own paper.
"""

from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from typing_extensions import Doc

Byzantine: TypeAlias = Annotated[float, Ge(0), Lt(0.5), Doc("share of the updates assumed to be hostile")]


class Aggregator(Protocol):
    """Vectors to one vector."""

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        """[m, D] → [D]; `last` is what the step before came to, 0 before the first; the vectors are of n `updates`."""
        ...

    def least(self, updates: int) -> int:
        """How few vectors of so many updates it makes sense for."""
        return 1


class Preparation(Protocol):
    """What is done to vectors before they are aggregated."""

    def prepare(self, vectors: Tensor, rng: np.random.Generator) -> Tensor:
        """[n, D] → [m, D]."""
        ...

    def left(self, updates: int) -> int:
        """m of so many updates."""
        ...


def hostile(share: float, count: int) -> int:
    """f of `count` vectors; 0.2 of 5 is 1, whatever floating point makes of it."""
    return int(share * count + 1e-9)


@dataclass(frozen=True, kw_only=True)
class Mean(Aggregator):
    """The weighted mean, per value over those that hold it where an algorithm says who does."""

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        return vectors.mean(0)


@dataclass(frozen=True, kw_only=True)
class Median(Aggregator):
    """Coordinate by coordinate; the mean of the two middle values when n is even."""

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        ordered, n = vectors.sort(0).values, len(vectors)
        return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


@dataclass(frozen=True, kw_only=True)
class TrimmedMean(Aggregator):
    """Coordinate by coordinate the mean without the f largest and the f smallest (Yin et al. 2018)."""

    byzantine: Byzantine = 0.2

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        cut = min(hostile(self.byzantine, updates), (len(vectors) - 1) // 2)  # fewer may come than were asked for
        return vectors.sort(0).values[cut : len(vectors) - cut].mean(0) if cut else vectors.mean(0)

    def least(self, updates: int) -> int:
        """m ≥ 2f + 1."""
        return 2 * hostile(self.byzantine, updates) + 1


@dataclass(frozen=True, kw_only=True)
class Krum(Aggregator):
    """Those whose m − f − 2 nearest others are nearest, in squared distance (Blanchard et al. 2017).

    With `best` above 1 it is Multi-Krum: the mean of that many.
    """

    byzantine: Byzantine = 0.2
    best: Annotated[int, Gt(0), Doc("how many are averaged; 1 is Krum")] = 1

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        near = max(1, len(vectors) - hostile(self.byzantine, updates) - 2)
        distance = _squared_distances(vectors)
        distance.fill_diagonal_(torch.inf)
        score = distance.sort(1).values[:, :near].sum(1)
        chosen = torch.argsort(score, stable=True)[: self.best]
        return vectors[chosen].mean(0)

    def least(self, updates: int) -> int:
        """m ≥ 2f + 3."""
        return 2 * hostile(self.byzantine, updates) + 3


@dataclass(frozen=True, kw_only=True)
class GeometricMedian(Aggregator):
    """RFA: the smoothed Weiszfeld algorithm from 0 (Pillutla, Kakade, Harchaoui 2022)."""

    steps: Annotated[int, Gt(0), Doc("T, iterations")] = 8
    smoothing: Annotated[float, Gt(0), Doc("ν, the least distance that counts")] = 0.1

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        centre = torch.zeros_like(last)
        for _ in range(self.steps):
            weight = 1 / (vectors - centre).norm(dim=1).clamp_min(self.smoothing)
            centre = (weight / weight.sum()) @ vectors
        return centre


@dataclass(frozen=True, kw_only=True)
class CenteredClipping(Aggregator):
    """v ← v + (1/n) Σ (x_i − v) min(1, τ/‖x_i − v‖), from the last step's v (Karimireddy, He, Jaggi 2021)."""

    radius: Annotated[float, Gt(0), Doc("τ")] = 10.0
    steps: Annotated[int, Gt(0), Doc("iterations")] = 3

    def combine(self, vectors: Tensor, last: Tensor, updates: int) -> Tensor:
        centre = last
        for _ in range(self.steps):
            away = vectors - centre
            factor = (self.radius / away.norm(dim=1).clamp_min(1e-12)).clamp_max(1.0)
            centre = centre + (away * factor[:, None]).mean(0)
        return centre


@dataclass(frozen=True, kw_only=True)
class Bucketing:
    """Means of random groups of `size` (Karimireddy, He, Jaggi 2022): hostile vectors are diluted."""

    size: Annotated[int, Gt(1), Doc("s, vectors in a bucket; the last may have fewer")] = 2

    def prepare(self, vectors: Tensor, rng: np.random.Generator) -> Tensor:
        shuffled = vectors[torch.from_numpy(rng.permutation(len(vectors)))]
        return torch.stack([bucket.mean(0) for bucket in torch.split(shuffled, self.size)])

    def left(self, updates: int) -> int:
        return -(-updates // self.size)


@dataclass(frozen=True, kw_only=True)
class NearestNeighbours:
    """NNM: each vector becomes the mean of its n − f nearest, itself included (Allouah et al. 2023)."""

    byzantine: Byzantine = 0.2

    def prepare(self, vectors: Tensor, rng: np.random.Generator) -> Tensor:
        n = len(vectors)
        distance = _squared_distances(vectors)
        nearest = torch.argsort(distance, dim=1, stable=True)[:, : n - hostile(self.byzantine, n)]
        return vectors[nearest].mean(1)

    def left(self, updates: int) -> int:
        return updates


def _squared_distances(vectors: Tensor) -> Tensor:
    """[n, n]; by differences, since near vectors would cancel in |x|² + |y|² − 2xy."""
    return torch.stack([(vectors - vector).square().sum(1) for vector in vectors])


AGGREGATORS: dict[str, type[Aggregator]] = {
    "mean": Mean,
    "median": Median,
    "trimmed-mean": TrimmedMean,
    "krum": Krum,
    "geometric-median": GeometricMedian,
    "centered-clipping": CenteredClipping,
}
PREPARATIONS: dict[str, type[Preparation]] = {"bucketing": Bucketing, "nearest-neighbours": NearestNeighbours}
