"""FedPer: federated learning with personalisation layers (Arivazhagan et al. 2019, arXiv:1912.00818).

    down    u                                        the base; the head v_k stays on the device
    local   (u, v_k) ← (u, v_k) − η ∇f_k(u, v_k)     E epochs, jointly
    up      u_k − u
    server  u ← u + Σ_k p_k s(τ_k) (u_k − u),   p_k = n_k / Σ n

With nothing personal (`personal: []`) it is FedAvg.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from typing_extensions import Doc

from edgesim.algorithms.contract import Context
from edgesim.algorithms.partial import Partial
from edgesim.learning import split
from edgesim.learning.split import Part


@dataclass(frozen=True, kw_only=True)
class FedPer(Partial):
    """A shared base under heads of the clients' own, trained together."""

    summary: ClassVar[str] = "a shared base, each client its own head, trained jointly"
    paper: ClassVar[str] = "Arivazhagan et al. 2019, arXiv:1912.00818"

    personal: Annotated[
        Part, Doc("what each client keeps: head, input, norm, adapters, or layers and tensors by name; [] is FedAvg")
    ] = "head"

    def own(self, context: Context) -> tuple[str, ...]:
        return split.part(context.task.model, self.personal)
