"""Nested sub-models for unequal clients: a client of rate r has the first ⌈r·C⌉ units of every hidden layer.

    down, up    the client's corner of every tensor (see `learning.widths`); both sides know which that is
    server      w_j ← w_j + Σ p_k Δ_kj / Σ p_k over the clients that hold j; a value that nobody holds stays as it is

A slice is dense work: it costs what a small dense model costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from annotated_types import Gt, Le, MinLen
from typing_extensions import Doc

from edgesim.algorithms.contract import Arrivals, Client, Context, Payload, local_work, masked, merge
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.messages import dense_bytes
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import masks, widths
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State

Rate: TypeAlias = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Nested(FedAvg):
    """Base of the algorithms whose clients train sub-models of different widths."""

    refuses: ClassVar[Mapping[str, str]] = {
        "gossip": "the widths of a model meet at a server, and a narrow client holds no whole one to pass on; take "
        "fedavg or dispfl, or kind: sync"
    }

    rates: Annotated[tuple[Rate, ...], MinLen(1), Doc("shares of the units of each hidden layer")] = (1.0,)
    assigned: Annotated[
        Literal["groups", "memory"],
        Doc("who has which rate: client i has that of i mod the list's length, or the largest whose training fits "
            "its device's memory"),
    ] = "groups"  # fmt: skip

    def check(self, context: Context) -> None:
        widths.layout(context.task.model)
        if self.assigned == "memory" and context.memory_bytes is None:
            raise ScenarioError("algorithm.assigned: memory needs a fleet of devices; use groups")

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_client(self, context: Context, client: int) -> State:
        rate = self._rate(context, client)
        return {
            "kept": widths.kept(context.task.model, rate),
            "width": {"rate": torch.tensor(rate, dtype=torch.float64)},
        }

    def _rate(self, context: Context, client: int) -> float:
        if self.assigned == "groups":
            return self.rates[client % len(self.rates)]
        assert context.memory_bytes is not None
        limit, samples = int(context.memory_bytes[client]), int(context.task.train.count[client])
        fitting = [r for r in self.rates if local_work(thin(context, r), samples).memory_bytes <= limit]
        return max(fitting, default=min(self.rates))  # where none fits, the device runs out of memory, as a run shows

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return Payload(state={"params": server["params"]}, size_bytes=self._bytes(context, client))

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return local_work(thin(context, rate_of(client)), client.samples)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return self._bytes(context, client)

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return masked(update["params"], widths.mask(update["kept"], update["params"]))

    def _bytes(self, context: Context, client: Client) -> int:
        return dense_bytes(widths.shapes(context.task.model, rate_of(client)))

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        weights = arrivals.shares if self.weighting == "samples" else arrivals.equal
        # What all hold needs no division by the weight of its holders, so full width is FedAvg to the last bit.
        held = {name: mask for name, mask in self.held(context, arrivals).items() if not bool(mask.all())}
        update = masks.apply(held, arrivals.update["params"])
        return merge(context, server, arrivals, weights, update=update, held=held or None)

    def held(self, context: Context, arrivals: Arrivals) -> Params:
        """Which values each update holds: bool [arrival, *shape]."""
        return widths.masks(arrivals.update["kept"], arrivals.update["params"])

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        params = payload["params"]
        return {"params": masks.apply(widths.masks(client["kept"], params), params)}

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        start = self.local_start(payload, client)["params"]
        return {"params": difference(local["params"], start), "kept": client["kept"]}, client

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        params, kept = server["params"], client.state["kept"]
        if all(tuple(kept[name].tolist()) == tuple(tensor.shape) for name, tensor in params.items()):
            return params
        return masks.apply(widths.mask(kept, params), params)


def thin(context: Context, rate: float) -> Context:
    """The context with the costs of the sub-model of this rate."""
    return replace(context, profile=widths.profile(context.task.model, rate))


def rate_of(client: Client) -> float:
    """The client's rate."""
    return float(client.state["width"]["rate"])
