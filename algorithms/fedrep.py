"""FedRep: shared representations (Collins, Hassani, Mokhtari, Shakkottai 2021, arXiv:2102.07078).

    down    u, the representation; the head v_k stays on the device
    local   v_k ← v_k − η ∇_v f_k(u, v_k)      head_epochs, u frozen
            u_k ← u_k − η ∇_u f_k(u_k, v_k)    the training's epochs, v_k frozen
    up      u_k − u
    server  u ← u + Σ_k p_k s(τ_k) (u_k − u)

The paper trains the head for many epochs and the representation for one. Equally many of each is what PFLlib
does (github TsingZ0/PFLlib), and what makes its work comparable with the others'.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt
from typing_extensions import Doc

from edgesim.algorithms.contract import Client, Context, Payload
from edgesim.algorithms.costs import phase_work
from edgesim.algorithms.fedper import FedPer
from edgesim.algorithms.partial import kept
from edgesim.devices.workload import Workload
from edgesim.learning.phases import together
from edgesim.learning.solvers import rested
from edgesim.learning.training import Learner
from edgesim.learning.tree import State


@dataclass(frozen=True, kw_only=True)
class FedRep(FedPer):
    """FedPer in two phases: first the head on a frozen base, then the base under a frozen head."""

    summary: ClassVar[str] = "a shared base, each client its own head: first the head is trained, then the base"
    paper: ClassVar[str] = "Collins et al. 2021, arXiv:2102.07078"

    head_epochs: Annotated[
        Annotated[int, Gt(0)] | None, Doc("passes over the data for the personal part; by default training.epochs")
    ] = None

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        base = phase_work(context, client.samples, self.shared(context))
        own = self.own(context)  # nothing is trained, and nothing paid, for `personal: []`
        return together(phase_work(context, client.samples, own, epochs=self.head_epochs), base) if own else base

    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        local = self.local_start(payload, client)
        if own := kept(client):
            local = learner.sgd(local, only=own.keys(), epochs=self.head_epochs, purpose="head")
        local = learner.sgd(rested(local), only=payload["params"].keys())
        return self.local_end(payload, client, local, learner)
