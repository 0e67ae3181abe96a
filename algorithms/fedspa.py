"""FedSpa: personalised sparse training (Huang, Liu, Shen, He, Lin, Tao 2022, arXiv:2201.11380).

One dense model w at the server, one mask m_k of fixed density per client, personal model m_k ⊙ w.

    down    m_k ⊙ w                                    only active values travel: both sides know m_k
    local   w̃ ← w̃ − η_t m_k ⊙ ∇F_k(w̃),  N steps       η_t = η_0 · decay^t is the training's own
    masks   RSM: m_k never changes                     (random static mask)
            DST: α_t = α_0/2 (1 + cos(π t/T)); per tensor the ⌈α_t nnz⌉ smallest |w̃| go, the same number
            of largest |∇F_k(w̃)| on one mini-batch come, just-pruned ones included (dynamic sparse training);
            `regrow: random` draws those that come, which takes no gradient, as in DisPFL's own runs
    up      U_k = w̃_N − w̃_0 on m_k, and the new mask where it changed
    server  w ← w + (1/S) Σ_k s(τ_k) U_k               `divisor: holders` divides by the holders of each weight

The paper has no released code. Where its text leaves a choice it is an option here, and the default is
what the closest official code does (DisPFL, github rong-dai/DisPFL): ERK densities, α_0 = 0.5, one
screening batch, masks that differ between clients. The first mask comes from a seed that both sides share,
so it costs no bytes. A client's new mask counts only once its update has arrived: a lost job changes nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, MinLen
from torch import Tensor
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms.async_rules import takes_models
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, masked, merge
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, masks
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

Density = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class FedSpa(Algorithm):
    """A personal sparse mask per client; the active share of the weights never changes."""

    summary: ClassVar[str] = "a personal sparse mask per client, static (RSM) or dynamic (DST)"
    paper: ClassVar[str] = "Huang et al. 2022, arXiv:2201.11380"

    density: Annotated[
        Density | Annotated[tuple[Density, ...], MinLen(1)],
        Doc("active share of the maskable weights; a list makes groups, client i in group i mod length"),
    ] = 0.5
    masking: Annotated[Literal["dst", "rsm"], Doc("dynamic sparse training, or random static masks")] = "dst"
    regrow: Annotated[
        Literal["gradient", "random"], Doc("which weights come (DST): largest dense gradient, or drawn")
    ] = "gradient"
    prune_rate: Annotated[
        float, Ge(0), Le(1), Doc("α_0, the share replaced at the first update (DST); 0: masks never change")
    ] = 0.5
    rounds: Annotated[
        Annotated[int, Gt(0)] | None, Doc("T of the annealing (DST); by default the run's stop.aggregations")
    ] = None
    layers: Annotated[Literal["erk", "uniform"], Doc("how the density is spread over the tensors")] = "erk"
    initial_masks: Annotated[Literal["different", "same"], Doc("one first mask per client, or per group")] = "different"
    divisor: Annotated[
        Literal["sampled", "holders"], Doc("mean over the S clients, or per weight over those that hold it")
    ] = "sampled"

    def check(self, context: Context) -> None:
        if self._moves and self._horizon(context) is None:
            raise ScenarioError(
                "algorithm.rounds: fedspa anneals its prune rate over T rounds, and this run does not say how many "
                "aggregations it makes; write rounds: 500, or stop.aggregations, or masking: rsm"
            )

    @property
    def _moves(self) -> bool:
        """Whether masks change."""
        return self.masking == "dst" and self.prune_rate > 0

    def _horizon(self, context: Context) -> int | None:
        return context.horizon if self.rounds is None else self.rounds

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_client(self, context: Context, client: int) -> State:
        density = self.density
        group = client % len(density) if isinstance(density, tuple) else 0
        share = density[group] if isinstance(density, tuple) else density
        shapes = masks.maskable(context.task.model.shapes)
        spread = masks.erk if self.layers == "erk" else masks.uniform
        owner = client if self.initial_masks == "different" else group
        rng = streams.generator(context.seed, f"fedspa/mask/{self.initial_masks}", owner)
        # T travels with the state, so that the device's side needs nothing but its arguments.
        horizon = torch.tensor(float(self._horizon(context) or 1))
        return {"mask": masks.random_mask(shapes, spread(shapes, share), rng), "rounds": {"T": horizon}}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        parts = masked(server["params"], client.state["mask"])
        return Payload(state={"params": server["params"]}, size_bytes=codecs.size(parts))

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        density = masks.densities(client.state["mask"])
        return local_work(context, client.samples, density=density, dense_gradients=int(self.screens(client)))

    def screens(self, client: Client) -> bool:
        """Whether a job takes a dense gradient: until its mask moves no more."""
        return self.regrow == "gradient" and self._may_move(client)

    def _may_move(self, client: Client) -> bool:
        """Whether a job may change its client's mask."""
        return self._moves and client.version < float(client.state["rounds"]["T"])

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        if self._may_move(client):  # the new mask's length on the wire depends on where it moved
            return None
        return codecs.size(masked(payload.state["params"], client.state["mask"]))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        parts = masked(update["params"], before["mask"])
        for name, mask in after["mask"].items():
            if not torch.equal(mask, before["mask"][name]):
                parts.append(Part(values=None, mask=mask, mask_known=False))
        return parts

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        by_holders = self.divisor == "holders" or takes_models(context.rule)
        held = arrivals.update["held"] if by_holders else None
        return merge(context, server, arrivals, arrivals.equal, held=held)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        return {"params": masks.apply(client["mask"], payload["params"]), "mask": client["mask"]}

    def local_run(self, local: State, learner: Learner) -> State:
        return self.local_sgd(local, learner)

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        start = masks.apply(client["mask"], payload["params"])
        update = {"params": difference(local["params"], start), "held": client["mask"]}
        if not self._moves:
            return update, client
        if bool((learner.version >= client["rounds"]["T"]).all()):
            return update, client
        score = self._scores(local, learner)
        rate = self._prune_rate(learner.version, client["rounds"]["T"])
        moved = {
            name: masks.prune_and_regrow(mask, local["params"][name], score[name], rate)
            for name, mask in client["mask"].items()
        }
        return update, {**client, "mask": moved}

    def _scores(self, local: State, learner: Learner) -> Params:
        """How much each weight deserves to come, [client, *shape]."""
        if self.regrow == "gradient":
            return learner.gradient(local["params"], learner.probe())  # dense: it sees what is off, too
        return {
            name: learner.uniforms(f"regrow/{name}", m[0].numel()).view(m.shape) for name, m in local["mask"].items()
        }

    def _prune_rate(self, version: Tensor, rounds: Tensor) -> Tensor:
        """α_t = α_0/2 (1 + cos(π t/T)) of each client [client]; 0 from T on."""
        return self.prune_rate / 2 * (1 + torch.cos(math.pi * (version.float() / rounds).clamp_max(1.0)))

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return masks.apply(client.state["mask"], server["params"])

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return masks.apply_each([client.state["mask"] for client in clients], server["params"])
