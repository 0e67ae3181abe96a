"""FedBN: batch normalisation stays local (Li, Jiang, Zhang, Kamp, Dou 2021, arXiv:2102.07623).

    FedAvg of all tensors but those of norm layers: their scales, shifts and running statistics are each
    client's own, and the server never overwrites them.

Norm layers are known by what they are, not by their names. Group and layer norms count, too.
"""

from dataclasses import dataclass
from typing import ClassVar

from edgesim.algorithms.contract import Context
from edgesim.algorithms.partial import Partial
from edgesim.learning import split


@dataclass(frozen=True, kw_only=True)
class FedBN(Partial):
    """FedAvg in which each client keeps its own norm layers, statistics included."""

    summary: ClassVar[str] = "FedAvg of everything but the norm layers, which are each client's own"
    paper: ClassVar[str] = "Li et al. 2021, arXiv:2102.07623"

    def own(self, context: Context) -> tuple[str, ...]:
        return split.part(context.task.model, "norm")
