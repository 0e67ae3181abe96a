"""DisPFL: personalised sparse training without a server (Dai, Shen, He, Tian, Tao 2022, arXiv:2206.00187).

FedSpa's decentralised sibling: client i has a mask m_i of fixed density and a model w_i that is 0 outside of it.

    mix     w_i ← m_i ⊙ [ Σ_j w_j / Σ_j m_j ]     over the neighbours and itself, 0 where nobody holds a weight
    local   w_i ← w_i − η_t m_i ⊙ ∇F_i(w_i)       E epochs
    masks   α_t = α_0/2 (1 + cos(π t/T)); per tensor the ⌈α_t nnz⌉ smallest |w_i| go and as many come, those of
            largest |∇F_i(w_i)| on one mini-batch, or drawn; what comes starts from 0
    sent    w_i on m_i, with the mask, to each neighbour

As its official code does it (github rong-dai/DisPFL): ERK densities, α_0 = 0.5, masks that differ between clients. The
published runs draw the weights that come (`regrow: random`). The sum over neighbours has no other weights; a tensor
without a mask is averaged. t counts rounds or, under `mode: async`, the client's own turns.

The code's cost counts values only; here the mask travels as well, since a neighbour does not know it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, MinLen
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, Peer, local_work, masked
from edgesim.algorithms.fedspa import Density, FedSpa
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, masks, tree
from edgesim.learning.codecs import Part
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_SERVED = (
    "sync", "deadline", "async", "buffered", "periodic", "tiered", "safa", "timelyfl", "hierarchical",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DisPfl(Algorithm):
    """A personal sparse model per client, mixed with those of its neighbours."""

    summary: ClassVar[str] = "FedSpa's sibling without a server: personal sparse models that neighbours mix"
    paper: ClassVar[str] = "Dai et al. 2022, arXiv:2206.00187"
    refuses: ClassVar[Mapping[str, str]] = dict.fromkeys(
        _SERVED, "it has no server; write schedule: {kind: gossip, graph: ring}, or take fedspa"
    )

    density: Annotated[
        Density | Annotated[tuple[Density, ...], MinLen(1)],
        Doc("active share of the maskable weights; a list makes groups, client i in group i mod length"),
    ] = 0.5
    regrow: Annotated[Literal["gradient", "random"], Doc("which weights come: largest dense gradient, or drawn")] = (
        "gradient"
    )
    prune_rate: Annotated[float, Ge(0), Le(1), Doc("α_0, the share replaced at first; 0: masks never change")] = 0.5
    rounds: Annotated[
        Annotated[int, Gt(0)] | None, Doc("T of the annealing; by default the run's stop.aggregations")
    ] = None
    layers: Annotated[Literal["erk", "uniform"], Doc("how the density is spread over the tensors")] = "erk"
    initial_masks: Annotated[Literal["different", "same"], Doc("one first mask per client, or per group")] = "different"

    @cached_property
    def _sibling(self) -> FedSpa:
        """Masks are made and moved as FedSpa's."""
        return FedSpa(
            density=self.density, regrow=self.regrow, prune_rate=self.prune_rate, rounds=self.rounds,
            layers=self.layers, initial_masks=self.initial_masks,
        )  # fmt: skip

    def check(self, context: Context) -> None:
        if self.prune_rate and self.rounds is None and context.horizon is None:
            raise ScenarioError(
                "algorithm.rounds: dispfl anneals its prune rate over a client's T turns, and this run does not say "
                "how many there are; write rounds: 500, or prune_rate: 0"
            )

    # ── a client's model ────────────────────────────────────────────────────────────────────────────
    def init_client(self, context: Context, client: int) -> State:
        return self._sibling.init_client(context, client)

    def download(self, context: Context, server: State, client: Client) -> Payload:
        size = codecs.size(masked(server["params"], client.state["mask"], known=False))
        return Payload(state={"params": server["params"]}, size_bytes=size)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        density = masks.densities(client.state["mask"])
        return local_work(context, client.samples, density=density, dense_gradients=int(self._sibling.screens(client)))

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        fixed = not self.prune_rate or all(map(_is_settled, client.state["mask"].values()))
        return payload.size_bytes if fixed else None

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return masked(update["params"], after["mask"], known=False)

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return {**server, "params": tree.row(arrivals.update, -1)["params"]}  # its own, the last one

    def mix(self, context: Context, own: Peer, peers: Sequence[Peer], weights: Tensor) -> State:
        mask = own.client.state["mask"]
        models = tree.stack([{"params": peer.model["params"]} for peer in peers])["params"]
        total = {name: tensor.sum(0) for name, tensor in models.items()}
        for name in total:
            held = sum(peer.client.state["mask"][name].float() for peer in peers) if name in mask else len(peers)
            total[name] = total[name] / torch.as_tensor(held, dtype=total[name].dtype).clamp_min(1)
        return {**own.model, "params": masks.apply(mask, total)}

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_run(self, local: State, learner: Learner) -> State:
        return self.local_sgd(local, learner)

    def local_start(self, payload: State, client: State) -> State:
        return self._sibling.local_start(payload, client)

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        _, after = self._sibling.local_end(payload, client, local, learner)
        return {"params": masks.apply(after["mask"], local["params"]), "held": after["mask"]}, after

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return masks.apply(client.state["mask"], server["params"])


def _is_settled(mask: Tensor) -> bool:
    """Whether a mask of so many active weights takes the same bytes wherever these are: a list of places would take a
    byte for each at least, so a bitmap is shorter; or there is nothing to list."""
    total, active = mask.numel(), int(torch.count_nonzero(mask))
    return all(count == 0 or count >= -(-total // 8) for count in (active, total - active))
