"""Joint training: clients of several runs in one stack, each with the data and the random streams of its own run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim import streams
from edgesim.devices.arrays import IntArray
from edgesim.learning import tree
from edgesim.learning.cohort import Cohort
from edgesim.learning.kernels import Kernel
from edgesim.learning.local import ClientSide, Result, Row, Squad, Trained, cohort_of, trained
from edgesim.learning.shards import Shards
from edgesim.learning.task import Task
from edgesim.learning.training import learner


@dataclass(frozen=True, kw_only=True, eq=False)
class JointCohort(Cohort):
    """Clients numbered through all runs. Attributes: numbers, of each in its own run; seeds, of these runs:
    int64 [client]."""

    numbers: IntArray
    seeds: IntArray

    def keys(self, seed: int, purpose: str) -> NDArray[np.uint64]:
        base = {own: streams.key(own, purpose) for own in set(self.seeds.tolist())}
        keys = np.array([base[own] for own in self.seeds.tolist()], np.uint64)
        return streams.fold(streams.fold(keys, self.numbers), self.jobs)

    def first(self, clients: int) -> "JointCohort":
        return self.at(slice(clients))

    def at(self, rows: slice | IntArray) -> "JointCohort":
        """These clients, in this order."""
        return JointCohort(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Joint:
    """The tasks of several runs as one, client after client. Attributes: seeds, of the runs; first, the number of
    each run's client 0."""

    task: Task
    seeds: tuple[int, ...]
    first: tuple[int, ...]

    @classmethod
    def of(cls, tasks: Sequence[Task], seeds: Sequence[int]) -> "Joint":
        """Of tasks whose models and samples have the same shapes; from now on, these hold their data together."""
        x, y, start = _data(tasks)
        train, test = (_appended([getattr(task, part) for task in tasks], start) for part in ("train", "test"))
        first = np.cumsum([0, *(task.clients for task in tasks[:-1])])
        return cls(replace(tasks[0], x=x, y=y, train=train, test=test), tuple(seeds), tuple(first.tolist()))

    def update(self, algorithm: ClientSide, kernel: Kernel, parts: Sequence[tuple[int, Squad]]) -> list[list[Result]]:
        """Train squads, each of the run of that number, in one stack; each one's results in the order of its orders.

        All are of one width and solver.
        """
        run = np.repeat([number for number, _ in parts], [len(squad.orders) for _, squad in parts])
        orders = [order for _, squad in parts for order in squad.orders]
        own = cohort_of(orders)
        everyone = JointCohort(
            clients=own.clients + np.array(self.first)[run],
            jobs=own.jobs,
            versions=own.versions,
            numbers=own.clients,
            seeds=np.array(self.seeds)[run],
        )
        by_samples = np.argsort(-self.task.train.count[everyone.clients], kind="stable")
        # its seed is never asked for: keys come from the cohort
        who = learner(self.task, parts[0][1].training, kernel, seed=0, cohort=everyone.at(by_samples))
        whole = trained(algorithm, who, [orders[i] for i in by_samples])
        return _cut(whole, np.argsort(by_samples), [len(squad.orders) for _, squad in parts])


def _cut(whole: Trained, row: IntArray, lengths: Sequence[int]) -> list[list[Result]]:
    """Consecutive clients, so many each, apart: what one run keeps does not hold what others trained."""
    found: list[list[Result]] = []
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        rows = row[end - length : end].tolist()
        part = Trained(tree.take(whole.update, rows), tree.take(whole.state, rows))
        found.append([Row(part, i) for i in range(length)])
    return found


def _data(tasks: Sequence[Task]) -> tuple[Tensor, Tensor, list[int]]:
    """All samples, and where each task's begin; equal ones are there once. The tasks' own become part of them."""
    first, *others = tasks
    same = all(torch.equal(first.x, task.x) and torch.equal(first.y, task.y) for task in others)
    x = first.x if same else torch.cat([task.x for task in tasks])
    y = first.y if same else torch.cat([task.y for task in tasks])
    lengths = [len(task.y) for task in tasks]
    start = [0] * len(tasks) if same else (np.cumsum(lengths) - lengths).tolist()
    for task, begin, length in zip(tasks, start, lengths, strict=True):
        task.x.set_(x[begin : begin + length])  # type: ignore[call-overload]
        task.y.set_(y[begin : begin + length])  # type: ignore[call-overload]
    return x, y, start


def _appended(shards: Sequence[Shards], start: Sequence[int]) -> Shards:
    """The clients of all, whose samples lie from `start` on."""
    counts = np.concatenate([each.count for each in shards])
    return Shards(
        index=np.concatenate([each.index + begin for each, begin in zip(shards, start, strict=True)]),
        offset=np.concatenate([[0], np.cumsum(counts)]),
    )
