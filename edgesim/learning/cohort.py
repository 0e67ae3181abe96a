"""Cohort: who trains together, and the random streams of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesim import streams


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Who trains together. Attributes: clients, jobs, versions of the server they were sent: int64 [client]."""

    clients: NDArray[np.int64]
    jobs: NDArray[np.int64]
    versions: NDArray[np.int64]

    def keys(self, seed: int, purpose: str) -> NDArray[np.uint64]:
        """Of each client's random stream for a purpose, [client]."""
        return streams.fold(streams.fold(streams.key(seed, purpose), self.clients), self.jobs)

    def first(self, clients: int) -> "Cohort":
        return Cohort(clients=self.clients[:clients], jobs=self.jobs[:clients], versions=self.versions[:clients])
