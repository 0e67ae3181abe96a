"""pFedMe (T. Dinh, Tran, Nguyen 2020, arXiv:2006.08848): personal models by Moreau envelopes.

    personal  θ ≈ argmin F_k(θ) + (λ/2) ‖θ − w_k‖²     K steps a mini-batch: θ ← θ − η_p (∇F_k(θ) + λ (θ − w_k))
    local     w_k ← w_k − η λ (w_k − θ)                 once a mini-batch
    server    w ← (1 − β) w + β mean w_k                 β is the server optimiser's learning rate

η is the training's learning rate. The released code also decays θ by 0.001; that is the training's weight_decay here.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, merge
from edgesim.algorithms.costs import scaled
from edgesim.devices.workload import Workload
from edgesim.learning import tree
from edgesim.learning.batches import Batch
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class PFedMe(Algorithm):
    """Every client solves a regularised problem around its local model and keeps the solution."""

    summary: ClassVar[str] = "personal models by Moreau envelopes around the global one"
    paper: ClassVar[str] = "T. Dinh, Tran, Nguyen 2020, arXiv:2006.08848"

    pull: Annotated[float, Gt(0), Doc("λ, how strongly θ is held near w_k")] = 15.0
    inner_steps: Annotated[int, Gt(0), Doc("K, steps of θ on a mini-batch")] = 5
    personal_lr: Annotated[float, Gt(0), Doc("η_p, learning rate of θ")] = 0.05

    def init_client(self, context: Context, client: int) -> State:
        return {"personal": context.task.model.init(context.seed)}

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return scaled(local_work(context, client.samples, copies=2), self.inner_steps)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return merge(context, server, arrivals, arrivals.equal)

    def local_start(self, payload: State, client: State) -> State:
        return {"params": payload["params"], "personal": payload["params"]}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        for _ in range(self.inner_steps):
            gradient = learner.gradient(local["personal"], batch)
            pulled = learner.pulled(gradient, local["personal"], local["params"], self.pull)
            local = learner.descend(local, pulled, group="personal", lr=self.personal_lr)
        away = tree.subtract(local["params"], local["personal"])
        whole = tree.scale(self.pull * learner.lr, away)
        statistics = learner.task.model.statistics
        moved = {n: local["personal"][n] if n in statistics else w - whole[n] for n, w in local["params"].items()}
        return {**local, "params": moved}

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        return {"params": difference(local["params"], payload["params"])}, {"personal": local["personal"]}

    def client_model(self, server: State, client: Client) -> Params:
        return client.state["personal"]
