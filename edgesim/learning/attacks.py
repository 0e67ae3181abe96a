"""Attacks: what hostile clients send instead of their updates.

Attackers know everything that honest clients send (the omniscient adversary of the literature). Vectors are float32
[n, D], flattened updates; formulas as in the code of Karimireddy, He, Jaggi (github
epfml/byzantine-robust-noniid-optimizer) unless said otherwise.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Gt, Lt
from torch import Tensor
from typing_extensions import Doc

from edgesim.units import Share


@dataclass(frozen=True, kw_only=True)
class Honest:
    """What honest clients sent. Attributes: vectors, [h, D], of this aggregation, oldest first; mean, over them or,
    where there are fewer than two, over all that were sent so far, and std, of h − 1 degrees of freedom, or 0: [D];
    total, attackers included."""

    vectors: Tensor
    mean: Tensor
    std: Tensor
    total: int


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One kind of attack, and who attacks: a share of the clients, drawn once.

    Class attributes: flips_labels, whether attackers train on wrong labels; works, whether they train at all.
    """

    flips_labels: ClassVar[bool] = False
    works: ClassVar[bool] = True

    share: Annotated[Share, Gt(0), Lt(1), Doc("which part of the clients are attackers")] = 0.2

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        """What the attackers send, [f, D], who by honest training would have sent `own`, [f, D]."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SignFlip(Attack):
    """−c g: its own update, backwards."""

    scale: Annotated[float, Gt(0), Doc("c; above 1 it is also louder")] = 1.0

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return -self.scale * own


@dataclass(frozen=True, kw_only=True)
class Scaled(Attack):
    """c g: its own update, louder."""

    scale: Annotated[float, Gt(0), Doc("c")] = 10.0

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return self.scale * own


@dataclass(frozen=True, kw_only=True)
class Gaussian(Attack):
    """N(0, σ²) in each coordinate."""

    std: Annotated[float, Gt(0), Doc("σ; Krum's paper takes 200 for gradients")] = 1.0

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(rng.normal(0.0, self.std, tuple(own.shape)).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Alie(Attack):
    """A little is enough: μ − z σ of the honest (Baruch et al. 2019, arXiv:1902.06156).

    z = Φ⁻¹((n − f − s)/(n − f)) with s = ⌊n/2 + 1⌋ − f, the largest shift that still has a majority behind it.
    """

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return (honest.mean - alie_z(honest.total, len(own)) * honest.std).expand_as(own)


def alie_z(n: int, f: int) -> float:
    """z of ALIE for n updates of which f are hostile; 0 where no shift has a majority."""
    needed = n // 2 + 1 - f
    share = (n - f - needed) / (n - f) if n > f else 0.0
    return NormalDist().inv_cdf(share) if 0 < share < 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class InnerProduct(Attack):
    """IPM: −ε times the mean of the honest (Xie, Koyejo, Gupta 2020, arXiv:1903.03936)."""

    epsilon: Annotated[float, Gt(0), Doc("ε; small ones hide, large ones shout")] = 0.1

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return (-self.epsilon * honest.mean).expand_as(own)


@dataclass(frozen=True, kw_only=True)
class Mimic(Attack):
    """All copy one honest client: the one that lies farthest along the direction in which the honest differ most.

    The direction is the first principal component of this aggregation's honest updates (the reference code
    estimates it in a warm-up).
    """

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        vectors = honest.vectors
        if len(vectors) < 2:
            return (vectors[0] if len(vectors) else honest.mean).expand_as(own)
        centred = vectors - vectors.mean(0)
        gram = (centred @ centred.T).double()  # h × h: its first eigenvector holds the clients' places
        place = torch.linalg.eigh(gram).eigenvectors[:, -1]
        return vectors[int(place.abs().argmax())].expand_as(own)


@dataclass(frozen=True, kw_only=True)
class LabelFlip(Attack):
    """Honest training on labels y → C − 1 − y."""

    flips_labels: ClassVar[bool] = True

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return own


@dataclass(frozen=True, kw_only=True)
class FreeRider(Attack):
    """Nothing: it wants the model and not the work, so it trains nothing and sends zeros."""

    works: ClassVar[bool] = False

    def forge(self, own: Tensor, honest: Honest, rng: np.random.Generator) -> Tensor:
        return torch.zeros_like(own)


ATTACKS: dict[str, type[Attack]] = {
    "sign-flip": SignFlip,
    "scaled": Scaled,
    "gaussian": Gaussian,
    "alie": Alie,
    "ipm": InnerProduct,
    "mimic": Mimic,
    "label-flip": LabelFlip,
    "free-rider": FreeRider,
}
