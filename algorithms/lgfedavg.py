"""LG-FedAvg: local representations, global head (Liang et al. 2020, arXiv:2001.01523).

    down    v, the top layers; the lower layers u_k stay on the device
    local   (u_k, v) ← (u_k, v) − η ∇f_k(u_k, v)     E epochs, jointly
    up      v_k − v
    server  v ← v + Σ_k p_k s(τ_k) (v_k − v)

The opposite split to FedPer's. The paper starts from a model that FedAvg trained; here all start alike.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from typing_extensions import Doc

from edgesim.algorithms.contract import Context
from edgesim.algorithms.partial import Partial
from edgesim.learning import split
from edgesim.learning.split import Part


@dataclass(frozen=True, kw_only=True)
class LGFedAvg(Partial):
    """A shared head on representations of the clients' own."""

    summary: ClassVar[str] = "each client its own representation under a shared head, trained jointly"
    paper: ClassVar[str] = "Liang et al. 2020, arXiv:2001.01523"

    shares: Annotated[
        Part, Doc("what travels: head, input, norm, adapters, or layers and tensors by name, [fc1, fc2] say")
    ] = "head"

    def own(self, context: Context) -> tuple[str, ...]:
        shared = split.part(context.task.model, self.shares)
        return tuple(name for name in context.task.model.shapes if name not in shared)
