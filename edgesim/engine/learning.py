"""What the engine asks of learning: sizes and workloads as numbers, everything else by job number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a job asks of its device. Attributes: upload_bytes, None where training must tell."""

    download_bytes: int
    workload: Workload
    upload_bytes: int | None


class Received(NamedTuple):
    """An update at the server: its job, client, staleness, and the schedule's factor for that."""

    job: int
    client: int
    staleness: int
    discount: float


class ClientScores(Protocol):
    """Results client by client."""

    @property
    def accuracy(self) -> NDArray[np.float64]: ...


class Learning(Protocol):
    """The learning side of a run (execution/federation.py); a fake one makes the engine testable alone."""

    @property
    def backend(self) -> str:
        """How training is computed; recorded, since last digits depend on it."""
        ...

    def dispatch_all(self, first_job: int, clients: Sequence[int], version: int) -> Sequence[Assignment]:
        """Fix what jobs start from that are numbered from `first_job`, one a client, and say what each costs.

        Jobs of equal cost may share one assignment.
        """
        ...

    def upload_bytes(self, job: int) -> int:
        """The size of a trained job's update; asked only where the assignment left it open."""
        ...

    def arrive(self, job: int, client: int) -> None:
        """The job's update reached the server."""
        ...

    def drop(self, job: int) -> None:
        """The job's result will never be asked for."""
        ...

    def aggregate(self, received: Sequence[Received]) -> Workload | None:
        """Merge updates; the server's version advances by one. What that costs the server; None: nothing."""
        ...

    def evaluate(self) -> dict[str, float]:
        """accuracy, accuracy_std, accuracy_worst10, accuracy_pooled, loss, density."""
        ...

    def scores(self) -> ClientScores:
        """Accuracy of each client's own model."""
        ...

    @property
    def samples(self) -> NDArray[np.int64]: ...

    def close(self) -> None:
        """Let go of processes and files."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as plain data."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        ...
