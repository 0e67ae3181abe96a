"""Server rules of asynchronous methods that are not an average of updates; they compose with client-side algorithms."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.lagtolerant import LagTolerant
from edgesim.algorithms.rules import ServerRule, vectors, weighted_sum
from edgesim.errors import ScenarioError
from edgesim.learning import tree
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class FedAsync(ServerRule):
    """w ← (1 − α_k) w + α_k w_k,  α_k = α s(τ_k),  one arrival after the other (Xie et al. 2019, arXiv:1903.03934).

    w_k is the client's whole model: what it was sent plus its update. Where an algorithm says who holds a value,
    only held values move. s is the schedule's staleness weight.
    """

    mixing: Annotated[float, Gt(0), Le(1), Doc("α")] = 0.6

    def step(
        self, params: Params, memory: State, arrivals: Arrivals, weights: Tensor, update: Params, held: Params | None
    ) -> tuple[Params, State]:
        sent = arrivals.sent["params"]
        for k in range(len(arrivals)):
            alpha = self.mixing * float(arrivals.discount[k])
            for name, w in params.items():
                pull = alpha * (sent[name][k] + update[name][k] - w)
                if held is not None and name in held:
                    pull = pull * held[name][k]
                params = {**params, name: w + pull}
        return params, memory


@dataclass(frozen=True, kw_only=True)
class CacheAided(ServerRule):
    """CA2FL (Wang et al. 2024): the mean of what changed in the buffer, on top of everyone's last update.

    w ← w + η (h + (1/M) Σ_k s(τ_k) (Δ_k − h_k));  h_k ← Δ_k, 0 at the start;  h = (1/N) Σ_i h_i as it was before.
    The server keeps an update of each client.
    """

    lr: Annotated[float, Gt(0), Doc("η")] = 1.0

    def step(
        self, params: Params, memory: State, arrivals: Arrivals, weights: Tensor, update: Params, held: Params | None
    ) -> tuple[Params, State]:
        if held is not None:
            raise ScenarioError(
                "server.rule: ca2fl divides by all updates, and this algorithm divides each weight among those that "
                "hold it; write rule: port, or another divisor"
            )
        zero = {name: torch.zeros_like(w) for name, w in params.items()}
        memory, cached = dict(memory), memory.get("cached", zero)
        step, total = cached, {name: tensor.clone() for name, tensor in cached.items()}
        for k, client in enumerate(arrivals.clients):
            own = {name: tensor[k] for name, tensor in update.items()}
            change = tree.subtract(own, memory.get(f"cached/{client}", zero))
            step = tree.add(step, tree.scale(float(arrivals.discount[k]) / len(arrivals), change))
            total = tree.add(total, tree.scale(1 / arrivals.population, change))
            memory[f"cached/{client}"] = own
        return tree.add(params, tree.scale(self.lr, step)), {**memory, "cached": total}


@dataclass(frozen=True, kw_only=True)
class Port(ServerRule):
    """PORT (Su & Li 2022, Plato's code): weights by data, by direction and by staleness, normalised.

    p_k ∝ (n_k/n) (a (cos(d, Δ_k) + 1)/2 + b · β/(τ_k + β)), d = the server's last step. Here all updates are held
    against it; in its authors' code those more than one version behind, and of the others the cosine counts as 1.
    """

    similarity: Annotated[float, Ge(0), Doc("a, weight of the direction")] = 1.0
    freshness: Annotated[float, Ge(0), Doc("b, weight of the staleness")] = 1.0
    beta: Annotated[float, Gt(0), Doc("β: an update so stale counts half")] = 10.0

    def step(
        self, params: Params, memory: State, arrivals: Arrivals, weights: Tensor, update: Params, held: Params | None
    ) -> tuple[Params, State]:
        cosine = torch.zeros(len(arrivals), dtype=torch.float64)
        if "drift" in memory:
            drift = vectors({name: tensor.unsqueeze(0) for name, tensor in memory["drift"].items()})
            cosine = F.cosine_similarity(vectors(update), drift, dim=1).double()
        fresh = self.beta / (arrivals.staleness + self.beta)
        score = weights * (self.similarity * (cosine + 1) / 2 + self.freshness * fresh)
        share = _normalised(score, weights)
        step = weighted_sum(update, share, share, held)
        return tree.add(params, step), {**memory, "drift": step}


@dataclass(frozen=True, kw_only=True)
class Refl(ServerRule):
    """REFL's weights of stale updates (Abdelmoniem et al. 2023, arXiv:2111.01108): by staleness and by what they add.

    w_c = 1 for fresh updates, and (1 − β)/(τ_c + 1) + β (1 − exp(−Λ_c / Λ_max)/s) for stale ones, τ_c > 0, with
    Λ_c = ‖ū_c − ū‖² / ‖ū‖²; ū is the mean of the fresh updates and ū_c that of them and c, Λ_max the largest Λ.
    Each update counts by its share p_c times w_c, normalised; means are by shares, too. Without fresh updates, or
    where they add to nothing, Λ_c is 0. The schedule's staleness weight plays no part.
    """

    beta: Annotated[float, Ge(0), Le(1), Doc("β, weight of what an update adds")] = 0.35
    scale: Annotated[float, Ge(1), Doc("s: 1 in the paper's formula, 10 in its authors' code")] = 1.0

    def step(
        self, params: Params, memory: State, arrivals: Arrivals, weights: Tensor, update: Params, held: Params | None
    ) -> tuple[Params, State]:
        stale = arrivals.staleness > 0
        boost = 1 - torch.exp(-_relative(_deviation(vectors(update).double(), weights, stale))) / self.scale
        by_kind = torch.where(stale, (1 - self.beta) / (arrivals.staleness + 1) + self.beta * boost, 1.0)
        share = _normalised(weights * by_kind, weights)
        return tree.add(params, weighted_sum(update, share, share, held)), memory


def _normalised(score: Tensor, weights: Tensor) -> Tensor:
    """The scores as shares of their sum; where all are 0, the weights."""
    total = score.sum()
    return score / total if total > 0 else weights


def _deviation(vectors: Tensor, weights: Tensor, stale: Tensor) -> Tensor:
    """Λ of each update, 0 of fresh ones: float64 [arrival]."""
    fresh = weights[~stale].sum()
    mean = (weights[~stale, None] * vectors[~stale]).sum(0) / fresh.clamp_min(1e-300)
    size = mean.square().sum()
    if size == 0:
        return torch.zeros_like(weights)
    moved = weights / (fresh + weights)  # ū_c − ū = moved · (u_c − ū)
    return moved.square() * (vectors - mean).square().sum(1) / size * stale


def _relative(deviation: Tensor) -> Tensor:
    """Λ / Λ_max; 0 where all are 0."""
    return deviation / deviation.max().clamp_min(1e-300)


def takes_models(rule: ServerRule) -> bool:
    """Whether it goes by the models that clients end with, not by how far they came from what they were sent."""
    return isinstance(rule, FedAsync | LagTolerant)


RULES: dict[str, type[ServerRule]] = {"fedasync": FedAsync, "ca2fl": CacheAided, "port": Port, "refl": Refl}
