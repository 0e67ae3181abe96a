"""The trial: every hook of somebody's own algorithm, once, before anything runs.

Two clients with a few samples each have one job, under the scenario's own model and solver. What a hook fails with,
or returns that it must not, is told with its name and where it stands, instead of by whoever meets it later. And
what no run would notice comes out: bytes that nobody pays for, clients that learn from their company, trees that are
changed in place.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from warnings import warn

import torch
from torch import Tensor

from edgesim.algorithms.contract import STEPS, Algorithm, Arrivals, Client, Context, Payload, Peer, overrides
from edgesim.algorithms.rules import Average
from edgesim.devices.workload import Workload
from edgesim.engine.learning import Received
from edgesim.errors import EdgesimWarning, ScenarioError
from edgesim.execution.backend import in_process
from edgesim.execution.federation import Federation
from edgesim.learning import codecs, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.evaluation import evaluate
from edgesim.learning.flat import row
from edgesim.learning.kernels import Kernel, Vmap
from edgesim.learning.local import Order, cohort_of, personalised
from edgesim.learning.shards import Shards
from edgesim.learning.task import Task
from edgesim.learning.training import Learner, learner
from edgesim.learning.tree import Params, State
from edgesim.scenario import untouched
from edgesim.scenario.watched import Watched

_SAMPLES = (4, 3)  # of each client: mini-batches of two and of one
_SENDERS = ("upload", "local_end", "local_train")
_FRAMING = 16  # bytes by which several messages, counted one by one, may differ from one
_COMPANY = 0.2  # a change of an update, as a share of its length, that is no rounding


def tried(algorithm: Algorithm, context: Context, kernel: Kernel) -> None:
    """Go through all hooks.

    Raises ScenarioError for the first that fails.
    """
    trial = _Trial(algorithm, _small(context), kernel)
    trial.check(context)
    trial.run()


def merged(algorithm: Algorithm, context: Context) -> None:
    """Train one client on a few samples, twice, and merge what it holds in part by the server's own rule.

    Raises ScenarioError where the rule does not divide values among those that hold them, or a codec finds nothing.
    """

    class Divided(Average):
        def step(self, *given: Any) -> tuple[Params, State]:
            if given[-1] is not None:  # held
                context.rule.step(*given)
            return super().step(*given)

    where = replace(_small(context), rule=Divided())
    backend = in_process("loop", algorithm, where.task, where.training, seed=where.seed, cohort=1)
    world = Federation(algorithm, where, backend)
    for job in range(2):  # FLASH begins with a stage of its own
        world.dispatch(job, 0, job)
        world.aggregate([Received(job, 0, 0, 1.0)])


def _small(context: Context) -> Context:
    task = context.task
    clients = range(min(len(_SAMPLES), task.clients))
    parts = [task.train.of(client)[:samples] for client, samples in zip(clients, _SAMPLES, strict=False)]
    parts.sort(key=len, reverse=True)  # as clients that train together are
    tests = [task.test.of(client)[:2] for client in clients]
    small: Task = replace(task, train=Shards.of_parts(parts), test=Shards.of_parts(tests), unseen=task.unseen[:0])
    return replace(
        context,
        task=small,
        training=replace(context.training, batch_size=2, epochs=1),
        cadence=replace(context.cadence, concurrency=len(clients), updates=len(clients)),
        memory_bytes=None if context.memory_bytes is None else context.memory_bytes[: len(clients)],
        rule=Average(),
    )


class _Trial:
    def __init__(self, algorithm: Algorithm, context: Context, kernel: Kernel) -> None:
        self._algorithm, self._context, self._kernel = algorithm, context, kernel
        hint = "; if vmap cannot take the model, write execution.backend: loop" * isinstance(kernel, Vmap)
        self._hooks = Watched(algorithm, hint)
        self._memory = untouched.memory(algorithm)

    def check(self, context: Context) -> None:
        self._hooks.call("check", context)

    def run(self) -> None:
        context, server = self._context, self._hooks.state("init_server", self._context)
        clients = [
            Client(client, int(samples), self._hooks.state("init_client", context, client))
            for client, samples in enumerate(context.task.train.count.tolist())
        ]
        payloads = [self._dispatched(server, client) for client in clients]
        orders = [
            Order(client.id, client.id, 0, payload.state, client.state, payload.training)
            for client, payload in zip(clients, payloads, strict=True)
        ]
        if all(order.training == orders[0].training for order in orders):
            update, after = self._trained(orders)
            if self._hooks.is_own("local_train", *STEPS):
                self._check_company(orders, update)
        else:  # clients of unlike solvers never train together
            update, after = (tree.join(list(states)) for states in zip(*map(self._alone, orders), strict=True))
        for place, (client, payload) in enumerate(zip(clients, payloads, strict=True)):
            self._check_upload(client, payload, row(update, place), row(after, place))
        server = self._aggregated(server, clients, orders, update)
        clients = [client._replace(state=row(after, client.id)) for client in clients]
        self._check_models(server, clients)
        for client in clients:
            self._dispatched(server, client)
        if context.cadence.kind == "gossip":
            peers, share = [Peer(server, client) for client in clients], 1 / len(clients)
            self._hooks.state("mix", context, peers[0], peers, torch.full((len(peers),), share, dtype=torch.float64))
        for name, value in untouched.memory(self._algorithm).items():
            if value != self._memory.get(name):
                raise ScenarioError(
                    f"{name} has changed in a trial of all hooks: what an algorithm remembers must "
                    "lie in the states of server and clients, or another run, and one that is resumed, would find it"
                )

    # ── hook by hook ────────────────────────────────────────────────────────────────────────────────
    def _dispatched(self, server: State, client: Client) -> Payload:
        context = self._context
        payload = self._hooks.call("download", context, server, client)
        self._hooks.check(isinstance(payload, Payload), "download", "a Payload", payload)
        self._hooks.check_state("download", payload.state)
        found: Payload = payload
        self._hooks.check_bytes("download", "size_bytes", payload.size_bytes)
        work = self._hooks.call("workload", context, payload, client)
        self._hooks.check(isinstance(work, Workload), "workload", "a Workload, as local_work makes one", work)
        size = self._hooks.call("upload_bytes", context, payload, client)
        if size is not None:
            self._hooks.check_bytes("upload_bytes", "what it returns", size)
        return found

    def _trained(self, orders: Sequence[Order]) -> tuple[State, State]:
        """What clients make of orders, as the backend has them do, with what they keep."""
        who = self._learner(orders)
        payload, before = (tree.stack([getattr(order, part) for order in orders]) for part in ("payload", "state"))
        given = tree.revisions(payload, before)
        if overrides(self._algorithm, "local_train"):
            returned = self._hooks.call("local_train", payload, before, who)
            hook = "local_train"
        else:
            local = self._local("local_start", self._hooks.call("local_start", payload, before), len(orders))
            watched = self._algorithm
            if overrides(watched, "local_step") and hasattr(watched, "__dict__"):
                watched = copy.copy(watched)
                object.__setattr__(watched, "local_step", self._step)
            local = self._local("local_run", self._hooks.call("local_run", local, who, of=watched), len(orders))
            returned = self._hooks.call("local_end", payload, before, local, who)
            hook = "local_end"
        pair = isinstance(returned, tuple) and len(returned) == 2
        self._hooks.check(pair, hook, "two states, an update and what the client keeps", returned)
        update, after = returned
        for state in (update, after):
            self._hooks.check_state(hook, state, clients=len(orders))
        if tree.revisions(payload, before) != given:
            self._hooks.refuse(
                "local_train",
                "or a hook that it is made of changes tensors in place that were sent to it or that its "
                "client keeps; all trees are values: write w - lr * g, or change a clone()",
            )
        if not overrides(self._algorithm, "upload"):
            self._hooks.check(
                "params" in update, hook, "an update with params, unless upload and aggregate are written, too", update
            )
        if after.keys() != before.keys():
            self._hooks.refuse(
                hook,
                f"lets the client keep the groups {sorted(after)}, and init_client begins with {sorted(before)}: "
                "let init_client return all of them, since clients of both kinds train together",
            )
        for group, params in before.items():
            for name, tensor in params.items():
                kept = after[group].get(name)
                if kept is None or (wrong := _unlike(kept[0], tensor[0])):
                    self._hooks.refuse(
                        hook,
                        f"lets the client keep a state whose {group}: {name} {'is missing' if kept is None else wrong} "
                        "as init_client begins; clients of both kinds train together",
                    )
        return update, after

    def _alone(self, order: Order) -> tuple[State, State]:
        return self._trained([order])

    def _local(self, hook: str, local: Any, clients: int) -> State:
        self._hooks.check_state(hook, local, clients=clients)
        self._hooks.check("params" in local, hook, "a state with params, which the solver trains", local)
        return dict(local)

    def _step(self, local: State, batch: Batch, who: Learner) -> State:
        return self._local("local_step", self._hooks.call("local_step", local, batch, who), len(batch.weight))

    def _learner(self, orders: Sequence[Order]) -> Learner:
        context = self._context
        training = orders[0].training or context.training
        training = replace(training, batch_size=min(training.batch_size, 2))
        return learner(context.task, training, self._kernel, seed=context.seed, cohort=cohort_of(orders))

    def _aggregated(self, server: State, clients: Sequence[Client], orders: Sequence[Order], update: State) -> State:
        count = len(clients)
        arrivals = Arrivals(
            clients=tuple(client.id for client in clients),
            samples=torch.tensor([float(client.samples) for client in clients], dtype=torch.float64),
            staleness=torch.zeros(count, dtype=torch.int64),
            discount=torch.ones(count, dtype=torch.float64),
            update=update,
            payloads=tuple(order.payload for order in orders),
            population=len(self._context.task.participants),
        )
        work = self._hooks.call("server_work", self._context, server, arrivals)
        self._hooks.check(work is None or isinstance(work, Workload), "server_work", "a Workload or None", work)
        merged = self._hooks.state("aggregate", self._context, server, arrivals)
        for group, params in server.items():
            for name, tensor in params.items():
                found = merged.get(group, params).get(name)
                if found is None or (wrong := _unlike(found, tensor)):
                    self._hooks.refuse(
                        "aggregate", f"returns a state whose {group}: {name} {'is missing' if found is None else wrong}"
                    )
        return merged

    def _check_models(self, server: State, clients: Sequence[Client]) -> None:
        shapes = self._context.task.model.shapes
        models = [self._hooks.call("client_model", server, client) for client in clients]
        for model in models:
            self._hooks.check_params("client_model", model, shapes)
        context = self._context
        self._hooks.safely("client_model", evaluate, context.task, self._kernel, lambda some: [models[i] for i in some])
        if overrides(self._algorithm, "personalise"):
            adapted = self._hooks.safely(
                "personalise", personalised, self._algorithm.personalise, context.task, context.training,
                self._kernel, context.seed, [client.id for client in clients], 1, models,
            )  # fmt: skip
            for model in adapted:
                self._hooks.check_params("personalise", model, shapes)

    # ── what no run would notice ────────────────────────────────────────────────────────────────────
    def _check_upload(self, client: Client, payload: Payload, update: State, after: State) -> None:
        parts = self._parts(update, client.state, after)
        size, said = codecs.size(parts), self._algorithm.upload_bytes(self._context, payload, client)
        if said is not None and abs(said - size) > _FRAMING and (parts or said):
            self._hooks.refuse(
                "upload_bytes",
                f"says {said} bytes, and the message that upload makes has {size}; return that, or None if it depends "
                "on trained values",
            )
        for group in update if self._hooks.is_own(*_SENDERS) else ():
            rest = {name: params for name, params in update.items() if name != group}
            try:
                free = codecs.size(self._algorithm.upload(rest, client.state, after)) == size
            except Exception:
                free = False  # it is asked for
            if free:
                warn(
                    f"{self._hooks.kind}.upload leaves the group {group!r} of the update out, and aggregate is given "
                    "it all the same: what it carries costs no bytes. Send it there, and count it in upload_bytes, "
                    f"unless the server knows it anyway{self._hooks.place(*_SENDERS)}",
                    EdgesimWarning,
                    stacklevel=2,
                )

    def _parts(self, update: State, before: State, after: State) -> Sequence[Part]:
        parts = self._hooks.call("upload", update, before, after)
        fine = isinstance(parts, list | tuple) and all(isinstance(part, Part) for part in parts)
        self._hooks.check(fine, "upload", "a list of Parts", parts)
        found: Sequence[Part] = parts
        return found

    def _check_company(self, orders: Sequence[Order], together: State) -> None:
        for place, order in enumerate(orders):
            alone, _ = self._alone(order)
            for group, params in together.items():
                for name, tensor in params.items():
                    other = alone.get(group, {}).get(name)
                    if other is None or not _near(tensor[place].double(), other[0].double()):
                        hook = "local_train" if overrides(self._algorithm, "local_train") else "local_run"
                        self._hooks.refuse(
                            hook,
                            f"gives client {order.client} another {group}: {name} alone than together with others; "
                            "reduce over a tensor's own axes only, never over the first, and draw random numbers by "
                            "learner.uniforms",
                        )


def _unlike(found: Tensor, wanted: Tensor) -> str:
    """What is wrong with a tensor that is to be as another one was; "" if nothing is."""
    if found.shape != wanted.shape:
        return f"has shape {list(found.shape)}, not {list(wanted.shape)}"
    return "" if found.dtype == wanted.dtype else f"is {found.dtype}, not {wanted.dtype}"


def _near(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same but for rounding, and what hangs on last digits."""
    if one.shape != other.shape:
        return False
    return float((one - other).norm()) <= _COMPANY * max(float(one.norm()), float(other.norm()))
