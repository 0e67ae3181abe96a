"""APFL (Deng, Kamani, Mahdavi 2020, arXiv:2003.13461): each client mixes its own model with the global one.

v̄ = α v + (1 − α) w_k                    the personal model; α is each client's own
local   w_k ← w_k − η ∇F(w_k)             as FedAvg, and on the same batch
        v ← v − η α ∇F(v̄)                 the chain rule through v̄
        α ← α − η ⟨v − w_k, ∇F(v̄)⟩        if adaptive, kept within [0, 1]
server  FedAvg of w_k

Running statistics of norms in v are those of what v̄ is trained on, and mixed like all else for use.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.contract import Client, Context, Payload, local_work
from edgesim.algorithms.costs import scaled
from edgesim.algorithms.fedavg import FedAvg
from edgesim.devices.workload import Workload
from edgesim.learning import tree
from edgesim.learning.batches import Batch
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class Apfl(FedAvg):
    """A personal mixture of a local and the global model."""

    summary: ClassVar[str] = "each client's own mixture of a local model and the global one"
    paper: ClassVar[str] = "Deng, Kamani, Mahdavi 2020, arXiv:2003.13461"

    alpha: Annotated[float, Ge(0), Le(1), Doc("α, the local model's share at the start")] = 0.5
    adaptive: Annotated[bool, Doc("let each client learn its own α")] = True

    def check(self, context: Context) -> None:
        context.scales_steps("apfl shortens the personal model's steps by α")

    def init_client(self, context: Context, client: int) -> State:
        return {"personal": context.task.model.init(context.seed), "share": {"alpha": torch.tensor(self.alpha)}}

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        copies = 2 + context.training.words  # v, the gradient at the mixture; each model has its solver's memory
        return scaled(local_work(context, client.samples, copies=copies), 2)

    def local_start(self, payload: State, client: State) -> State:
        return {"params": payload["params"], "personal": client["personal"], "share": client["share"]}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        alpha, own = local["share"]["alpha"], local["personal"]
        mixed = _mixed(alpha, own, local["params"])
        if statistics := learner.task.model.statistics:  # v's: moved by the mixture's, a variance might fall below 0
            mixed = {**mixed, **{name: own[name] for name in statistics}}
        at_mixture = learner.gradient(mixed, batch)
        away = learner.without_statistics(tree.subtract(own, local["params"]))
        slope = tree.inner(away, at_mixture)
        local = learner.descend(local, learner.gradient(local["params"], batch))
        local = learner.descend(local, learner.scaled(at_mixture, alpha), group="personal")
        if self.adaptive:
            local = {**local, "share": {"alpha": (alpha - learner.lr * slope).clamp(0, 1)}}
        return local

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        update = {"params": difference(local["params"], payload["params"])}
        return update, {"personal": local["personal"], "share": local["share"]}

    def client_model(self, server: State, client: Client) -> Params:
        alpha = float(client.state["share"]["alpha"])
        return tree.apply(lambda v, w: alpha * v + (1 - alpha) * w, client.state["personal"], server["params"])


def _mixed(alpha: Tensor, personal: Params, shared: Params) -> Params:
    return tree.apply(lambda v, w: w + tree.broadcast(alpha, v) * (v - w), personal, shared)
