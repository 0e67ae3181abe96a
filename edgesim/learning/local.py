"""The local update of a cohort: one pure function from orders to what the clients send and keep.

Clients of unequal sizes run in exact lockstep: sorted by steps, each step runs on the prefix that still
has work, and the prefix shrinks as clients finish.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from edgesim.learning import tree
from edgesim.learning.batches import Batch
from edgesim.learning.kernels import Kernel
from edgesim.learning.task import Task
from edgesim.learning.training import Learner, Training, learner
from edgesim.learning.tree import State


class ClientSide(Protocol):
    """The device hooks of an algorithm; all tensors carry a client axis."""

    def local_start(self, payload: State, client: State) -> State: ...
    def local_step(self, local: State, batch: Batch, learner: Learner) -> State: ...
    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]: ...


@dataclass(frozen=True)
class Order:
    """One client's training as fixed at dispatch: nothing that happens later can change its result."""

    job: int
    client: int
    version: int
    payload: State
    state: State


class Trained(NamedTuple):
    """What a client sends, and the state it keeps if that arrives."""

    update: State
    state: State


def local_update(
    algorithm: ClientSide, task: Task, training: Training, kernel: Kernel, seed: int, orders: Sequence[Order]
) -> list[Trained]:
    """Train a cohort; the results are in the order of the orders."""
    samples = task.train.count[np.array([order.client for order in orders])]
    by_steps = np.argsort(-samples, kind="stable")
    cohort = [orders[i] for i in by_steps]
    payload = tree.stack([order.payload for order in cohort])
    state = tree.stack([order.state for order in cohort])
    whole = learner(
        task, training, kernel, seed=seed,
        clients=np.array([order.client for order in cohort]),
        jobs=np.array([order.job for order in cohort]),
        versions=np.array([order.version for order in cohort]),
    )  # fmt: skip
    local = _steps(algorithm, algorithm.local_start(payload, state), whole)
    update, after = algorithm.local_end(payload, state, local, whole)
    updates, states = tree.unstack(update, len(cohort)), tree.unstack(after, len(cohort))
    trained: list[Trained | None] = [None] * len(cohort)
    for row, i in enumerate(by_steps):
        trained[i] = Trained(updates[row], states[row])
    return [result for result in trained if result is not None]


def _steps(algorithm: ClientSide, local: State, whole: Learner) -> State:
    """All local steps of a cohort sorted by falling number of steps."""
    steps, finished = whole.batches.steps, []
    active, current = len(steps), whole
    for step in range(int(steps[0])):
        still = int(np.count_nonzero(steps > step))
        if still < active:
            finished.append(tree.rows(local, still, active))
            local, current, active = tree.rows(local, 0, still), whole.first(still), still
        local = algorithm.local_step(local, whole.batches.at(step, active), current)
    return tree.join([local, *reversed(finished)])
