"""L2GD: loopless local gradient descent for a mixture of models (Hanzely and Richtárik 2020, arXiv:2002.05516).

    min (1/M) Σ_i f_i(x_i) + (λ/2M) Σ_i ‖x_i − x̄‖²,  x̄ = (1/M) Σ_i x_i.  Every moment all clients toss one coin:

    with probability 1 − p   x_i ← x_i − η/(M(1−p)) ∇f_i(x_i)      a local step
    with probability p       x_i ← x_i − ηλ/(Mp) (x_i − x̄)        a pull to the mean, for which they communicate

As rounds: the local steps between two pulls are geometric, P(N = k) = p (1−p)^k, so that a job is

    down    x̄, and N, which the server draws
    local   x_i ← x_i − lr λ (1−p)/p (x_i − x̄);  N mini-batch steps of the training's lr, which stands for η/(M(1−p))
    up      x_i − x̄
    server  x̄ ← x̄ + (1/S) Σ_i s(τ_i) (x_i − x̄)

With all clients in each round that is the paper's process, but for rounds whose N is 0, in which it need not
communicate. With some of them x̄ is the mean of those.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, merge
from edgesim.algorithms.costs import holding, phase_work
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import split, tree
from edgesim.learning.batches import Batch
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_NUMBER_BYTES = 4  # of N


@dataclass(frozen=True, kw_only=True)
class L2GD(Algorithm):
    """Each client its own model, now and then pulled to the mean of all."""

    summary: ClassVar[str] = "each client its own model, at random moments pulled to the mean of all"
    paper: ClassVar[str] = "Hanzely and Richtárik 2020, arXiv:2002.05516"

    p: Annotated[float, Gt(0), Lt(1), Doc("probability of a pull: 1/p − 1 local steps between two on average")] = 0.1
    lam: Annotated[float, Ge(0), Doc("λ, how much clients' models should agree; 0 is local training only")] = 0.1

    def check(self, context: Context) -> None:
        pull = context.training.lr * self._pull
        if pull > 1:
            raise ScenarioError(
                f"algorithm.lam: a pull of lr·λ·(1−p)/p = {pull:.3g} overshoots the mean; "
                f"write lam: {0.5 / (pull / self.lam):.2g}, or a larger p"
            )

    @property
    def _pull(self) -> float:
        return self.lam * (1 - self.p) / self.p

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        return {**super().init_server(context), "l2gd": {"round": torch.zeros((), dtype=torch.int64)}}

    def init_client(self, context: Context, client: int) -> State:
        model = context.task.model
        return {"personal": split.start(model, context.seed, tuple(model.shapes))}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        steps = torch.tensor(_steps(self.p, context.seed, int(server["l2gd"]["round"])))
        size = context.dense_bytes + _NUMBER_BYTES
        return Payload(state={"params": server["params"], "l2gd": {"steps": steps}}, size_bytes=size)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        model = context.task.model
        work = phase_work(context, client.samples, model.shapes, steps=int(payload.state["l2gd"]["steps"]))
        return holding(work, context.dense_bytes)  # x̄ beside x_i

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        merged = merge(context, server, arrivals, arrivals.equal)
        return {**merged, "l2gd": {"round": server["l2gd"]["round"] + 1}}

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        own, mean, steps = client["personal"], payload["params"], payload["l2gd"]["steps"]
        pulled = tree.subtract(own, tree.scale(learner.lr * self._pull, tree.subtract(own, mean)))
        local = {"params": pulled, "l2gd": {"steps": steps}}
        if most := int(steps.max()):
            local = learner.run(local, self.local_step, steps=most)
        return {"params": difference(local["params"], mean)}, {**client, "personal": local["params"]}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        moved = learner.descend(local, learner.gradient(local["params"], batch))
        going = learner.step < local["l2gd"]["steps"]  # [client]: others of the cohort may have more steps to make
        return {**moved, "params": tree.where(going, moved["params"], local["params"])}

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return client.state["personal"]


@lru_cache(maxsize=16)  # every client of a round asks
def _steps(p: float, seed: int, round_number: int) -> int:
    """N of a round, the same for all."""
    uniform = 1 - streams.generator(seed, "l2gd/steps", round_number).random()
    return int(math.log(uniform) / math.log1p(-p))
