"""FedNova (Wang et al. 2020, arXiv:2007.07481), for plain SGD: an update counts by its direction, not by its steps.

A second group of the update says how many steps a client made: it travels, so upload and upload_bytes count it.
"""

from dataclasses import dataclass

from edgesim.algorithms.contract import Algorithm, dense, merge
from edgesim.algorithms.messages import dense_bytes
from edgesim.learning import tree


@dataclass(frozen=True, kw_only=True)
class FedNova(Algorithm):
    """w <- w + (sum_k p_k a_k) sum_k p_k D_k / a_k, where client k made a_k steps."""

    def upload_bytes(self, context, payload, client):
        return dense_bytes({**context.task.model.shapes, "steps": (1,)})

    def upload(self, update, before, after):
        return dense(update["params"]) + dense(update["steps"])

    def local_end(self, payload, client, local, learner):
        update, after = super().local_end(payload, client, local, learner)
        return {**update, "steps": {"made": learner.run_steps.unsqueeze(1)}}, after  # [client, 1]

    def aggregate(self, context, server, arrivals):
        made = arrivals.update["steps"]["made"].squeeze(1)
        mean = (arrivals.shares.float() * made).sum()
        each = tree.scale(mean / made, arrivals.update["params"])
        return merge(context, server, arrivals, arrivals.shares, update=each)
