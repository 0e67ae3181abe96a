"""What a federated algorithm is to edgesim: a frozen dataclass of hyper-parameters and a few hooks.

Three sides, and nothing of the clock. All state is in explicit trees (`State`: named groups of
tensors), so runs can be checkpointed, shipped and batched. Trees are values: never change one in place.

    server   init_server, init_client, download (downloads), workload, upload_bytes, upload, aggregate, server_work
    device   local_train = local_start, local_run (local_step for each mini-batch), local_end
    user     client_model (client_models), personalise

**The client axis.** Device hooks see a whole cohort: every tensor is [client, *shape]; so do the updates that
`aggregate` gets: [arrival, *shape]. Write ordinary tensor arithmetic (`w - lr * g`) and never mix clients on
the device; a cohort of one gives the same numbers.

**The device.** It may be a GPU (`execution.device`): all tensors that a device hook is given are there, and it must
make its own there, too: `torch.zeros_like(w)`, `w.new_zeros(…)`, `torch.zeros(…, device=learner.device)`. Fetch with
`.cpu()` what numpy is to see. The server's hooks and the user's `client_model` see tensors of the host alone.

A complete algorithm, FedProx, to be read with the base class `Algorithm`, which is FedAvg:

    @dataclass(frozen=True, kw_only=True)
    class Prox(Algorithm):
        '''FedAvg whose local loss is pulled to the server's model by (μ/2)‖w − w_t‖².'''

        mu: float = 0.1

        def local_start(self, payload, client):
            return {"params": payload["params"], "anchor": payload["params"]}

        def local_step(self, local, batch, learner):
            pull = tree.subtract(local["params"], local["anchor"])
            gradient = tree.add(learner.gradient(local["params"], batch), tree.scale(self.mu, pull))
            return learner.descend(local, gradient)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.async_rules import takes_models
from edgesim.algorithms.context import Cadence, Client, Context, Payload, Peer
from edgesim.algorithms.costs import local_work
from edgesim.algorithms.messages import dense, masked
from edgesim.algorithms.rules import weighted_sum
from edgesim.devices.workload import Workload
from edgesim.learning import masks, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner, plain
from edgesim.learning.tree import Params, State

__all__ = [
    "STEPS", "Algorithm", "Arrivals", "Cadence", "Client", "Context", "Payload", "Peer", "dense", "home", "is_ours",
    "local_work", "masked", "merge", "models_of", "overrides", "payloads_of",
]  # fmt: skip

STEPS = ("local_start", "local_run", "local_step", "local_end")
"""The hooks that `local_train` is made of."""


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Base of all algorithms, and FedAvg: dense model down, SGD, dense update up, one step by the server's rule.

    Class attributes: refuses, the schedules under which it makes no sense: kind → why, and what to take instead.
    """

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    refuses: ClassVar[Mapping[str, str]] = {}

    def check(self, context: Context) -> None:
        """Raise ScenarioError for hyper-parameters that make no sense here. Called once, at assembly."""

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        """The server's state before the first dispatch."""
        return {"params": context.task.model.init(context.seed)}

    def init_client(self, context: Context, client: int) -> State:
        """A client's own state at first contact: a pure function of (context, client)."""
        return {}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        """What this client is sent; its state is what server and device both know of it."""
        return Payload(state={"params": server["params"]}, size_bytes=context.dense_bytes)

    def downloads(self, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
        """`download` to several at once. Override it besides where all of them together take less."""
        return [self.download(context, server, client) for client in clients]

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        """What the local training costs the client's device."""
        return local_work(context, client.samples)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        """Bytes of the upload, where they do not depend on trained values; else None."""
        return context.dense_bytes

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        """The update as it travels, given the client's state before and after training."""
        return dense(update["params"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        """The server's next state."""
        return merge(context, server, arrivals, arrivals.shares)

    def server_work(self, context: Context, server: State, arrivals: Arrivals) -> Workload | None:
        """What `aggregate` costs the server; None where that is no more than adding up."""
        return None

    def mix(self, context: Context, own: Peer, peers: Sequence[Peer], weights: Tensor) -> State:
        """A client's next model, of those of its neighbours and its own, which is one of the `peers`, in order of
        number; each as `aggregate` made it of what its client trained. weights: by the schedule, float64 [peer],
        adding to 1. Algorithms that have none need a server."""
        raise NotImplementedError(f"{type(self).__name__} needs a server")

    # ── device: every tensor carries a leading client axis ──────────────────────────────────────────
    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        """The whole local training: the update to send, and the client's new state (it counts once the update
        has arrived)."""
        local = self.local_run(self.local_start(payload, client), learner)
        return self.local_end(payload, client, local, learner)

    def local_start(self, payload: State, client: State) -> State:
        """The local state that training starts from; `params` is what the solver trains."""
        return {"params": payload["params"]}

    def local_run(self, local: State, learner: Learner) -> State:
        """All mini-batches."""
        return learner.run(local, self.local_step)

    def local_sgd(
        self,
        local: State,
        learner: Learner,
        *,
        pull: float = 0.0,
        epochs: int | None = None,
        purpose: str = "batches",
    ) -> State:
        """`learner.sgd`, for algorithms whose steps it makes; a subclass that has a `local_step` gets its own."""
        if overrides(self, "local_step"):
            local = learner.run(local, self.local_step, epochs=epochs, purpose=purpose)
            if "mask" in local:  # whatever that step did
                local = {**local, "params": masks.apply(local["mask"], local["params"])}
            return local
        return learner.sgd(local, pull=pull, epochs=epochs, purpose=purpose)

    @plain
    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        """One mini-batch."""
        return learner.descend(local, learner.gradient(local["params"], batch), spend=True)

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        """What `local_train` returns, once all mini-batches are done."""
        return {"params": difference(local["params"], payload["params"])}, client

    def reported_model(self, payload: State, client: State) -> Params:
        """The model whose losses clients report to a selector that goes by them: what training computes with first."""
        return self.local_start(payload, client)["params"]

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        """The model that this client uses. Return the server's own tree where it is the same for all."""
        return server["params"]

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        """`client_model` of several. Override it besides where all of them together take less."""
        return [self.client_model(server, client) for client in clients]

    def personalise(self, model: Params, learner: Learner) -> Params:
        """What the device makes of `client_model` before it uses it, [client, *shape]; not charged to the run.

        Override it for methods that are defined with a little local training at the time of use.
        """
        return model


def overrides(algorithm: Algorithm, *hooks: str) -> bool:
    """Whether an algorithm has its own form of any of these hooks; of one that stands for another, that one."""
    kind = type(getattr(algorithm, "stands_for", algorithm))
    return any(getattr(kind, hook) is not getattr(Algorithm, hook) for hook in hooks)


def models_of(algorithm: Algorithm, server: State, clients: Sequence[Client]) -> Sequence[Params]:
    """Their `client_models`; one by one, where a subclass has a `client_model` that these know nothing of."""
    if _knows(algorithm, "client_models", "client_model"):
        return algorithm.client_models(server, clients)
    return [algorithm.client_model(server, client) for client in clients]


def payloads_of(algorithm: Algorithm, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
    """Their `downloads`; one by one, where a subclass has a `download` that these know nothing of."""
    if _knows(algorithm, "downloads", "download"):
        return algorithm.downloads(context, server, clients)
    return [algorithm.download(context, server, client) for client in clients]


def _knows(algorithm: Algorithm, together: str, alone: str) -> bool:
    """Whether the form of a hook for several clients is of the class that has the one for a single client, or later."""
    return issubclass(home(type(algorithm), together), home(type(algorithm), alone))


def is_ours(kind: type) -> bool:
    """Whether a class is edgesim's own, not a user's."""
    return kind.__module__.startswith("edgesim.")


def home(kind: type[Algorithm], hook: str) -> type:
    """The class whose form of a hook it is."""
    return next(base for base in kind.__mro__ if hook in vars(base))


def merge(
    context: Context,
    server: State,
    arrivals: Arrivals,
    weights: Tensor,
    *,
    update: Params | None = None,
    held: Params | None = None,
) -> State:
    """The server's state after one step of its `params` by the scenario's rule (`server:`).

    weights: of the updates, float64 [arrival], adding to 1. update: what is merged, [arrival, *shape], by default
    `arrivals.update["params"]`; tensors that it lacks stay as they are. held: which values each update holds,
    bool [arrival, *shape] by name: a value is divided among its holders; tensors that it lacks are held by all.
    """
    update = arrivals.update["params"] if update is None else update
    memory = {name[len(_MEMORY) :]: params for name, params in server.items() if name.startswith(_MEMORY)}
    whole, statistics = server["params"], context.task.model.statistics
    if takes_models(context.rule):  # and mixes them whole, statistics included
        statistics = frozenset()
    if statistics:
        statistics &= update.keys()
    trained = update if not statistics else {name: t for name, t in update.items() if name not in statistics}
    of_trained = None if held is None else {n: mask for n, mask in held.items() if n not in statistics}
    stepped = whole if len(trained) == len(whole) else {n: whole[n] for n in trained}
    moved, kept = context.rule.step(stepped, memory, arrivals, weights, trained, of_trained)
    if statistics:  # running means and variances are no directions to step in: they are averaged, whatever such a rule
        of_statistics = {n: mask for n, mask in (held or {}).items() if n in statistics}
        # from the server's as they are now: of steps from what stale clients were sent a variance might fall below 0
        now = {name: tensor for name, tensor in whole.items() if name in statistics}
        sent = [{name: payload.get("params", now)[name] for name in now} for payload in arrivals.payloads]
        away = tree.add({name: update[name] for name in now}, tree.subtract(tree.stack_params(sent), now))
        averaged = masks.apply(of_statistics, away)
        mean = weighted_sum(averaged, weights * arrivals.discount, weights, of_statistics)
        moved = {**moved, **{name: whole[name] + step for name, step in mean.items()}}
    if len(moved) < len(whole):
        moved = {**whole, **moved}
    return {**server, "params": moved, **{_MEMORY + name: params for name, params in kept.items()}}


_MEMORY = "rule/"  # groups of the server's state that belong to its rule
