"""FedAvg (McMahan et al. 2017, arXiv:1602.05629); with a buffer it is FedBuff (Nguyen et al. 2022, arXiv:2106.06639).

w ← w + Σ_k p_k s(τ_k) Δ_k,   p_k = n_k / Σ n (or 1/K),   Δ_k = trained − sent, s(τ) from the schedule.

Without a server (`gossip`) it is gossip averaging: each client mixes its neighbours' models with its own.

The server's step may be another one: see `server:` in the scenario.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrivals, Context, Peer, merge
from edgesim.algorithms.rules import weighted_sum
from edgesim.learning import tree
from edgesim.learning.tree import State


@dataclass(frozen=True, kw_only=True)
class FedAvg(Algorithm):
    """One dense model for all; every client's update counts by its samples."""

    summary: ClassVar[str] = "one dense model, the weighted mean of local updates (FedBuff when buffered)"
    paper: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629; Nguyen et al. 2022, arXiv:2106.06639"

    weighting: Annotated[Literal["samples", "uniform"], Doc("p_k: by training samples, or equal")] = "samples"

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        weights = arrivals.shares if self.weighting == "samples" else arrivals.equal
        return merge(context, server, arrivals, weights)

    def mix(self, context: Context, own: Peer, peers: Sequence[Peer], weights: Tensor) -> State:
        """w_i ← Σ_j W_ij w_j: decentralised SGD (Lian et al. 2017, arXiv:1705.09056) after local epochs."""
        models = tree.stack([{"params": peer.model["params"]} for peer in peers])["params"]
        return {**own.model, "params": weighted_sum(models, weights, weights)}
