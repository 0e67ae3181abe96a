"""FedProx (Li et al. 2020, arXiv:1812.06127): FedAvg whose clients are held near the model that they were sent."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, local_work


@dataclass(frozen=True, kw_only=True)
class FedProx(Algorithm):
    """Local steps go down F_k(w) + mu/2 |w - sent|²."""

    mu: Annotated[float, Ge(0), Doc("pull towards the model sent; 0 is FedAvg")] = 0.1

    def workload(self, context, payload, client):
        return local_work(context, client.samples, copies=1)  # the model sent is kept besides

    def local_start(self, payload, client):
        return {"params": payload["params"], "anchor": payload["params"]}

    def local_run(self, local, learner):
        return learner.sgd(local, pull=self.mu)  # steps down the gradient + mu (w - anchor)
