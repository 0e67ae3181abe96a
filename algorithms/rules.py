"""Server rules: how updates become one step of the server's model; any algorithm that `merge`s composes with any."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from edgesim import streams
from edgesim.algorithms.aggregators import Aggregator, Mean, Preparation
from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.optimizers import Optimizer, Sgd
from edgesim.errors import ScenarioError
from edgesim.learning import masks, tree
from edgesim.learning.flat import Flat, alike, flat
from edgesim.learning.tree import Params, State

_MOST = 10_000  # updates that are tried in search of enough


class ServerRule(Protocol):
    """One step of the server."""

    def check(self, updates: int) -> None:
        """Raise ScenarioError if it makes no sense for so many updates in an aggregation. Most do for any number."""
        return

    def step(
        self,
        params: Params,
        memory: State,
        arrivals: Arrivals,
        weights: Tensor,
        update: Params,
        held: Params | None,
    ) -> tuple[Params, State]:
        """The next params, and what the rule must remember (groups of trees; {} before the first step).

        Arguments as in `contract.merge`; `params` has the same names as `update`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Average(ServerRule):
    """Updates, each by the schedule's discount, are prepared, combined and handed to the server's optimiser.

    With the mean:  w ← w + η Σ_k p_k s(τ_k) Δ_k.  The divisor counts every update whole: a discounted update
    shortens the step, as in FedBuff. Other aggregators see vectors s(τ_k) Δ_k, all of equal weight.

    worker_momentum: β of a momentum that each client keeps of its own updates, m_k ← β m_k + (1 − β) Δ_k, and
    that is combined instead of them (Karimireddy, He, Jaggi 2021); kept at the server here, at no cost.
    """

    aggregator: Aggregator = field(default_factory=Mean)
    before: Preparation | None = None
    optimizer: Optimizer = field(default_factory=Sgd)
    worker_momentum: float = 0.0
    seed: int = 0

    def check(self, updates: int) -> None:
        if not self._is_enough(updates):
            least = next(filter(self._is_enough, range(updates, _MOST)), None)
            wants = "smaller buckets" if least is None else f"at least {least} updates in an aggregation"
            raise ScenarioError(
                f"server.aggregator: {type(self.aggregator).__name__} wants {wants} and the schedule gives {updates}"
                f"{self._made_into(updates)}; write a larger cohort or buffer, or aggregator: median"
            )

    @property
    def averages(self) -> bool:
        """Whether the mean is all that combines updates."""
        return isinstance(self.aggregator, Mean) and self.before is None

    def _is_enough(self, updates: int) -> bool:
        return self._left(updates) >= self.aggregator.least(updates)

    def _left(self, updates: int) -> int:
        return updates if self.before is None else self.before.left(updates)

    def _made_into(self, updates: int) -> str:
        left = self._left(updates)
        return "" if left == updates else f", which `before` makes into {left} that as many attackers may spoil"

    def step(
        self,
        params: Params,
        memory: State,
        arrivals: Arrivals,
        weights: Tensor,
        update: Params,
        held: Params | None,
    ) -> tuple[Params, State]:
        if self.worker_momentum:
            update, memory = self._momentum(update, memory, arrivals)
            update = update if held is None else masks.apply(held, update)  # masks may have moved since
        if self.averages:
            delta = weighted_sum(update, weights * arrivals.discount, weights, held)
        elif held is not None:
            key, what, instead = (
                ("before", self.before, "leave it out") if isinstance(self.aggregator, Mean) else
                ("aggregator", self.aggregator, "write aggregator: mean")
            )  # fmt: skip
            raise ScenarioError(
                f"server.{key}: {type(what).__name__} takes whole vectors, and this algorithm divides each weight "
                f"among those that hold it; {instead}, or another divisor"
            )
        else:
            delta, memory = self._combined(update, memory, arrivals.discount)
        return self.optimizer.step(params, delta, memory, int(arrivals.staleness.max()))

    def _momentum(self, update: Params, memory: State, arrivals: Arrivals) -> tuple[Params, State]:
        beta, memory, rows = self.worker_momentum, dict(memory), []
        for row, client in enumerate(arrivals.clients):
            own = {name: (1 - beta) * tensor[row] for name, tensor in update.items()}
            if (before := memory.get(f"worker/{client}")) is not None:
                own = tree.apply(lambda new, old: new + beta * old, own, before)
            memory[f"worker/{client}"] = own
            rows.append({"own": own})
        return tree.stack(rows)["own"], memory

    def _combined(self, update: Params, memory: State, discount: Tensor) -> tuple[Params, State]:
        rows = vectors(update) * discount.float()[:, None]
        count = memory.get("count", {"steps": torch.zeros((), dtype=torch.int64)})["steps"]
        if self.before is not None:
            rows = self.before.prepare(rows, streams.generator(self.seed, "server/prepare", int(count)))
        last = memory["last"]["vector"] if "last" in memory else torch.zeros_like(rows[0])
        combined = self.aggregator.combine(rows, last, len(discount))
        return unflat(combined, update), {**memory, "last": {"vector": combined}, "count": {"steps": count + 1}}


def weighted_sum(update: Params, factors: Tensor, weights: Tensor, held: Params | None = None) -> Params:
    """Σ_k factor_k Δ_k over the arrivals, in their order; where `held` says who holds a value, divided by the
    weight of its holders (0 where there are none)."""
    total: Params
    if alike(update):
        rows = flat(update, 1)
        total = Flat(_weighted(factors.float(), rows.whole), rows.layout)
    else:
        total = {n: _weighted(factors.float(), tree.vectors(t)).view(t.shape[1:]) for n, t in update.items()}
    if not held:
        return total
    shares = {name: _weighted(weights.float(), mask.flatten(1).float()) for name, mask in held.items()}
    return {name: _divided(step, shares[name]) if name in shares else step for name, step in total.items()}


def _divided(step: Tensor, share: Tensor) -> Tensor:
    """step / share, share [value]; 0 where nobody has one."""
    share = share.view(step.shape)
    return torch.where(share > 0, step / share.clamp_min(torch.finfo(share.dtype).tiny), 0.0)


def _weighted(factors: Tensor, rows: Tensor) -> Tensor:
    """Σ_k factor_k · row_k, [n] and [n, D] → [D]; in numpy, whose product takes two thirds of torch's time."""
    return torch.from_numpy(factors.numpy() @ rows.numpy())


def vectors(update: Params) -> Tensor:
    """Stacked trees [n, *shape] as vectors [n, D], without the gaps of flat params, which are no values of a model."""
    return torch.cat([tree.vectors(tensor) for tensor in update.values()], 1)


def unflat(vector: Tensor, like: Params) -> Params:
    """A vector [D] as the tree it was made from, without the client axis."""
    sizes = [int(np.prod(tensor.shape[1:])) for tensor in like.values()]
    pieces = torch.split(vector, sizes)
    return {name: piece.view(tensor.shape[1:]) for (name, tensor), piece in zip(like.items(), pieces, strict=True)}
