"""The trial: every hook of somebody's own algorithm, once, before anything runs.

Two clients with a few samples each have one job, under the scenario's own model and solver. What a hook fails with,
or returns that it must not, is told with its name and where it stands, instead of by whoever meets it later. And
what no run would notice comes out: bytes that nobody pays for, clients that learn from their company, trees that are
changed in place.
"""

import copy
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from edgesim import references
from edgesim.algorithms.contract import STEPS, Algorithm, Arrivals, Client, Context, Payload, Peer, home, overrides
from edgesim.algorithms.rules import Average
from edgesim.devices.workload import Workload
from edgesim.errors import EdgesimWarning, ScenarioError
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
from edgesim.learning.tree import State

_SAMPLES = (4, 3)  # of each client: mini-batches of two and of one
_OURS = "edgesim."  # how the names of our own modules begin
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


def _small(context: Context) -> Context:
    task = context.task
    clients = range(min(len(_SAMPLES), task.clients))
    parts = [task.train.of(client)[:samples] for client, samples in zip(clients, _SAMPLES, strict=False)]
    parts.sort(key=len, reverse=True)  # as clients that train together are
    tests = [task.test.of(client)[:2] for client in clients]
    small: Task = replace(task, train=Shards.of_parts(parts), test=Shards.of_parts(tests))
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
        self._kind = type(algorithm).__name__
        self._variables = _variables(type(algorithm))

    def check(self, context: Context) -> None:
        self._call("check", context)

    def run(self) -> None:
        context, server = self._context, self._state("init_server", self._context)
        clients = [
            Client(client, int(samples), self._state("init_client", context, client))
            for client, samples in enumerate(context.task.train.count.tolist())
        ]
        payloads = [self._dispatched(server, client) for client in clients]
        orders = [
            Order(client.id, client.id, 0, payload.state, client.state, payload.training)
            for client, payload in zip(clients, payloads, strict=True)
        ]
        if all(order.training == orders[0].training for order in orders):
            update, after = self._trained(orders)
            if self._is_own("local_train", *STEPS):
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
            self._state("mix", context, peers[0], peers, torch.full((len(peers),), share, dtype=torch.float64))
        for name, value in _variables(type(self._algorithm)).items():
            if value != self._variables.get(name, value):
                raise ScenarioError(
                    f"{self._kind}.{name} has changed in a trial of all hooks: what an algorithm remembers must lie in "
                    "the states of server and clients, or another run, and one that is resumed, would find it"
                )

    # ── hook by hook ────────────────────────────────────────────────────────────────────────────────
    def _dispatched(self, server: State, client: Client) -> Payload:
        context = self._context
        payload = self._call("download", context, server, client)
        self._check(isinstance(payload, Payload), "download", "a Payload", payload)
        self._check_state("download", payload.state)
        found: Payload = payload
        self._check_bytes("download", "size_bytes", payload.size_bytes)
        work = self._call("workload", context, payload, client)
        self._check(isinstance(work, Workload), "workload", "a Workload, as local_work makes one", work)
        size = self._call("upload_bytes", context, payload, client)
        if size is not None:
            self._check_bytes("upload_bytes", "what it returns", size)
        return found

    def _trained(self, orders: Sequence[Order]) -> tuple[State, State]:
        """What clients make of orders, as the backend has them do, with what they keep."""
        who = self._learner(orders)
        payload, before = (tree.stack([getattr(order, part) for order in orders]) for part in ("payload", "state"))
        if overrides(self._algorithm, "local_train"):
            returned = self._call("local_train", payload, before, who)
            hook = "local_train"
        else:
            local = self._local("local_start", self._call("local_start", payload, before), len(orders))
            watched = self._algorithm
            if overrides(watched, "local_step") and hasattr(watched, "__dict__"):
                watched = copy.copy(watched)
                object.__setattr__(watched, "local_step", self._watched_step)
            local = self._local("local_run", self._call("local_run", local, who, of=watched), len(orders))
            returned = self._call("local_end", payload, before, local, who)
            hook = "local_end"
        pair = isinstance(returned, tuple) and len(returned) == 2
        self._check(pair, hook, "two states, an update and what the client keeps", returned)
        update, after = returned
        for state in (update, after):
            self._check_state(hook, state, clients=len(orders))
        if not overrides(self._algorithm, "upload"):
            self._check(
                "params" in update, hook, "an update with params, unless upload and aggregate are written, too", update
            )
        if after.keys() != before.keys():
            self._refuse(
                hook,
                f"lets the client keep the groups {sorted(after)}, and init_client begins with {sorted(before)}: "
                "let init_client return all of them, since clients of both kinds train together",
            )
        return update, after

    def _alone(self, order: Order) -> tuple[State, State]:
        return self._trained([order])

    def _local(self, hook: str, local: Any, clients: int) -> State:
        self._check_state(hook, local, clients=clients)
        self._check("params" in local, hook, "a state with params, which the solver trains", local)
        return dict(local)

    def _watched_step(self, local: State, batch: Batch, who: Learner) -> State:
        return self._local("local_step", self._call("local_step", local, batch, who), len(batch.weight))

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
            population=self._context.task.clients,
        )
        work = self._call("server_work", self._context, server, arrivals)
        self._check(work is None or isinstance(work, Workload), "server_work", "a Workload or None", work)
        given = [tensor for params in server.values() for tensor in params.values()]
        before = [tensor._version for tensor in given]
        merged = self._state("aggregate", self._context, server, arrivals)
        if [tensor._version for tensor in given] != before:
            self._refuse(
                "aggregate",
                "changes the server's tensors in place, and clients under way were sent them; all trees are values: "
                "write w + step, or change a clone()",
            )
        for group, params in server.items():
            for name, tensor in params.items():
                found = merged.get(group, params).get(name)
                if found is None or found.shape != tensor.shape:
                    shape = "is missing" if found is None else f"has shape {list(found.shape)}"
                    self._refuse(
                        "aggregate", f"returns a state whose {group}: {name} {shape}, not {list(tensor.shape)}"
                    )
        return merged

    def _check_models(self, server: State, clients: Sequence[Client]) -> None:
        shapes = self._context.task.model.shapes
        models = [self._call("client_model", server, client) for client in clients]
        for model in models:
            self._check_params("client_model", model, shapes)
        context = self._context
        self._safely("client_model", evaluate, context.task, self._kernel, lambda some: [models[i] for i in some])
        if overrides(self._algorithm, "personalise"):
            adapted = self._safely(
                "personalise", personalised, self._algorithm.personalise, context.task, context.training,
                self._kernel, context.seed, [client.id for client in clients], 1, models,
            )  # fmt: skip
            for model in adapted:
                self._check_params("personalise", model, shapes)

    # ── what no run would notice ────────────────────────────────────────────────────────────────────
    def _check_upload(self, client: Client, payload: Payload, update: State, after: State) -> None:
        parts = self._parts(update, client.state, after)
        size, said = codecs.size(parts), self._algorithm.upload_bytes(self._context, payload, client)
        if said is not None and abs(said - size) > _FRAMING and (parts or said):
            self._refuse(
                "upload_bytes",
                f"says {said} bytes, and the message that upload makes has {size}; return that, or None if it depends "
                "on trained values",
            )
        for group in update:
            rest = {name: params for name, params in update.items() if name != group}
            try:
                free = codecs.size(self._algorithm.upload(rest, client.state, after)) == size
            except Exception:
                free = False  # it is asked for
            if free and self._is_own(*_SENDERS):
                warn(
                    f"{self._kind}.upload leaves the group {group!r} of the update out, and aggregate is given it all "
                    "the same: what it carries costs no bytes. Send it there, and count it in upload_bytes, unless the "
                    f"server knows it anyway{self._place(*_SENDERS)}",
                    EdgesimWarning,
                    stacklevel=2,
                )

    def _parts(self, update: State, before: State, after: State) -> Sequence[Part]:
        parts = self._call("upload", update, before, after)
        fine = isinstance(parts, list | tuple) and all(isinstance(part, Part) for part in parts)
        self._check(fine, "upload", "a list of Parts", parts)
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
                        self._refuse(
                            hook,
                            f"gives client {order.client} another {group}: {name} alone than together with others; "
                            "reduce over a tensor's own axes only, never over the first, and draw random numbers by "
                            "learner.uniforms",
                        )

    # ── returns ─────────────────────────────────────────────────────────────────────────────────────
    def _state(self, hook: str, *given: Any) -> State:
        state = self._call(hook, *given)
        self._check_state(hook, state)
        return dict(state)

    def _check_state(self, hook: str, state: Any, clients: int | None = None) -> None:
        wanted = "a state, groups of tensors such as {'params': {…}}"
        self._check(isinstance(state, dict) and all(isinstance(p, dict) for p in state.values()), hook, wanted, state)
        for group, params in state.items():
            for name, tensor in params.items():
                if not isinstance(tensor, Tensor):
                    what = type(tensor).__name__
                    self._refuse(hook, f"returns a state whose {group}: {name} is a {what}; write torch.tensor(…)")
                if clients is not None and (not tensor.dim() or len(tensor) != clients):
                    self._refuse(
                        hook,
                        f"returns {group}: {name} of shape {list(tensor.shape)} for {clients} clients; on the device "
                        "every tensor is [client, …]",
                    )
                if group == "params" and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                    self._refuse(hook, f"returns {group}: {name} with values that are infinite or no numbers")

    def _check_params(self, hook: str, params: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        wanted = f"a model, its tensors {', '.join(shapes)}"
        self._check(isinstance(params, dict) and set(params) == set(shapes), hook, wanted, params)
        for name, shape in shapes.items():
            if tuple(params[name].shape) != tuple(shape):
                self._refuse(hook, f"returns {name} of shape {list(params[name].shape)}; {list(shape)} is wanted")

    def _check_bytes(self, hook: str, what: str, size: Any) -> None:
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 0:
            self._refuse(hook, f"says {size!r} bytes ({what}); a whole number from 0 on is wanted")

    def _check(self, fine: bool, hook: str, wanted: str, got: Any) -> None:
        if not fine:
            self._refuse(hook, f"must return {wanted}; it returned {got!r:.80}")

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────
    def _call(self, hook: str, *given: Any, of: Algorithm | None = None) -> Any:
        return self._safely(hook, getattr(of or self._algorithm, hook), *given)

    def _safely(self, hook: str, call: Callable[..., Any], *given: Any) -> Any:
        try:
            return call(*given)
        except ScenarioError:
            raise
        except (Exception, SystemExit) as error:
            frames = traceback.extract_tb(error.__traceback__)
            files = {str(path) for path, _ in references.files()}
            own = [frame for frame in frames if frame.filename in files]
            where = f" ({own[-1].name}, {own[-1].filename}:{own[-1].lineno})" if own else self._place(hook)
            stacked = isinstance(self._kernel, Vmap)
            hint = "; if vmap cannot take the model, write execution.backend: loop" * stacked
            raise ScenarioError(f"{self._kind}.{hook} failed: {type(error).__name__}: {error}{where}{hint}") from error

    def _is_own(self, *hooks: str) -> bool:
        """Whether any of these is the user's."""
        return any(not home(type(self._algorithm), hook).__module__.startswith(_OURS) for hook in hooks)

    def _refuse(self, hook: str, what: str) -> NoReturn:
        raise ScenarioError(f"{self._kind}.{hook} {what}{self._place(hook)}")

    def _place(self, *hooks: str) -> str:
        """Where the first of these stands that is the user's own."""
        files = {path for path, _ in references.files()}
        for hook in hooks:
            code = getattr(getattr(type(self._algorithm), hook), "__code__", None)
            if code is not None and Path(code.co_filename) in files:
                return f" ({code.co_filename}:{code.co_firstlineno})"
        return ""


def _near(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same but for rounding, and what hangs on last digits."""
    if one.shape != other.shape:
        return False
    return float((one - other).norm()) <= _COMPANY * max(float(one.norm()), float(other.norm()))


def _variables(kind: type) -> dict[str, str]:
    """What can be changed in a class of the user's own, as it is printed."""
    return {
        name: repr(value)
        for base in kind.__mro__
        if not base.__module__.startswith(_OURS)
        for name, value in vars(base).items()
        if isinstance(value, list | dict | set) and not name.startswith("__")
    }
