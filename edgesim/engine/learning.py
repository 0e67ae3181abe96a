"""What the engine asks of learning: sizes and workloads as numbers, everything else by job number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a job asks of its device. Attributes: upload_bytes, None where training must tell; batch_size, where it
    had to be made smaller than the training's to fit, else 0."""

    download_bytes: int
    workload: Workload
    upload_bytes: int | None
    batch_size: int = 0


class Received(NamedTuple):
    """An update at the server: its job, client, staleness, and the schedule's factor for that."""

    job: int
    client: int
    staleness: int
    discount: float


class Loss(NamedTuple):
    """Of the model that a job's training began from, over the client's training samples: mean, and mean of squares."""

    mean: float
    mean_square: float


class Terms(NamedTuple):
    """What a schedule asks of a job beyond its algorithm's own way.

    Attributes: epochs, passes over the client's data; None: the training's. layers, how many of the model's layers
    are trained, the last ones; None: all. group, whose cohort the job belongs to, see `Merging`.
    """

    epochs: int | None = None
    layers: int | None = None
    group: int | None = None


USUAL: Final = Terms()


class Join(NamedTuple):
    """A group's model that is to be joined into the server's.

    Attributes: discount, for its staleness; updates, of clients in it since it became the server's last.
    """

    group: int
    discount: float
    updates: int


class Mix(NamedTuple):
    """What a client's own model becomes: a mean of `peers`' models as trained, itself among them in order of number.

    Attributes: weights, of the peers; they add to 1.
    """

    client: int
    peers: tuple[int, ...]
    weights: tuple[float, ...]


class Merging(NamedTuple):
    """What a schedule asks of an aggregation beyond a step of the server's model.

    Attributes:
        group: the updates step this group's own model, from what its cohort was sent; then the server's model is
            Σ weights[g] · (model of group g).
        weights: of the groups; they add to 1. Without them the group's model steps and the server's stays.
        spare: how many updates, the last ones, wait in the server's cache for the next aggregation.
        outdated: clients whose cached model becomes the server's as it is before this aggregation.
        joins: groups whose models, by the samples behind them, step the server's and become it.
        mixes: without a server: what becomes of the model of each client that has trained.
        clients: how many the group has; 0: all.
    """

    group: int | None = None
    weights: tuple[float, ...] = ()
    spare: int = 0
    outdated: tuple[int, ...] = ()
    joins: tuple[Join, ...] = ()
    mixes: tuple[Mix, ...] = ()
    clients: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the server's model stays as it is."""
        return self.group is not None and not self.weights


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

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> Sequence[Assignment]:
        """Fix what jobs start from that are numbered from `first_job`, one a client, and say what each costs.

        Jobs of equal cost may share one assignment. `terms`, one a client, where a schedule sets any.
        """
        ...

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        """What a job of this client would cost now, `upload_bytes` at its most; nothing is fixed or kept."""
        ...

    @property
    def layers(self) -> int:
        """How many layers the model has, as `Terms.layers` counts them."""
        ...

    @property
    def model_bytes(self) -> int:
        """Of a message with every value of the model."""
        ...

    def upload_bytes(self, job: int) -> int:
        """The size of a trained job's update; asked only where the assignment left it open."""
        ...

    def loss(self, job: int) -> Loss | None:
        """What the client of a job reports with its update, where the scenario makes it do so; trains if need be.

        None for a job that is over, or whose result nobody wanted.
        """
        ...

    def arrive(self, job: int, client: int) -> None:
        """The job's update reached the server."""
        ...

    def drop(self, job: int) -> None:
        """The job's result will never be asked for."""
        ...

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        """Merge updates; the server's version advances by one. What that costs the server; None: nothing."""
        ...

    def evaluate(self) -> dict[str, float]:
        """accuracy, accuracy_std, accuracy_worst10, accuracy_pooled, loss, density; of who is only tested, if anybody
        is, accuracy_unseen and accuracy_unseen_trained."""
        ...

    def scores(self) -> ClientScores:
        """Accuracy of each client's own model."""
        ...

    @property
    def samples(self) -> NDArray[np.int64]: ...

    @property
    def participants(self) -> NDArray[np.int64]:
        """The clients that may be given jobs, by number [n]; the others are only tested."""
        ...

    def close(self) -> None:
        """Let go of processes and files."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as plain data."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        ...
