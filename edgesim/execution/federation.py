"""The learning side of a run, as the engine sees it: sizes, workloads and opaque results by job number."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, models_of, overrides, payloads_of
from edgesim.algorithms.reporting import REPORT, without_report
from edgesim.devices.workload import Workload
from edgesim.engine.learning import USUAL, Assignment, Loss, Merging, Received, Terms
from edgesim.execution import terms as on
from edgesim.execution.assigning import Assigning
from edgesim.execution.attackers import Attackers
from edgesim.execution.atwork import AtWork
from edgesim.execution.backend import Backend, told
from edgesim.execution.example import ExampleUpdate
from edgesim.execution.fitting import fitted
from edgesim.execution.groups import Groups
from edgesim.execution.lazy import LazyTraining
from edgesim.execution.scoring import Scoring
from edgesim.execution.store import ClientStore, FirstStates
from edgesim.learning import codecs
from edgesim.learning.evaluation import Scores
from edgesim.learning.local import Order, updates_of
from edgesim.learning.tree import Params, State


class Federation(AtWork):
    """An algorithm at work: the server's state, the clients' states and the training in between.

    A client's new state counts once its update has arrived, so that a job happens wholly or not at all.

    Class attributes: groups, what models there are beside the server's.
    """

    groups: ClassVar[type[Groups]] = Groups

    def __init__(
        self,
        algorithm: Algorithm,
        context: Context,
        backend: Backend,
        clients: ClientStore | None = None,
        attackers: Attackers | None = None,
    ) -> None:
        super().__init__(algorithm, context)
        self._backend, self._training = backend, LazyTraining(backend)
        self._groups = self.groups(self._server)
        self._clients = ClientStore() if clients is None else clients
        self._first = FirstStates(lambda client: algorithm.init_client(context, client))
        self._arrived: dict[int, int] = {}  # client → its job that arrived and whose state is not read yet
        self._attackers, self._seen = attackers, _NOTHING  # what attackers have seen of the honest
        self._version = 0
        self._samples = context.task.train.count.astype(np.float64)
        self._stateful = overrides(algorithm, "init_client", "local_end", "local_train")
        self._example = ExampleUpdate(algorithm, context)
        self._assigning = Assigning(algorithm, attackers, context.task.train.count)
        self._sent: tuple[State | None, Payload | None] = None, None  # to clients that are alike, of which server
        self._alike = self._assigning.alike and not self._stateful and not context.shrink_batch
        self._scoring = Scoring(algorithm, context, backend)

    @property
    def backend(self) -> str:
        """How training is computed."""
        return told(self._backend)

    def dispatch(self, job: int, client: int, version: int, terms: Terms = USUAL) -> Assignment:
        """Fix what a job starts from; what it costs follows from that alone."""
        who, where = self._who(client, version), on.under(self._context, terms)
        server = self._server if terms.group is None else self._groups.send(terms.group, self._server)
        return self._begin(job, version, who, where, self._algorithm.download(where, server, who), terms)

    def _begin(self, job: int, version: int, who: Client, where: Context, payload: Payload, terms: Terms) -> Assignment:
        where, payload, batch = fitted(self._algorithm, where, payload, who)
        self._training.place([self._ordered(job, version, who, where, payload)])
        return self._assigning.of(where, payload, who, terms, batch)

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        """The same for jobs numbered from `first_job`; where clients differ in samples only, all get one payload."""
        if terms:
            return super().dispatch_all(first_job, clients, version, terms)
        if not self._alike:
            each, where = [self._who(client, version) for client in clients], self._context
            payloads = payloads_of(self._algorithm, where, self._server, each)
            begun = enumerate(zip(each, payloads, strict=True), first_job)
            return [self._begin(job, version, who, where, payload, USUAL) for job, (who, payload) in begun]
        server, payload = self._sent
        if server is not self._server or payload is None:
            payload = self._algorithm.download(self._context, self._server, self._who(clients[0]))
            self._sent = self._server, payload
        same = version, payload.state, _NOTHING, payload.training
        self._training.place(Order(job, client, *same) for job, client in enumerate(clients, first_job))
        return self._assigning.of_alike(self._context, payload, clients)

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        """What a job would cost now; an upload whose size training must tell is taken at its most."""
        who, where, payload, batch = self._offered(client, on.under(self._context, terms))
        assigned = self._assigning.of(where, payload, who, terms, batch, forecast=True)
        if assigned.upload_bytes is not None:
            return assigned
        most = self._example.longest_bytes(payload, who, self._server, self._version)
        return replace(assigned, upload_bytes=most)

    def upload_bytes(self, job: int) -> int:
        """The length of a job's update on the wire; trains, since it depends on trained values."""
        order, trained = self._training.result(job)
        return codecs.size(self._algorithm.upload(trained.update, order.state, trained.state))

    def loss(self, job: int) -> Loss | None:
        """What the job's client reports with its update; trains if need be. None for a job that is over."""
        if job not in self._training:
            return None
        _, trained = self._training.result(job)
        return Loss(*trained.update[REPORT]["loss"].tolist())

    def arrive(self, job: int, client: int) -> None:
        """The update has reached the server: from now on the client's new state counts."""
        if self._stateful:
            self._arrived[client] = job
            self._scoring.forget()

    def drop(self, job: int) -> None:
        """The job was lost, or its update is not wanted."""
        self._training.drop(job)

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        """Merge updates into the server's state, in the order of their arrival; what that costs the server."""
        merging = merging or Merging()
        clients = [update.client for update in received]
        for client in clients if self._arrived else ():
            self._settle(client)
        orders, results = self._training.take([update.job for update in received])
        arrivals = Arrivals(
            clients=tuple(clients),
            samples=torch.from_numpy(self._samples[clients]),
            staleness=torch.from_numpy(np.array([update.staleness for update in received])),
            discount=torch.from_numpy(np.array([update.discount for update in received], np.float64)),
            update=without_report(updates_of(results)),
            payloads=tuple(order.payload for order in orders),
            population=merging.clients or len(self._context.task.participants),
            spare=merging.spare,
            outdated=merging.outdated,
        )
        if self._attackers is not None:
            model = self._context.task.model
            shapes = {name: shape for name, shape in model.shapes.items() if name not in model.statistics}
            arrivals, self._seen = self._attackers.strike(arrivals, self._seen, self._version, shapes)
        server = self._groups.stepped(merging, self._server)
        cost = self._algorithm.server_work(self._context, server, arrivals)
        merged = self._algorithm.aggregate(self._context, server, arrivals)
        self._server = self._groups.blended(merging, merged, self._server)
        self._version += 1
        self._scoring.forget()
        return cost

    def evaluate(self) -> dict[str, float]:
        """Every client's own model on its own test part, and the mean share of weights in use; attackers and who never
        trains apart, and the latter's accuracy by itself."""
        scores, unseen = self.scores(), self._context.task.unseen
        counted = np.ones(len(self._samples), bool) if self._attackers is None else ~self._attackers.hostile
        if not len(unseen):
            return scores.summary() if counted.all() else scores.of(counted).summary()
        counted[unseen] = False
        return {
            **scores.of(counted).summary(),
            "accuracy_unseen": float(scores.accuracy[unseen].mean()),
            "accuracy_unseen_trained": self._once_trained(unseen.tolist(), scores),
        }

    def scores(self) -> Scores:
        """The same client by client; kept until a model changes."""
        return self._scoring.scores(self._version, self._base_models, self._common_model())

    def close(self) -> None:
        """Let go of the backend's processes."""
        self._backend.close()

    def state(self) -> dict[str, Any]:
        """Everything that a restored run needs, as plain data."""
        return {
            "server": self._server,
            "groups": self._groups.state(),
            "version": self._version,
            "seen": self._seen,
            "clients": self._clients.state(),
            "arrived": dict(self._arrived),
            "training": self._training.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self._server, self._arrived, self._version = state["server"], state["arrived"], state["version"]
        self._seen = state["seen"]
        self._groups.restore(state["groups"])
        self._clients.restore(state["clients"])
        self._training.restore(state["training"])
        self._scoring.forget()

    def _base_models(self, clients: Sequence[int]) -> Sequence[Params]:
        return models_of(self._algorithm, self._server, [self._who(client) for client in clients])

    def _common_model(self) -> Params | None:
        """What `_base_models` are for all clients, where they are the same."""
        return None if overrides(self._algorithm, "client_model", "client_models") else self._server["params"]

    def _once_trained(self, clients: list[int], scores: Scores) -> float:
        """Mean accuracy of some clients after a job of each, of which only what it would keep of it counts."""
        if self._common_model() is not None or not overrides(self._algorithm, "local_end", "local_train"):
            return float(scores.accuracy[clients].mean())  # nothing is kept, or nothing that counts
        return float(self._scoring.once_trained(clients, self._version, self._order, self._models_with).mean())

    def _order(self, client: int) -> Order:
        """A job's training, of a job that there is not."""
        who, where, payload, _ = self._offered(client, self._context)
        return self._ordered(self._version, self._version, who, where, payload)

    def _offered(self, client: int, where: Context) -> tuple[Client, Context, Payload, int]:
        """What a client would be sent now, and `fitted` to its device."""
        who = self._who(client, self._version)
        return who, *fitted(self._algorithm, where, self._algorithm.download(where, self._server, who), who)

    def _ordered(self, job: int, version: int, who: Client, where: Context, payload: Payload) -> Order:
        training = payload.training or (None if where is self._context else where.training)
        return Order(job, who.id, version, payload.state, who.state, training)

    def _models_with(self, clients: Sequence[int], states: Sequence[State]) -> Sequence[Params]:
        who = [self._who(client)._replace(state=state) for client, state in zip(clients, states, strict=True)]
        return models_of(self._algorithm, self._server, who)

    def _who(self, client: int, version: int = 0) -> Client:
        return Client(client, int(self._context.task.train.count[client]), self._state(client), version)

    def _state(self, client: int) -> State:
        self._settle(client)
        if client in self._clients:
            return self._clients.get(client)
        return self._first.of(client)

    def _settle(self, client: int) -> None:
        """Read the state that a client's arrived job left."""
        if client in self._arrived:
            _, trained = self._training.result(self._arrived.pop(client))
            if trained.is_new:
                self._clients.put(client, trained.state)


_NOTHING: State = {}
