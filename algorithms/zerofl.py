"""ZeroFL (Qiu et al. 2022, arXiv:2208.02507), from descriptions: its code and details were not at hand.

Devices compute with sparse weights at sparsity s, and send few values.

    local   w ← w − η ∇F(top(w)),  top: of each tensor the (1 − s) N_l largest |w|; the gradient is dense (SWAT: Raihan
            and Aamodt 2020, arXiv:2001.01969)
    up      values at a density of (1 − s) + r:
            top-weights           w at its largest |w|; what is not sent counts as 0
            diff-on-top-weights   w − sent at the largest |w|
            top-diff              w − sent at its own largest values
    server  FedAvg of what was sent

SWAT also thins the activations out when it computes weight gradients. Here it does not: weight gradients are computed,
and paid for, as dense ones. The model in use is top(w).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Le, Lt
from typing_extensions import Doc

from edgesim.algorithms import shared_mask
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, merge
from edgesim.algorithms.messages import SPARSE, dense, masked
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, masks
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class ZeroFl(Algorithm):
    """Training with the largest weights only, and sparse uploads."""

    summary: ClassVar[str] = "training on the largest weights (SWAT), uploads of density 1 − s + r"
    paper: ClassVar[str] = "Qiu et al. 2022, arXiv:2208.02507"

    sparsity: Annotated[float, Ge(0), Lt(1), Doc("s, share of each tensor's weights that training leaves out")] = 0.9
    mask_ratio: Annotated[float, Ge(0), Le(1), Doc("r, what uploads are denser than 1 − s")] = 0.2
    sends: Annotated[
        Literal["top-weights", "diff-on-top-weights", "top-diff"], Doc("which values go up; see the docs")
    ] = "diff-on-top-weights"

    def check(self, context: Context) -> None:
        if self.mask_ratio > self.sparsity:
            raise ScenarioError(
                f"algorithm.mask_ratio: {self.mask_ratio:g} exceeds the sparsity {self.sparsity:g}: more than all "
                "would be sent; take fedavg for dense uploads"
            )

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def download(self, context: Context, server: State, client: Client) -> Payload:
        return Payload(state={"params": server["params"]}, size_bytes=codecs.size(_nonzero(server["params"])))

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        """Forward and input gradients at density 1 − s, weight gradients dense; all weights are kept."""
        profile = context.profile
        whole = (profile.weight_grad_flops / np.maximum(profile.training_flops, 1))[profile.maskable]
        return _apart(local_work(context, client.samples), tuple(whole.tolist()), 1 - self.sparsity)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return None  # the length of a mask depends on its places

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        if SPARSE in update and self.sends != "top-weights":  # places of what is left of a difference tell all
            return dense(update["params"])
        return masked(update["params"], update["mask"], known=False)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        update = arrivals.update["params"]
        if self.sends == "top-weights":
            update = shared_mask.off_is_zero(context, server, arrivals)
        return merge(context, server, arrivals, arrivals.shares, update=update)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        sparse = masks.apply(_top(local["params"], 1 - self.sparsity), local["params"])
        return learner.descend(local, learner.gradient(sparse, batch))

    def reported_model(self, payload: State, client: State) -> Params:
        """What a report of losses is of: top(w)."""
        params = self.local_start(payload, client)["params"]
        return masks.apply(_top(params, 1 - self.sparsity), params)

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        change = difference(local["params"], payload["params"])
        density = 1 - self.sparsity + self.mask_ratio
        mask = _top(change if self.sends == "top-diff" else local["params"], density)
        return {"params": masks.apply(mask, change), "mask": mask}, client

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        whole = {name: tensor.unsqueeze(0) for name, tensor in server["params"].items()}
        return masks.apply({n: mask[0] for n, mask in _top(whole, 1 - self.sparsity).items()}, server["params"])

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return [self.client_model(server, clients[0])] * len(clients)


@lru_cache(maxsize=4096)
def _apart(work: Workload, dense: tuple[float, ...], density: float) -> Workload:
    """The same work where this share of each layer's FLOPs is `dense` and the rest has that density: two rows a layer,
    since a device gains nothing, or less, from the one, and the mean of both would hide that."""
    share, convolution = np.array(dense), work.layer_convolution
    return replace(
        work,
        layer_flops=np.concatenate([work.layer_flops * (1 - share), work.layer_flops * share]),
        layer_density=np.repeat([density, 1.0], len(share)),
        layer_convolution=None if convolution is None else np.tile(convolution, 2),
    )


def _top(params: Params, density: float) -> Params:
    """Of each maskable tensor the ⌈density · N⌉ largest magnitudes, bool [client, *shape]."""
    counts = {n: math.ceil(density * t[0].numel() - 1e-6) for n, t in params.items() if t[0].dim() >= 2}
    return {name: masks.largest(params[name], torch.full((len(params[name]),), n)) for name, n in counts.items()}


def _nonzero(params: Params) -> list[Part]:
    """The model as it goes down: where it has zeros, without them."""
    holes = {name: tensor != 0 for name, tensor in params.items() if tensor.dim() >= 2 and not tensor.all()}
    return masked(params, holes, known=False)
