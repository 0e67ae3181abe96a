"""FedAvg with fine-tuning: every client trains the server's model a little on its own data before it uses it.

The tuning happens at the time of use, on the device, and is not charged to the run.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt
from typing_extensions import Doc

from edgesim.algorithms.fedavg import FedAvg
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params


@dataclass(frozen=True, kw_only=True)
class FedAvgFineTuned(FedAvg):
    """FedAvg, and each client's own model by local epochs from the server's."""

    summary: ClassVar[str] = "FedAvg, with each client's model fine-tuned on its own data before use"
    paper: ClassVar[str] = "Yu, Bagdasaryan, Shmatikov 2020, arXiv:2002.04758"

    tuning_epochs: Annotated[int, Gt(0), Doc("passes over the client's data before use")] = 1

    def personalise(self, model: Params, learner: Learner) -> Params:
        tuned = learner.run({"params": model}, self.local_step, epochs=self.tuning_epochs, purpose="fine-tune")
        return tuned["params"]
