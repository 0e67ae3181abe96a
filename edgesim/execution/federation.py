"""The learning side of a run, as the engine sees it: sizes, workloads and opaque results by job number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.algorithms.contract import Algorithm, Arrival, Context
from edgesim.engine.learning import Assignment, Received
from edgesim.execution.backend import Backend
from edgesim.execution.lazy import LazyTraining
from edgesim.execution.store import ClientStore
from edgesim.learning import codecs
from edgesim.learning.evaluation import Scores, evaluate
from edgesim.learning.local import Order
from edgesim.learning.tree import Params, State


class Federation:
    """An algorithm at work: the server's state, the clients' states and the training in between.

    A client's new state counts once its update has arrived, so that a job happens wholly or not at all.
    """

    def __init__(
        self, algorithm: Algorithm, context: Context, backend: Backend, clients: ClientStore | None = None
    ) -> None:
        self._algorithm, self._context, self._backend = algorithm, context, backend
        self._training = LazyTraining(backend)
        self._server = algorithm.init_server(context)
        self._clients = ClientStore() if clients is None else clients
        self._arrived: dict[int, int] = {}  # client → its job that arrived and whose state is not read yet
        self._scored: Scores | None = None
        kind = type(algorithm)
        self._stateful = kind.init_client is not Algorithm.init_client or kind.local_end is not Algorithm.local_end

    @property
    def backend(self) -> str:
        """How training is computed."""
        return self._backend.name

    def dispatch(self, job: int, client: int, version: int) -> Assignment:
        """Fix what a job starts from; what it costs follows from that alone."""
        state = self._state(client)
        if self._stateful and client not in self._clients:
            self._clients.put(client, state)
        payload = self._algorithm.download(self._context, self._server, state)
        self._training.place(Order(job, client, version, payload.state, state))
        return Assignment(
            download_bytes=payload.size_bytes,
            workload=self._algorithm.workload(self._context, state, int(self._context.task.train.count[client])),
            upload_bytes=self._algorithm.upload_bytes(self._context, payload, state),
        )

    def upload_bytes(self, job: int) -> int:
        """The length of a job's update on the wire; trains, since it depends on trained values."""
        order, trained = self._training.result(job)
        return codecs.size(self._algorithm.upload(trained.update, order.state, trained.state))

    def arrive(self, job: int, client: int) -> None:
        """The update has reached the server: from now on the client's new state counts."""
        if self._stateful:
            self._arrived[client] = job
            self._scored = None

    def drop(self, job: int) -> None:
        """The job was lost, or its update is not wanted."""
        self._training.drop(job)

    def aggregate(self, received: Sequence[Received]) -> None:
        """Merge updates into the server's state, in the order of their arrival."""
        arrivals = []
        for update in received:
            _, trained = self._training.result(update.job)
            arrivals.append(
                Arrival(
                    client=update.client,
                    samples=int(self._context.task.train.count[update.client]),
                    staleness=update.staleness,
                    discount=update.discount,
                    update=trained.update,
                )
            )
            self._settle(update.client)
        self._server = self._algorithm.aggregate(self._context, self._server, arrivals)
        self._scored = None
        for update in received:
            self._training.drop(update.job)

    def evaluate(self) -> dict[str, float]:
        """Every client's own model on its own test part, and the mean share of weights in use."""
        return self.scores().summary()

    def scores(self) -> Scores:
        """The same client by client; kept until a model changes."""
        if self._scored is None:
            self._scored = evaluate(self._context.task, self._backend.kernel, self._model)
        return self._scored

    @property
    def samples(self) -> NDArray[np.int64]:
        """Training samples of each client."""
        return self._context.task.train.count

    def close(self) -> None:
        """Let go of the backend's processes."""
        self._backend.close()

    def state(self) -> dict[str, Any]:
        """Everything that a restored run needs, as plain data."""
        return {
            "server": self._server,
            "clients": self._clients.state(),
            "arrived": dict(self._arrived),
            "training": self._training.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self._server, self._arrived = state["server"], state["arrived"]
        self._clients.restore(state["clients"])
        self._training.restore(state["training"])
        self._scored = None

    def _model(self, client: int) -> Params:
        return self._algorithm.client_model(self._server, self._state(client))

    def _state(self, client: int) -> State:
        self._settle(client)
        if client in self._clients:
            return self._clients.get(client)
        return self._algorithm.init_client(self._context, client)

    def _settle(self, client: int) -> None:
        """Read the state that a client's arrived job left."""
        if client in self._arrived:
            _, trained = self._training.result(self._arrived.pop(client))
            self._clients.put(client, trained.state)
