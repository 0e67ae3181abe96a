"""SCAFFOLD (Karimireddy et al. 2020, arXiv:1910.06378): control variates against client drift.

down    w, c                                        twice FedAvg's bytes, both ways
local   w_k ← w_k − η (g − c_k + c)
        c_k⁺ = c_k − c + (w − w_k)/(steps · η)      option II; I: the gradient of all samples at w
server  w ← w + mean Δw_k,  c ← c + (|S|/N) mean Δc_k
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, dense, local_work, merge
from edgesim.algorithms.costs import phase_work
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import tree
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.phases import together
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class Scaffold(Algorithm):
    """FedAvg whose local steps are corrected by how a client's gradients differ from everyone's."""

    summary: ClassVar[str] = "FedAvg with control variates against client drift; twice the bytes"
    paper: ClassVar[str] = "Karimireddy et al. 2020, arXiv:1910.06378"

    control: Annotated[
        Literal["steps", "gradient"], Doc("c_k⁺ from the steps taken (option II), or the whole gradient at w (I)")
    ] = "steps"

    def check(self, context: Context) -> None:
        solver = context.training
        if self.control == "steps" and not solver.plain:
            raise ScenarioError(
                "algorithm.control: scaffold's option II reads the mean gradient off the steps, which momentum, clip "
                "and adam change; write control: gradient, or leave these out of training"
            )

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        params = context.task.model.init(context.seed)
        return {"params": params, "control": self._zero(context)}

    def init_client(self, context: Context, client: int) -> State:
        return {"control": self._zero(context)}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        state = {"params": server["params"], "control": server["control"]}
        return Payload(state=state, size_bytes=2 * context.dense_bytes)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        work = local_work(context, client.samples, copies=3)  # w, c and c_k
        if self.control == "steps":
            return work
        # a gradient of all samples adds up over mini-batches, so it takes their memory and no more
        return together(work, phase_work(context, client.samples, context.task.model.shapes, epochs=1))

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return 2 * context.dense_bytes

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return dense(update["params"]) + dense(update["control"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        moved = merge(context, server, arrivals, arrivals.equal)
        change = {name: tensor.sum(0) / arrivals.population for name, tensor in arrivals.update["control"].items()}
        return {**moved, "control": tree.add(server["control"], change)}

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        return {"params": payload["params"], "shift": tree.subtract(payload["control"], client["control"])}

    def local_run(self, local: State, learner: Learner) -> State:
        return self.local_sgd(local, learner)  # along g − c_k + c

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        delta = difference(local["params"], payload["params"])
        fresh = learner.without_statistics(self._control(payload, local, delta, learner), zero=True)
        change = tree.subtract(fresh, client["control"])
        return {"params": delta, "control": change}, {"control": fresh}

    def _control(self, payload: State, local: State, delta: Params, learner: Learner) -> Params:
        if self.control == "gradient":
            return learner.gradient(payload["params"], learner.samples())
        scale: Tensor = -1 / (learner.run_steps * learner.lr)
        return tree.subtract(tree.scale(scale, delta), local["shift"])  # −c + c_k + (w − w_k)/(steps · η)

    def _zero(self, context: Context) -> Params:
        return {name: torch.zeros(shape) for name, shape in context.task.model.shapes.items()}
