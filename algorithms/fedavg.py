"""FedAvg (McMahan et al. 2017, arXiv:1602.05629); with a buffer it is FedBuff (Nguyen et al. 2022, arXiv:2106.06639).

w ← w + Σ_k p_k s(τ_k) Δ_k,   p_k = n_k / Σ n (or 1/K),   Δ_k = trained − sent, s(τ) from the schedule.

The server's step may be another one: see `server:` in the scenario.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrivals, Context, merge
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
