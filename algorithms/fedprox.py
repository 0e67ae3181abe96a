"""FedProx (Li et al. 2020, arXiv:1812.06127): FedAvg whose local loss is pulled to the server's model.

local   min_w F_k(w) + (μ/2) ‖w − w_t‖²         one more copy of the model on the device, no more bytes

The paper tunes μ within {0.001, 0.01, 0.1, 1}. μ = 0 is FedAvg.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from typing_extensions import Doc

from edgesim.algorithms.contract import Client, Context, Payload, local_work
from edgesim.algorithms.fedavg import FedAvg
from edgesim.devices.workload import Workload
from edgesim.learning.training import Learner
from edgesim.learning.tree import State


@dataclass(frozen=True, kw_only=True)
class FedProx(FedAvg):
    """FedAvg with a proximal term in the local loss."""

    summary: ClassVar[str] = "FedAvg whose local models are held near the server's"
    paper: ClassVar[str] = "Li et al. 2020, arXiv:1812.06127"

    mu: Annotated[float, Ge(0), Doc("μ, strength of the pull")] = 0.1

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return local_work(context, client.samples, copies=1)

    def local_start(self, payload: State, client: State) -> State:
        return {"params": payload["params"], "anchor": payload["params"]}

    def local_run(self, local: State, learner: Learner) -> State:
        return self.local_sgd(local, learner, pull=self.mu)
