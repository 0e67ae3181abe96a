"""MOON (Li, He, Song 2021, arXiv:2103.16257): features near the sent model's, far from the last one's.

The local loss is the algorithm's own; here features are what the last layer is given, without a projection head.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cosine_similarity

from edgesim.algorithms.contract import Algorithm, local_work
from edgesim.algorithms.costs import phase_work
from edgesim.learning.batches import mean_loss
from edgesim.learning.phases import together


@dataclass(frozen=True, kw_only=True)
class Moon(Algorithm):
    """Cross-entropy + mu · −log(exp(z·z_sent / t) / (exp(z·z_sent / t) + exp(z·z_last / t))), cosines all."""

    mu: float = 1.0
    temperature: float = 0.5

    def init_client(self, context, client):
        return {"last": context.task.model.init(context.seed)}

    def workload(self, context, payload, client):
        forward = phase_work(context, client.samples, (), epochs=2 * context.training.epochs)  # of both other models
        return together(local_work(context, client.samples, copies=2), forward)

    def local_start(self, payload, client):
        return {"params": payload["params"], "sent": payload["params"], "last": client["last"]}

    def local_step(self, local, batch, learner):
        others = [learner.outputs(local[group], batch)[1] for group in ("sent", "last")]

        def loss(logits, features):
            alike = torch.stack([cosine_similarity(features, other, dim=2) for other in others])  # [2, client, B]
            contrast = -(alike / self.temperature).log_softmax(0)[0]
            return mean_loss(logits, batch) + self.mu * (contrast * batch.weight).sum(1)

        return learner.descend(local, learner.gradient(local["params"], batch, loss=loss))

    def local_end(self, payload, client, local, learner):
        update, _ = super().local_end(payload, client, local, learner)
        return update, {"last": local["params"]}
