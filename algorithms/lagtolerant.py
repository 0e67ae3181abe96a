"""SAFA's aggregation (Wu et al. 2021, IEEE Trans. Computers 70(5), arXiv:1910.01355): a cache of all models."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.rules import ServerRule, weighted_sum
from edgesim.learning import tree
from edgesim.learning.tree import Params, State

_TOGETHER = 64  # models that are stacked at once


@dataclass(frozen=True, kw_only=True)
class LagTolerant(ServerRule):
    """Three steps, over a cached model w*_k of every client k, of n_k of n samples; all begin as the first model.

        1  w*_k ← w_k of picked clients;  w*_k ← w of outdated ones that were not picked
        2  w ← Σ_k (n_k/n) w*_k, over all clients
        3  w*_k ← w_k of spare clients, for the next time

    w_k is what a client was sent plus its update. Staleness weights do not enter. The server keeps a model of each
    client it has heard of. The schedule `safa` sets this rule.

    Attributes: samples, n_k, float64 [client].
    """

    samples: NDArray[np.float64] = field(repr=False)

    def step(
        self, params: Params, memory: State, arrivals: Arrivals, weights: Tensor, update: Params, held: Params | None
    ) -> tuple[Params, State]:
        sent = {name: arrivals.sent["params"][name] for name in update}
        whole = [{name: model[k] for name, model in tree.add(sent, update).items()} for k in range(len(arrivals))]
        picked = len(arrivals) - arrivals.spare
        cached = {"first": params, **memory, **{_entry(client): params for client in arrivals.outdated}}
        cached |= {_entry(client): whole[k] for k, client in enumerate(arrivals.clients[:picked])}
        mean = self._mean(cached)
        cached |= {_entry(client): whole[k] for k, client in enumerate(arrivals.clients) if k >= picked}
        return mean, cached

    def _mean(self, cached: State) -> Params:
        shares = torch.from_numpy(self.samples / self.samples.sum())
        heard = [client for client in range(len(shares)) if _entry(client) in cached]
        total = tree.scale(max(0.0, 1 - float(shares[heard].sum())), cached["first"])
        for start in range(0, len(heard), _TOGETHER):
            some = heard[start : start + _TOGETHER]
            models = tree.stack([{"params": cached[_entry(client)]} for client in some])["params"]
            total = tree.add(total, weighted_sum(models, shares[some], shares[some]))
        return total


def _entry(client: int) -> str:
    return f"cached/{client}"
