"""FedDST (Bibikar, Vikalo, Wang, Chen 2022, arXiv:2112.09824; the authors' code: github bibikar/feddst).

One sparse model w with mask m for all, of density d = 1 − S, and layer densities d_l that never change.

    start   m: of each tensor the ⌊d_l N_l⌋ largest |w_0|
    local   SGD on m; in rounds t ≤ T/2 with (t − 1) mod `readjust_every` = 0, before the last `settle_epochs`:
            the smallest |w| go until (1 − α_t) d_l N_l are left, as many of largest |∇F| on one mini-batch come, at 0
    server  w_j ← Σ n_k w_kj / Σ n_k m_kj over the clients that hold j;  m: any vote, then the ⌊d_l N_l⌋ largest |w|

The code readjusts after the last epoch, so what comes is 0 when it reaches the server and rarely survives there; more
`settle_epochs` let it train before. α_t is α (annealing: constant, the code's) or α/2 (1 + cos(2π t/T)).
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms import shared_mask
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, masked
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, masks
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.sparse_training import remask
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

_SPREADS = {"sparsities": masks.erk_sparsities, "erk": masks.erk, "uniform": masks.uniform}


@dataclass(frozen=True, kw_only=True)
class FedDst(Algorithm):
    """One sparse model for all, whose mask moves by the clients' votes."""

    summary: ClassVar[str] = "one sparse model; clients prune and regrow its mask, the server takes their votes"
    paper: ClassVar[str] = "Bibikar et al. 2022, arXiv:2112.09824"

    density: Annotated[float, Gt(0), Le(1), Doc("d, active share of the maskable weights")] = 0.2
    layers: Annotated[
        Literal["sparsities", "erk", "uniform"],
        Doc(
            "how the density is spread: the code's ERK, which scales sparsities; RigL's, which scales densities; evenly"
        ),
    ] = "sparsities"
    prune_rate: Annotated[float, Ge(0), Le(1), Doc("α, share of the active weights replaced")] = 0.01
    readjust_every: Annotated[int, Gt(0), Doc("rounds between readjustments")] = 10
    annealing: Annotated[Literal["constant", "cosine"], Doc("whether α_t falls to 0 at T/2")] = "constant"
    rounds: Annotated[
        Annotated[int, Gt(0)] | None, Doc("T: masks rest after T/2; by default the run's stop.aggregations")
    ] = None
    settle_epochs: Annotated[int, Ge(0), Doc("local epochs after a readjustment, of all that there are")] = 0

    def check(self, context: Context) -> None:
        try:
            self._counts(context, 1.0)
        except ValueError as error:
            raise ScenarioError(f"algorithm.density: {error}") from error
        if self.annealing == "cosine" and self._horizon(context) is None:
            raise ScenarioError("algorithm.rounds: cosine annealing wants T; write rounds: 400, or stop.aggregations")
        if self.settle_epochs > context.training.epochs:
            raise ScenarioError(
                f"algorithm.settle_epochs: {self.settle_epochs} is more than training.epochs, {context.training.epochs}"
            )

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        params = context.task.model.init(context.seed)
        counts = self._counts(context, 1.0)
        mask = {name: masks.largest(params[name].unsqueeze(0), count)[0] for name, count in counts.items()}
        blank: State = {"seen": shared_mask.unseen(), "round": {"number": torch.tensor(0)}}
        return shared_mask.present(params, mask, blank)

    def init_client(self, context: Context, client: int) -> State:
        return {"seen": shared_mask.unseen()}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        version, rate = server["seen"]["version"], self._rate(context, int(server["round"]["number"]))
        known = int(version) == 0 or shared_mask.has_seen(client, version)  # the first follows from the seed
        job = {"version": version, "moves": torch.tensor(rate > 0)}
        return Payload(
            state={
                "params": server["params"],
                "mask": server["mask"],
                "job": job,
                "left": self._counts(context, 1 - rate),
            },
            size_bytes=codecs.size(masked(server["params"], server["mask"], known=known)),
        )

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        density, moves = masks.densities(payload.state["mask"]), int(payload.state["job"]["moves"])
        return local_work(context, client.samples, density=density, dense_gradients=moves)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        if payload.state["job"]["moves"]:
            return None
        return codecs.size(masked(payload.state["params"], payload.state["mask"]))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return masked(update["params"], update["mask"], known=not update["job"]["moves"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        state = shared_mask.merge_held(context, server, arrivals, arrivals.shares)
        state["round"] = {"number": server["round"]["number"] + 1}
        votes = shared_mask.any_of(arrivals.update["mask"])
        params = masks.apply(votes, state["params"])
        mask = self._thinned(context, votes, params)
        same = all(torch.equal(mask[name], server["mask"][name]) for name in mask)
        return {**state, "params": masks.apply(mask, params)} if same else shared_mask.present(params, mask, state)

    def _thinned(self, context: Context, votes: Params, params: Params) -> Params:
        """The mask at its density again, by magnitude; fewer votes stay as they are."""
        counts = self._counts(context, 1.0)
        surplus = {name: (vote.sum() - counts[name]).clamp_min(0) for name, vote in votes.items()}
        return {name: masks.prune(on[None], params[name][None], surplus[name])[0] for name, on in votes.items()}

    def _counts(self, context: Context, share: float) -> Params:
        """⌊share · d_l N_l⌋ of each tensor, int64 [1]."""
        shapes = masks.maskable(context.task.model.shapes)
        spread = _SPREADS[self.layers](shapes, self.density)
        return {n: torch.tensor([int(share * spread[n] * math.prod(shape) + 1e-6)]) for n, shape in shapes.items()}

    def _rate(self, context: Context, number: int) -> float:
        """α_t; 0 in rounds without readjustment."""
        horizon = self._horizon(context)
        end = math.inf if horizon is None else horizon / 2
        if (number - 1) % self.readjust_every or number > end:
            return 0.0
        return (
            self.prune_rate
            if self.annealing == "constant"
            else self.prune_rate / 2 * (1 + math.cos(math.pi * number / end))
        )

    def _horizon(self, context: Context) -> int | None:
        return context.horizon if self.rounds is None else self.rounds

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        epochs = learner.training.epochs
        settle = min(self.settle_epochs, epochs)  # a schedule may ask for fewer than the training has
        local = self.local_start(payload, client)
        if settle < epochs:
            local = self.local_sgd(local, learner, epochs=epochs - settle)
        if payload["job"]["moves"].any():
            local = self._readjusted(local, payload, learner)
        if settle:
            local = self.local_sgd(local, learner, epochs=settle, purpose="settle")
        return self.local_end(payload, client, local, learner)

    def local_start(self, payload: State, client: State) -> State:
        return {"params": masks.apply(payload["mask"], payload["params"]), "mask": payload["mask"]}

    def _readjusted(self, local: State, payload: State, learner: Learner) -> State:
        """Prune to the counts that are left and regrow, for the clients that are to."""
        gradient, moves = learner.gradient(local["params"], learner.probe()), payload["job"]["moves"]
        moved = {}
        for name, mask in local["mask"].items():
            goes = (mask.flatten(1).sum(1) - payload["left"][name][:, 0]).clamp_min(0) * moves
            kept = masks.prune(mask, local["params"][name], goes)
            moved[name] = masks.grow(kept, gradient[name], goes)
            came = moved[name] & ~kept
            local = _zeroed(local, name, came)
        return remask(local, moved)

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        change = difference(local["params"], payload["params"])
        after = {"seen": {"version": payload["job"]["version"]}}
        return {"params": change, "mask": local["mask"], "job": payload["job"]}, after


def _zeroed(local: State, name: str, where: Tensor) -> State:
    """What comes, starts at 0, even where it has just gone."""
    params = {**local["params"], name: local["params"][name].masked_fill(where, 0.0)}
    return {**local, "params": params}
