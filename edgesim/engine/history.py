"""History: what a selector may know of each client's past."""

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.job import Job, SmoothJobs
from edgesim.engine.learning import Loss, Received
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import MANY, scalars

_COLUMNS = ("duration_ns", "last_version", "dispatched_ns", "arrived")


class History:
    """Arrays [client], to be read only.

    Attributes:
        version: the server's, that is aggregations so far.
        duration_ns: from dispatch to arrival of the last job that arrived; -1 before one did.
        last_version: the server's version when the client was last chosen; -1 before it was.
        dispatched_ns: when that was; -1 before.
        arrived: how many of its updates have arrived.
        dispatched, aggregated, lost, discarded: numbers of jobs.
    """

    def __init__(self, ledger: Ledger, loss: Callable[[int], Loss | None] | None = None) -> None:
        """`loss` of a job; it may train the job's client, and is asked only for what somebody reads."""
        clients = len(ledger.dispatched)
        self.version = 0
        self.duration_ns: NDArray[np.int64] = np.full(clients, -1, np.int64)
        self.last_version: NDArray[np.int32] = np.full(clients, -1, np.int32)
        self.dispatched_ns: NDArray[np.int64] = np.full(clients, -1, np.int64)
        self.arrived: NDArray[np.int32] = np.zeros(clients, np.int32)
        self.dispatched, self.aggregated = ledger.dispatched, ledger.aggregated
        self.lost, self.discarded = ledger.lost, ledger.discarded
        self._duration_ns, self._last_version = scalars(self.duration_ns), scalars(self.last_version)
        self._dispatched_ns, self._arrived = scalars(self.dispatched_ns), scalars(self.arrived)
        self._heard = array("i")  # clients, in the order of their first arrivals
        self._loss_of = loss
        self._unread: dict[int, int] = {}  # client → its last job that arrived, where the loss is not read yet
        self._losses = np.full((2, clients if loss else 0), np.nan)  # mean, mean of squares

    def heard(self) -> NDArray[np.int64]:
        """The clients of which an update has arrived, in the order of their first ones [n]."""
        return np.array(self._heard, np.int64)

    def is_new(self, client: int) -> bool:
        """Whether no update of this one has arrived."""
        return bool(self._arrived[client] == 0)

    def loss(self, client: int) -> Loss | None:
        """That of the client's last update that arrived; None before one did. Only for selectors that want it.

        If the client's training still waits, it is done now, with all that it is trained together with.
        """
        self._read([client])
        mean, mean_square = self._losses[:, client].tolist()
        return None if np.isnan(mean) else Loss(mean, mean_square)

    def mean_square_loss(self, clients: NDArray[np.int64]) -> NDArray[np.float64]:
        """That of the last update of each [n]; NaN before one arrived. Only for selectors that want it."""
        self._read([client for client in clients.tolist() if client in self._unread] if self._unread else ())
        found: NDArray[np.float64] = self._losses[1, clients]
        return found

    # ── what the coordinator tells it ───────────────────────────────────────────────────────────────
    def dispatch(self, clients: Sequence[int], version: int, now_ns: int) -> None:
        """These clients have been chosen."""
        if len(clients) < MANY:
            for client in clients:
                self._last_version[client] = version
                self._dispatched_ns[client] = now_ns
        else:
            at = np.array(clients)
            self.last_version[at], self.dispatched_ns[at] = version, now_ns

    def arrive_together(self, jobs: SmoothJobs) -> None:
        """`arrive` of jobs of as many clients, each at its own end."""
        clients = jobs.client
        self._heard.extend(clients[self.arrived[clients] == 0].tolist())
        self.arrived[clients] += 1
        self.duration_ns[clients] = jobs.edges_ns[-1] - jobs.edges_ns[0]
        if self._loss_of is not None:
            self._unread.update(zip(clients.tolist(), jobs.number.tolist(), strict=True))

    def arrive(self, job: Job, now_ns: int) -> None:
        """The job's update has arrived."""
        if not self._arrived[job.client]:
            self._heard.append(job.client)
        self._arrived[job.client] += 1
        self._duration_ns[job.client] = now_ns - job.dispatched_ns
        if self._loss_of is not None:
            self._unread[job.client] = job.id

    def aggregate(self, received: Sequence[Received], version: int) -> None:
        """These updates are about to be merged, which trains them all, and makes this version."""
        if self._unread:
            self._read([update.client for update in received])
        self.version = version

    def _read(self, clients: Sequence[int]) -> None:
        for client in clients:
            job = self._unread.pop(client, None)
            if job is not None and self._loss_of is not None and (loss := self._loss_of(job)) is not None:
                self._losses[:, client] = loss

    def state(self) -> dict[str, Any]:
        """As plain data; numbers of jobs are the ledger's."""
        return {
            **{name: getattr(self, name).copy() for name in _COLUMNS},
            "version": self.version,
            "heard": self._heard.tolist(),
            "unread": dict(self._unread),
            "losses": self._losses.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        for name in _COLUMNS:
            getattr(self, name)[:] = state[name]
        self.version, self._heard = state["version"], array("i", state["heard"])
        self._unread, self._losses[:] = dict(state["unread"]), state["losses"]
