"""Ditto (Li, Hu, Beirami, Smith 2021, arXiv:2012.04221): a personal model beside the global one, held near it.

    global    w by FedAvg
    personal  v_k ← v_k − η (∇F_k(v_k) + λ (v_k − w))      w as it was received; v_k never leaves the device

λ = 0 is local training alone; a large λ is the global model. DisPFL's code takes 2 epochs for w, 3 for v, λ = 0.5.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt
from typing_extensions import Doc

from edgesim.algorithms.contract import Client, Context, Payload, local_work
from edgesim.algorithms.costs import phase_work
from edgesim.algorithms.fedavg import FedAvg
from edgesim.devices.workload import Workload
from edgesim.learning.flat import difference
from edgesim.learning.phases import together
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class Ditto(FedAvg):
    """FedAvg, and a personal model that each client trains besides."""

    summary: ClassVar[str] = "FedAvg, and a personal model beside it that is pulled to the global one"
    paper: ClassVar[str] = "Li, Hu, Beirami, Smith 2021, arXiv:2012.04221"

    pull: Annotated[float, Ge(0), Doc("λ, how strongly the personal model is held near the global one")] = 0.5
    personal_epochs: Annotated[
        Annotated[int, Gt(0)] | None, Doc("passes for the personal model; by default as many as for the global one")
    ] = None

    def init_client(self, context: Context, client: int) -> State:
        return {"personal": context.task.model.init(context.seed)}

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        every = context.task.model.shapes
        return together(
            local_work(context, client.samples, copies=2),
            phase_work(context, client.samples, every, epochs=self.personal_epochs),
        )

    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        whole = self.local_run({"params": payload["params"]}, learner)
        start = {"params": client["personal"], "anchor": payload["params"]}
        own = learner.sgd(start, pull=self.pull, epochs=self.personal_epochs)
        return {"params": difference(whole["params"], payload["params"])}, {"personal": own["params"]}

    def client_model(self, server: State, client: Client) -> Params:
        return client.state["personal"]
