"""Per-FedAvg (Fallah, Mokhtari, Ozdaglar 2020, arXiv:2002.07948): a start from which one local step goes far.

    local   w' = w − α ∇F(w; B₁)
            FO  w ← w − β ∇F(w'; B₂)                                  the outer gradient is taken at the inner point
            HF  w ← w − β (g − α d),  g = ∇F(w'; B₂),  d = (∇F(w + δ g; B₁) − ∇F(w − δ g; B₁)) / 2δ
    server  FedAvg
    use     one step of α from w on the client's own data

B₁ and B₂ are the two halves of a batch of twice the training's size. β is the training's learning rate.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt
from typing_extensions import Doc

from edgesim.algorithms.contract import Client, Context, Payload, local_work
from edgesim.algorithms.costs import scaled
from edgesim.algorithms.fedavg import FedAvg
from edgesim.devices.workload import Workload
from edgesim.learning import tree
from edgesim.learning.batches import Batch, halves
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class PerFedAvg(FedAvg):
    """MAML for federated learning."""

    summary: ClassVar[str] = "a common start from which one local step makes a personal model (MAML)"
    paper: ClassVar[str] = "Fallah, Mokhtari, Ozdaglar 2020, arXiv:2002.07948"

    inner_lr: Annotated[
        Annotated[float, Gt(0)] | None, Doc("α, of the inner step; by default the training's learning rate")
    ] = None
    order: Annotated[Literal["first", "hessian-free"], Doc("FO drops second derivatives, HF takes differences")] = (
        "first"
    )
    delta: Annotated[float, Gt(0), Doc("δ of the differences (HF)")] = 1e-3

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        # FO: one gradient a sample, half of them at w', as FedAvg; HF: two more on the first half
        work = local_work(context, client.samples, copies=1 if self.order == "first" else 3)
        return work if self.order == "first" else scaled(work, 2)

    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        both = 2 * learner.training.batch_size
        local = learner.run(self.local_start(payload, client), self.local_step, batch_size=both)
        return self.local_end(payload, client, local, learner)

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        first, second = halves(batch)
        params = local["params"]
        inner = self._inner(params, first, learner)
        outer = learner.gradient(inner, second)
        if self.order == "hessian-free":
            outer = self._corrected(params, outer, first, learner)
        return learner.descend(local, outer)

    def _inner(self, params: Params, batch: Batch, learner: Learner) -> Params:
        """w' = w − α ∇F(w; B); statistics of norm layers stay, for they move with the outer step."""
        gradient = learner.without_statistics(learner.gradient(params, batch), zero=True)
        return tree.subtract(params, tree.scale(self._alpha(learner), gradient))

    def _corrected(self, params: Params, outer: Params, batch: Batch, learner: Learner) -> Params:
        """g − α (∇F(w + δ g) − ∇F(w − δ g)) / 2δ."""
        step = tree.scale(self.delta, learner.without_statistics(outer, zero=True))
        up = learner.gradient(tree.add(params, step), batch)
        down = learner.gradient(tree.subtract(params, step), batch)
        product = learner.without_statistics(tree.subtract(up, down), zero=True)
        factor = self._alpha(learner)
        return tree.subtract(outer, tree.scale(factor, tree.scale(1 / (2 * self.delta), product)))

    def _alpha(self, learner: Learner) -> float:
        return learner.training.lr if self.inner_lr is None else self.inner_lr

    def personalise(self, model: Params, learner: Learner) -> Params:
        return self._inner(model, learner.samples(), learner)
