"""Assigning: what a job is to transfer and to compute, by the algorithm's own hooks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesim.algorithms.contract import Algorithm, Client, Context, Payload, overrides
from edgesim.devices.workload import NO_WORK, Workload
from edgesim.engine.learning import USUAL, Assignment, Terms
from edgesim.execution import terms as on
from edgesim.execution.attackers import Attackers, resting

_MOST = 4096  # assignments that are kept, to be handed out again


def cost_alike(algorithm: Algorithm) -> bool:
    """Whether jobs of clients with equally many samples cost the same, by the hooks that say what one costs."""
    return not overrides(algorithm, "init_client", "download", "downloads", "workload", "upload_bytes")


class Assigning:
    """Asks once for each kind of job where clients differ in samples only; jobs of equal cost share one assignment.

    Attributes: alike, whether they do.
    """

    def __init__(self, algorithm: Algorithm, attackers: Attackers | None, samples: NDArray[np.int64]) -> None:
        """`samples`, for training, of each client [client]."""
        self._algorithm = algorithm
        self._resting = resting(attackers, len(samples))
        self._samples = samples.data  # single numbers are read faster from the plain buffer
        self.alike = attackers is None and cost_alike(algorithm)
        self._known: dict[tuple[int, Terms, int], Assignment] = {}
        self._equal: dict[tuple[int, Workload, int | None, int], Assignment] = {}

    def of(
        self, where: Context, payload: Payload, who: Client, terms: Terms, batch: int, *, forecast: bool = False
    ) -> Assignment:
        """Of a job with this payload; `batch`, its batch size where that had to be made smaller, else 0. A `forecast`
        does not know who will train nothing."""
        kind = (who.samples, on.costs_alike(terms), batch)
        if self.alike and kind in self._known:
            return self._known[kind]
        rests = self._resting[who.id] and not forecast
        workload = NO_WORK if rests else self._algorithm.workload(where, payload, who)
        upload_bytes = on.upload_bytes(self._algorithm, where, payload, who)
        assigned = self._shared(payload.size_bytes, workload, upload_bytes, batch)
        if self.alike:
            self._known[kind] = assigned
        return assigned

    def _shared(self, download_bytes: int, workload: Workload, upload_bytes: int | None, batch: int) -> Assignment:
        equal = download_bytes, workload, upload_bytes, batch
        found = self._equal.get(equal)
        if found is None:
            found = Assignment(
                download_bytes=download_bytes, workload=workload, upload_bytes=upload_bytes, batch_size=batch
            )
            if len(self._equal) < _MOST:
                self._equal[equal] = found
        return found

    def of_alike(self, where: Context, payload: Payload, clients: Sequence[int]) -> list[Assignment]:
        """Of jobs on the usual terms, whose clients are all sent this payload."""
        found, samples, known = [], self._samples, self._known
        for client in clients:
            kind = (samples[client], USUAL, 0)
            if kind not in known:
                self.of(where, payload, Client(client, samples[client], {}), USUAL, 0)
            found.append(known[kind])
        return found
