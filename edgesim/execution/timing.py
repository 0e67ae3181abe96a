"""Learning that only costs: what a run takes in time, bytes and energy, without training a model.

Exact for algorithms whose costs do not depend on trained values. Sizes that do are taken at their most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from edgesim.algorithms.compressed import without_codec
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, overrides
from edgesim.devices.workload import NO_WORK, Workload
from edgesim.engine.learning import USUAL, Assignment, Loss, Merging, Received, Terms
from edgesim.execution import terms as on
from edgesim.execution.assigning import cost_alike
from edgesim.execution.attackers import Attackers, resting
from edgesim.execution.atwork import AtWork
from edgesim.execution.example import ExampleUpdate
from edgesim.execution.fitting import fitted
from edgesim.execution.store import FirstStates

NAME = "none (timing only)"
_UNKNOWN = -1
_MOST_KINDS = 65_536  # jobs of different costs that are remembered; where there are more, none recurs
_MEASURES = ("accuracy", "accuracy_std", "accuracy_worst10", "accuracy_pooled", "loss", "density")
_Figures: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class _Scores:
    accuracy: NDArray[np.float64]


class _Watched(Client):
    """A client that tells whether a hook looked at its version."""

    looks: ClassVar[int] = 0  # at the version of any of them

    @property
    def version(self) -> int:
        _Watched.looks += 1
        return self[3]


class TimingOnly(AtWork):
    """An algorithm's costs by its own hooks, for states that never change: those before any training.

    What is kept of a client is the number of its kind: clients whose jobs cost the same are of one kind. Where that
    goes by the version of the model, the hooks are asked anew for each job.
    """

    backend = NAME

    def __init__(self, algorithm: Algorithm, context: Context, attackers: Attackers | None = None) -> None:
        super().__init__(algorithm, context)
        self._resting = resting(attackers, context.task.clients)
        self._all_work = not self._resting.any()
        self._server_works: dict[int, Workload | None] = {}  # by how many updates are merged
        self._kinds: list[Assignment] = []
        self._number_of: dict[_Figures, int] = {}  # a kind's, by its figures
        self._bounded, self._example = False, ExampleUpdate(algorithm, context)
        self._version = 0
        self._first = FirstStates(lambda client: algorithm.init_client(context, client))
        samples = context.task.train.count
        if cost_alike(algorithm) and not context.shrink_batch:
            _, first, kind = np.unique(samples, return_index=True, return_inverse=True)
            numbers = np.array([self._number(self._assign(int(client), 0)[0]) for client in first])[kind]
        else:
            numbers = np.full(len(samples), _UNKNOWN)
        self._kind_of = numbers.astype(np.int32).data  # single numbers are read faster from the plain buffer

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        """What a job of this client would cost now."""
        return self._cost(client, self._version, terms)

    def _cost(self, client: int, version: int, terms: Terms) -> Assignment:
        if on.costs_alike(terms) != USUAL:
            return self._assign(client, version, terms)[0]
        number = self._kind_of[client]
        if number != _UNKNOWN:
            return self._kinds[number]
        assigned, lasts = self._assign(client, version)
        if lasts:
            self._kind_of[client] = self._number(assigned)
        return assigned

    def dispatch(self, job: int, client: int, version: int, terms: Terms = USUAL) -> Assignment:
        """What the job costs; of a free-rider, what is left of that."""
        assigned = self._cost(client, version, terms)
        return replace(assigned, workload=NO_WORK) if self._resting[client] else assigned

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        """The same for jobs numbered from `first_job`; kinds that are known are looked up."""
        numbers = [self._kind_of[client] for client in clients]
        if terms or not self._all_work or _UNKNOWN in numbers:
            return super().dispatch_all(first_job, clients, version, terms)
        return [self._kinds[number] for number in numbers]

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures must know."""
        name = type(without_codec(self._algorithm)).__name__
        notes = ["nothing was trained, so there are no accuracies"]
        if overrides(self._algorithm, "download", "workload"):
            what = "download, training and the server's own work" if self._serves else "download and training"
            notes.append(
                f"{what} are those of {name}'s states before any training: exact where these costs do not "
                "depend on what is trained"
            )
        if self._bounded:
            notes.append(
                f"uploads are upper bounds: their length depends on what {name} trains, so masks that the server does "
                "not know are counted as changed and in their longest form, one bit a weight"
            )
        return notes

    def upload_bytes(self, job: int) -> int:
        """Never asked: each assignment says it."""
        raise AssertionError(f"job {job}: its upload was sized at dispatch")

    def loss(self, job: int) -> Loss | None:
        """None: nothing is trained."""
        return None

    def arrive(self, job: int, client: int) -> None:
        """Nothing to keep."""

    def drop(self, job: int) -> None:
        """Nothing was kept."""

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        """Nothing to merge; what that would cost the server."""
        self._version += 1
        if not self._serves or not received:
            return None
        count = len(received)
        if count not in self._server_works:
            self._server_works[count] = self._server_work(count)
        return self._server_works[count]

    def close(self) -> None:
        """Nothing to let go of."""

    def evaluate(self) -> dict[str, float]:
        """Not a number, all of them."""
        return dict.fromkeys(_MEASURES, float("nan"))

    def scores(self) -> _Scores:
        return _Scores(np.full(len(self.samples), np.nan))

    def state(self) -> dict[str, Any]:
        return {"bounded": self._bounded, "version": self._version}

    def restore(self, state: dict[str, Any]) -> None:
        self._bounded, self._version = self._bounded or state["bounded"], state["version"]

    # ── costs ───────────────────────────────────────────────────────────────────────────────────────────
    def _assign(self, client: int, version: int, terms: Terms = USUAL) -> tuple[Assignment, bool]:
        """What a job costs, and whether it does in every version."""
        where, looks = on.under(self._context, terms), _Watched.looks
        who = _Watched(client, int(self.samples[client]), self._first.of(client), version)
        payload = self._algorithm.download(where, self._server, who)
        where, payload, batch = fitted(self._algorithm, where, payload, who)
        upload_bytes = on.upload_bytes(self._algorithm, where, payload, who)
        if upload_bytes is None:
            self._bounded = True
            upload_bytes = self._example.longest_bytes(payload, who, self._server)
        assigned = Assignment(
            download_bytes=payload.size_bytes,
            workload=self._algorithm.workload(where, payload, who),
            upload_bytes=upload_bytes,
            batch_size=batch,
        )
        return assigned, _Watched.looks == looks

    @cached_property
    def _serves(self) -> bool:
        """Whether the server computes more than sums."""
        return overrides(without_codec(self._algorithm), "server_work")

    def _server_work(self, count: int) -> Workload | None:
        """Of an aggregation of so many updates."""
        context = self._context
        first = Client(0, int(self.samples[0]), self._algorithm.init_client(context, 0))
        one = self._example.of(self._server).update
        update = {g: {n: t.expand(count, *t.shape) for n, t in params.items()} for g, params in one.items()}
        payload = self._algorithm.download(context, self._server, first).state
        ones = torch.ones(count, dtype=torch.float64)
        arrivals = Arrivals(
            clients=tuple(range(count)),
            samples=ones,
            staleness=torch.zeros(count, dtype=torch.int64),
            discount=ones,
            update=update,
            payloads=(payload,) * count,
            population=len(context.task.participants),
        )
        return self._algorithm.server_work(context, self._server, arrivals)

    def _number(self, assigned: Assignment) -> int:
        """Of the kind of this cost; unknown when there are too many kinds to remember."""
        figures = (assigned.download_bytes, assigned.upload_bytes, assigned.batch_size, *_figures(assigned.workload))
        if figures not in self._number_of:
            if len(self._kinds) == _MOST_KINDS:
                return _UNKNOWN
            self._number_of[figures] = len(self._kinds)
            self._kinds.append(assigned)
        return self._number_of[figures]


def _figures(work: Workload) -> _Figures:
    """All that a workload says."""
    found = [getattr(work, field.name) for field in fields(work)]
    return tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in found)
