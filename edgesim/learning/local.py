"""The local update of a cohort: one pure function from orders to what the clients send and keep."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from edgesim.learning import tree
from edgesim.learning.cohort import Cohort
from edgesim.learning.flat import Rows, flattened, gathered, row, stacked
from edgesim.learning.kernels import Kernel
from edgesim.learning.placement import Crossing
from edgesim.learning.task import Task
from edgesim.learning.training import Learner, Training, learner
from edgesim.learning.tree import Params, State


class ClientSide(Protocol):
    """The device hooks of an algorithm; all tensors carry a client axis."""

    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]: ...


class Order(NamedTuple):
    """One client's training as fixed at dispatch: nothing that happens later can change its result.

    Attributes: payload, what the client was sent; state, its own; training, the local solver, where it is
    not the run's.
    """

    job: int
    client: int
    version: int
    payload: State
    state: State
    training: Training | None = None

    def plain(self) -> tuple[Any, ...]:
        """The order as plain data."""
        return (*self[:-1], None if self.training is None else vars(self.training))

    @classmethod
    def restored(cls, plain: tuple[Any, ...]) -> "Order":
        """The order that `plain` was taken of."""
        *fixed, training = plain
        return cls._make((*fixed, None if training is None else Training(**training)))


class Trained(NamedTuple):
    """What a client sends, and the state it keeps if that arrives."""

    update: State
    state: State

    @property
    def is_new(self) -> bool:
        """Whether the state may be another than before."""
        return True


class Unmoved(Trained):
    """The same where the state is what it was."""

    @property
    def is_new(self) -> bool:
        return False


class Row:
    """A client's `Trained` as a row of its cohort's, taken apart only when it is looked at."""

    __slots__ = ("cohort", "row")

    def __init__(self, cohort: Trained, row: int) -> None:
        self.cohort, self.row = cohort, row

    @property
    def update(self) -> State:
        return row(self.cohort.update, self.row)

    @property
    def state(self) -> State:
        return row(self.cohort.state, self.row)

    @property
    def is_new(self) -> bool:
        return self.cohort.is_new

    def __iter__(self) -> Iterator[State]:
        return iter((self.update, self.state))


Result: TypeAlias = Trained | Row


def local_update(
    algorithm: ClientSide, task: Task, training: Training, kernel: Kernel, seed: int, orders: Sequence[Order]
) -> list[Result]:
    """Train a cohort where the task's data are; the results, on the host, are in the order of the orders."""
    results: dict[int, Result] = {}
    for squad in squads(task, training, orders):
        who = learner(task, squad.training, kernel, seed=seed, cohort=cohort_of(squad.orders))
        whole = trained(algorithm, who, squad.orders)
        results |= {place: Row(whole, row) for row, place in enumerate(squad.places)}
    return [results[place] for place in range(len(orders))]


@dataclass(frozen=True, eq=False)
class Squad:
    """Orders of one solver, which train together, by falling number of samples. Attributes: places, in the list of
    orders that they are from."""

    training: Training
    places: list[int]
    orders: list[Order]


def squads(task: Task, training: Training, orders: Sequence[Order]) -> list[Squad]:
    """The orders by solver."""
    solvers = list(dict.fromkeys(order.training for order in orders))
    made = []
    for solver in solvers:
        places = [place for place, order in enumerate(orders) if len(solvers) == 1 or order.training == solver]
        samples = task.train.count[[orders[place].client for place in places]]
        by_samples = [places[i] for i in np.argsort(-samples, kind="stable").tolist()]
        made.append(Squad(solver or training, by_samples, [orders[place] for place in by_samples]))
    return made


def trained(algorithm: ClientSide, who: Learner, orders: Sequence[Order]) -> Trained:
    """What the clients of a learner, in its order, make of these orders; with a client axis, and flat."""
    crossing = Crossing(who.device)
    payload = crossing.there(stacked([order.payload for order in orders]))
    state = crossing.there(stacked([order.state for order in orders]))
    before = tree.revisions(payload, state)
    update, after = _two_states(algorithm, algorithm.local_train(payload, state, who))
    if tree.revisions(payload, state) != before:
        raise TypeError(
            f"{type(algorithm).__name__} changes tensors in place that were sent to it or that its client keeps; all "
            "trees are values: write w - lr * g, or change a clone()"
        )
    sent, kept = flattened(crossing.back(update)), crossing.back(after)
    return Unmoved(sent, kept) if after is state else Trained(sent, flattened(kept))


def _two_states(algorithm: ClientSide, returned: object) -> tuple[State, State]:
    """What a local training must return; raises TypeError for anything else."""
    match returned:
        case (dict() as update, dict() as after) if all(isinstance(g, dict) for s in returned for g in s.values()):
            return update, after
    raise TypeError(
        f"{type(algorithm).__name__}.local_train, or its local_end, must return two states, an update and what the "
        f"client keeps, each a dict of groups of tensors such as {{'params': …}}; it returned {returned!r:.80}"
    )


def cohort_of(orders: Sequence[Order]) -> Cohort:
    """Who trains by these orders."""
    return Cohort(
        clients=np.array([order.client for order in orders]),
        jobs=np.array([order.job for order in orders]),
        versions=np.array([order.version for order in orders]),
    )


def updates_of(results: Sequence[Result]) -> State:
    """What several clients send as one state with a client axis, in their order: no copy of a whole cohort."""
    cohorts: dict[int, tuple[State, list[int], list[int]]] = {}  # by identity: what was sent, rows, places
    for place, result in enumerate(results):
        whole, row = (result.cohort, result.row) if isinstance(result, Row) else (result, 0)
        if id(whole) not in cohorts:
            sent = whole.update if isinstance(result, Row) else tree.stack([whole.update])
            cohorts[id(whole)] = sent, [], []
        _, rows, places = cohorts[id(whole)]
        rows.append(row)
        places.append(place)
    pieces = [(sent, np.array(rows), np.array(places)) for sent, rows, places in cohorts.values()]
    return {
        group: gathered([Rows(sent[group], rows, places) for sent, rows, places in pieces], len(results))
        for group in pieces[0][0]
    }


def personalised(
    adapt: Callable[[Params, Learner], Params],
    task: Task,
    training: Training,
    kernel: Kernel,
    seed: int,
    clients: Sequence[int],
    version: int,
    models: Sequence[Params],
) -> list[Params]:
    """Each client's model after a little training of its own, by an algorithm's `personalise`."""
    by_samples = np.argsort(-task.train.count[np.array(clients)], kind="stable")
    cohort = Cohort(
        clients=np.array(clients)[by_samples],
        jobs=np.full(len(clients), version),
        versions=np.full(len(clients), version),
    )
    who = learner(task, training, kernel, seed=seed, cohort=cohort)
    crossing = Crossing(who.device)
    start = crossing.there(stacked([{"params": models[i]} for i in by_samples]))["params"]
    adapted = flattened(crossing.back({"params": adapt(start, who)}))
    back = np.empty(len(clients), np.int64)
    back[by_samples] = np.arange(len(clients))
    return [row(adapted, i)["params"] for i in back.tolist()]
