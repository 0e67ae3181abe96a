"""FedProx (Li et al. 2020, arXiv:1812.06127): FedAvg whose clients are held near the model that they were sent."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from typing_extensions import Doc

from edgesim.algorithms.fedavg import FedAvg
from edgesim.learning import tree


@dataclass(frozen=True, kw_only=True)
class FedProx(FedAvg):
    """Local steps go down F_k(w) + mu/2 |w - sent|²."""

    mu: Annotated[float, Ge(0), Doc("pull towards the model sent; 0 is FedAvg")] = 0.1

    def local_start(self, payload, client):
        return {"params": payload["params"], "sent": payload["params"]}

    def local_step(self, local, batch, learner):
        pull = tree.scale(self.mu, tree.subtract(local["params"], local["sent"]))
        return learner.descend(local, tree.add(learner.gradient(local["params"], batch), pull))
