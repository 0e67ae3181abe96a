"""History: what a selector may know of each client's past."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.job import Job
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import scalars


class History:
    """Arrays [client], to be read only.

    Attributes:
        duration_ns: from dispatch to arrival of the last job that arrived; -1 before one did.
        last_version: the server's version when the client was last chosen; -1 before it was.
        dispatched, aggregated, lost, discarded: numbers of jobs.
    """

    def __init__(self, ledger: Ledger) -> None:
        clients = len(ledger.dispatched)
        self.duration_ns: NDArray[np.int64] = np.full(clients, -1, np.int64)
        self.last_version: NDArray[np.int32] = np.full(clients, -1, np.int32)
        self.dispatched, self.aggregated = ledger.dispatched, ledger.aggregated
        self.lost, self.discarded = ledger.lost, ledger.discarded
        self._duration_ns, self._last_version = scalars(self.duration_ns), scalars(self.last_version)

    def dispatch(self, clients: Sequence[int], version: int) -> None:
        """These clients have been chosen."""
        for client in clients:
            self._last_version[client] = version

    def arrive(self, job: Job, now_ns: int) -> None:
        """The job's update has arrived."""
        self._duration_ns[job.client] = now_ns - job.dispatched_ns

    def state(self) -> dict[str, Any]:
        """As plain data; numbers of jobs are the ledger's."""
        return {"duration_ns": self.duration_ns.copy(), "last_version": self.last_version.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.duration_ns[:], self.last_version[:] = state["duration_ns"], state["last_version"]
