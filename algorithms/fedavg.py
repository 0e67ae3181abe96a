"""FedAvg (McMahan et al. 2017, arXiv:1602.05629); with a buffer it is FedBuff (Nguyen et al. 2022, arXiv:2106.06639).

w ← w + η Σ_k p_k s(τ_k) Δ_k,   p_k = n_k / Σ n (or 1/K),   Δ_k = trained − sent, s(τ) from the schedule.

The divisor counts every update whole: a discounted update shortens the step, as in FedBuff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrival, Context, weighted_sum
from edgesim.learning import tree
from edgesim.learning.tree import State


@dataclass(frozen=True, kw_only=True)
class FedAvg(Algorithm):
    """One dense model for all; every client's update counts by its samples."""

    summary: ClassVar[str] = "one dense model, the weighted mean of local updates (FedBuff when buffered)"
    paper: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629; Nguyen et al. 2022, arXiv:2106.06639"

    weighting: Annotated[Literal["samples", "uniform"], Doc("p_k: by training samples, or equal")] = "samples"
    server_lr: Annotated[float, Gt(0), Doc("η, the server's step; 1 is plain averaging")] = 1.0

    def aggregate(self, context: Context, server: State, arrivals: Sequence[Arrival]) -> State:
        counts = [arrival.samples if self.weighting == "samples" else 1 for arrival in arrivals]
        weights = [
            self.server_lr * count / sum(counts) * arrival.discount
            for count, arrival in zip(counts, arrivals, strict=True)
        ]
        step = weighted_sum([arrival.update["params"] for arrival in arrivals], weights)
        return {**server, "params": tree.add(server["params"], step)}
