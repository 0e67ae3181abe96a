"""Sub-FedAvg, unstructured (Vahidian, Morafah, Lin 2021, arXiv:2105.00562; github MMorafah/Sub-FedAvg).

Each client prunes a subnetwork of its own out of the common model, a step at a time.

    down    m_k ⊙ w                                        local   SGD on m_k
    masks   m', m'': m_k without the `percent` % smallest |w| of each tensor, after the first epoch and at the end;
            m'' counts if their mean Hamming distance exceeds `distance`, less than `target` of the weights are pruned
            and the pruned model is right on more than `accuracy` of the client's training samples
    server  w_j ← mean of w_kj over the clients that hold j; nobody: as before; biases: mean over all

The last step is cut so that it does not overshoot the target (and to 5 %). The authors' code asks for the accuracy on
the client's test samples; here it is on the training samples, since a device has no others. In a job of a single epoch
m' is taken after step ⌊n/2⌋.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms import shared_mask
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, masked
from edgesim.algorithms.costs import forward_work
from edgesim.devices.workload import Workload
from edgesim.learning import codecs, masks, phases, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.sparse_training import masked_step
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_LAST_STEP = 0.05  # of the code: the most that the step to the target prunes


@dataclass(frozen=True, kw_only=True)
class SubFedAvg(Algorithm):
    """Personal subnetworks of one model, pruned step by step."""

    summary: ClassVar[str] = "personal subnetworks, pruned by magnitude while masks still change; mean over holders"
    paper: ClassVar[str] = "Vahidian et al. 2021, arXiv:2105.00562"

    percent: Annotated[float, Gt(0), Lt(100), Doc("share of the active weights pruned in a step, in %")] = 10.0
    target: Annotated[float, Ge(0), Lt(1), Doc("share of the weights that is pruned in the end")] = 0.3
    distance: Annotated[float, Ge(0), Doc("least mean Hamming distance of the two candidate masks")] = 1e-4
    accuracy: Annotated[float, Ge(0), Le(1), Doc("what the pruned model must exceed on the client's samples")] = 0.5

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_client(self, context: Context, client: int) -> State:
        return {"mask": shared_mask.full(context)}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        parts = masked(server["params"], client.state["mask"])
        return Payload(state={"params": server["params"]}, size_bytes=codecs.size(parts))

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        density = masks.densities(client.state["mask"])
        training = local_work(context, client.samples, density=density)
        if _pruned(client.state["mask"]) >= self.target:
            return training
        return phases.together(training, forward_work(context, client.samples, density=density))  # the pruned model

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        if _pruned(client.state["mask"]) < self.target:
            return None
        return codecs.size(masked(payload.state["params"], client.state["mask"]))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return shared_mask.owned(update["params"], before["mask"], after["mask"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return shared_mask.merge_held(context, server, arrivals, arrivals.equal)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        mask = client["mask"]
        return {"params": masks.apply(mask, payload["params"]), "mask": mask, "early": mask}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        local = masked_step(local, batch, learner)
        first = torch.where(learner.steps == learner.epoch_steps, learner.epoch_steps // 2, learner.epoch_steps - 1)
        now = first == learner.step
        if not now.any():
            return local
        early = _thinner(local, torch.full_like(now, self.percent / 100, dtype=torch.float64))
        return {**local, "early": tree.where(now, early, local["early"])}

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        mask = self._next(local, learner)
        change = masks.apply(mask, difference(local["params"], payload["params"]))
        return {"params": change, "mask": mask}, {**client, "mask": mask}

    def _next(self, local: State, learner: Learner) -> Params:
        """The new mask of clients that may prune, the old one of the others."""
        share, pruned = self.percent / 100, 1 - masks.count(local["mask"]).sum(1) / _size(local["mask"])
        distance = _hamming(local["early"], _thinner(local, torch.full_like(pruned, share)))
        last = ((self.target - pruned) / (1 - pruned)).clamp(0, _LAST_STEP)
        step = torch.where(self.target - pruned < share, last, torch.full_like(pruned, share))
        late = _thinner(local, step)
        right = learner.accuracy(masks.apply(late, local["params"]), learner.samples())
        prunes = (distance > self.distance) & (pruned < self.target) & (right > self.accuracy)
        return tree.where(prunes, late, local["mask"])

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return masks.apply(client.state["mask"], server["params"])

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return masks.apply_each([client.state["mask"] for client in clients], server["params"])


def _thinner(local: State, share: Tensor) -> Params:
    """The mask without the active weights below each tensor's percentile of |w|; share is [client]."""
    counts = masks.below_percentile(masks.count(local["mask"]), share)
    named = zip(local["mask"].items(), counts.T, strict=True)
    return {name: masks.prune(mask, local["params"][name], count) for (name, mask), count in named}


def _hamming(a: Params, b: Params) -> Tensor:
    """Share of places that differ, mean over the tensors: [client]."""
    return torch.stack([(a[name] ^ b[name]).flatten(1).double().mean(1) for name in a]).mean(0)


def _size(mask: Params) -> int:
    return sum(tensor[0].numel() for tensor in mask.values())


def _pruned(mask: Params) -> float:
    """Share of one client's weights that is off."""
    return 1 - sum(int(m.sum()) for m in mask.values()) / sum(m.numel() for m in mask.values())
