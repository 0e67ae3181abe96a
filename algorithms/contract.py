"""What a federated algorithm is to edgesim: a frozen dataclass of hyper-parameters and eleven hooks.

Three sides, and nothing of the clock. All state is in explicit trees (`State`: named groups of
tensors), so runs can be checkpointed, shipped and batched. Trees are values: never change one in place.

    server   init_server, init_client, download, workload, upload_bytes, upload, aggregate
    device   local_start, local_step, local_end
    user     client_model

**The client axis.** Device hooks see a whole cohort: every tensor is [client, *shape]. Write ordinary
tensor arithmetic (`w - lr * g`) and never mix clients; a cohort of one gives the same numbers.

A complete algorithm, FedAvg without sample weights, and where each hook is called:

    @dataclass(frozen=True, kw_only=True)
    class Mean(Algorithm):
        '''Every client trains the server's model; the server takes the plain mean.'''

        def aggregate(self, context, server, arrivals):
            updates = [arrival.update["params"] for arrival in arrivals]
            mean = {name: sum(u[name] for u in updates) / len(updates) for name in updates[0]}
            return {**server, "params": tree.add(server["params"], mean)}

The base class `Algorithm` is that algorithm's other ten hooks: dense model down, SGD, dense update up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import torch

from edgesim.devices.workload import Workload
from edgesim.learning import codecs, profile, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.profile import ModelProfile
from edgesim.learning.task import Task
from edgesim.learning.training import Learner, Training
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every hook may read. Attributes: horizon, the aggregations the run stops at, if it says."""

    task: Task
    profile: ModelProfile
    training: Training
    seed: int
    horizon: int | None = None

    @cached_property
    def dense_bytes(self) -> int:
        """Length on the wire of a message with every value of every parameter."""
        return codecs.size(dense({name: torch.empty(shape) for name, shape in self.task.model.shapes.items()}))


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What goes down: the state that the device starts from, and its length on the wire."""

    state: State
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An update that reached the server.

    Attributes: samples, the client's number of training samples; staleness, aggregations since its
    dispatch; discount, the schedule's factor for that staleness, 1 when fresh; update, what it sent.
    """

    client: int
    samples: int
    staleness: int
    discount: float
    update: State


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Base of all algorithms: dense model down, plain SGD, dense update up. Subclasses aggregate."""

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""

    def check(self, context: Context) -> None:
        """Raise ScenarioError for hyper-parameters that make no sense here. Called once, at assembly."""

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        """The server's state before the first dispatch."""
        return {"params": context.task.model.init(context.seed)}

    def init_client(self, context: Context, client: int) -> State:
        """A client's own state at first contact: a pure function of (context, client)."""
        return {}

    def download(self, context: Context, server: State, client: State) -> Payload:
        """What this client is sent; the client's state is what server and device both know of it."""
        return Payload(state={"params": server["params"]}, size_bytes=context.dense_bytes)

    def workload(self, context: Context, client: State, samples: int) -> Workload:
        """What the local training costs a client of so many training samples."""
        return local_work(context, samples)

    def upload_bytes(self, context: Context, payload: Payload, client: State) -> int | None:
        """Bytes of the upload, where they do not depend on trained values; else None."""
        return context.dense_bytes

    def upload(self, update: State, before: State, after: State) -> Sequence[Part]:
        """The update as it travels, given the client's state before and after training."""
        return dense(update["params"])

    def aggregate(self, context: Context, server: State, arrivals: Sequence[Arrival]) -> State:
        """The server's next state. Arrivals come in the order in which they arrived, at least one."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to aggregate")

    # ── device: every tensor carries a leading client axis ──────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        """The local state that training starts from; `params` is what the solver trains."""
        return {"params": payload["params"]}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        """One mini-batch."""
        return learner.descend(local, learner.gradient(local["params"], batch))

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        """The update to send, and the client's new state (it counts once the update has arrived)."""
        return {"params": tree.subtract(local["params"], payload["params"])}, client

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: State) -> Params:
        """The model that this client uses. Return the server's own tree where it is the same for all."""
        return server["params"]


def dense(params: Params) -> list[Part]:
    """Every value of every tensor, as it travels."""
    return [Part(values=tensor, mask=None, mask_known=False) for tensor in params.values()]


def local_work(
    context: Context, samples: int, density: dict[str, float] | None = None, dense_gradients: int = 0
) -> Workload:
    """The cost of the context's local training, masked to `density` where given."""
    shares = None if density is None else tuple(density.items())
    return _work(context.profile, context.training, samples, shares, dense_gradients)


@lru_cache(maxsize=4096)  # clients of like size and density cost alike: most jobs find their workload made
def _work(
    costs: ModelProfile, training: Training, samples: int, shares: tuple[tuple[str, float], ...] | None, dense: int
) -> Workload:
    return profile.training_workload(
        costs,
        samples=samples,
        batch_size=training.batch_size,
        epochs=training.epochs,
        density=None if shares is None else dict(shares),
        optimizer_words=1 if training.momentum else 0,
        dense_gradient_batches=dense,
    )


def weighted_sum(updates: Sequence[Params], weights: Sequence[float]) -> Params:
    """Σ weight · update, summed in the order given."""
    factors = torch.tensor(weights, dtype=torch.float32)
    return {
        name: torch.tensordot(factors, torch.stack([update[name] for update in updates]), dims=1) for name in updates[0]
    }
