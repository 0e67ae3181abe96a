"""Together: runs of one process whose orders are trained in one go.

A run that needs values rests until all others need some too, or have ended; then all that they wait for is trained,
small cohorts of several runs in one stack.

What may share a stack is what trains the same in any company (`InProcess.is_plain`). A stack is made of whole cohorts,
cut for each run as they are for a run alone, of runs whose batches are padded to one width. All else trains run by
run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from edgesim.execution.backend import Around, Backend, InProcess
from edgesim.learning.joint import Joint
from edgesim.learning.local import Order, Result, Squad, squads
from edgesim.learning.training import Training

Rest: TypeAlias = Callable[[], None]
"""Called by a run that waits for values; returns once `Together.train` has been called."""
Company: TypeAlias = Callable[[InProcess], Backend]
"""Makes the backend of a run that trains beside others of that of one that trains alone."""


class Together:
    """Runs that share a process, in the order in which they came."""

    def __init__(self) -> None:
        self._kin: list[_Kin] = []

    def backend(self, inner: InProcess, rest: Rest) -> Backend:
        """The backend of another run."""
        if not inner.is_plain:
            return inner
        kin = next((kin for kin in self._kin if kin.takes(inner)), None)
        if kin is None:
            self._kin.append(kin := _Kin())
        member = Member(inner, rest)
        kin.add(member)
        return member

    def train(self) -> None:
        """Train what can be trained in one go of what is waited for; the rest is left to each run."""
        for kin in self._kin:
            kin.train()


class Member(Around):
    """The backend of one of several runs. Attributes: waiting, the squads whose results are not there yet."""

    def __init__(self, inner: InProcess, rest: Rest) -> None:
        super().__init__(inner)
        self._rest = rest
        self.waiting: list[Squad] = []
        self._results: dict[int, Result] = {}

    def train(self, orders: Sequence[Order]) -> list[Result]:
        """The results, in the order of the orders."""
        self.waiting, self._results = list(self._squads(orders)), {}
        self._rest()
        for squad in [*self.waiting]:  # those of a stack of their own
            self.take(squad, self.inner.train(squad.orders))
        return [self._results[place] for place in range(len(orders))]

    def take(self, squad: Squad, results: Sequence[Result]) -> None:
        """The results of one that waited."""
        self.waiting.remove(squad)
        self._results.update(zip(squad.places, results, strict=True))

    def close(self) -> None:
        self.inner.close()

    def _squads(self, orders: Sequence[Order]) -> Iterator[Squad]:
        """The orders as they would be cut if this run were alone."""
        for start in range(0, len(orders), self.inner.cohort):
            for squad in squads(self.inner.task, self.inner.training, orders[start : start + self.inner.cohort]):
                yield replace(squad, places=[start + place for place in squad.places])


class _Kin:
    """Runs that train the same model in the same way."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._joint: Joint | None = None

    def takes(self, inner: InProcess) -> bool:
        return _manner(self._members[0].inner) == _manner(inner)

    def add(self, member: Member) -> None:
        self._members.append(member)
        self._joint = None

    def train(self) -> None:
        waiting = [(run, squad) for run, member in enumerate(self._members) for squad in member.waiting]
        for stack in _stacks(waiting, self._members[0].inner.cohort):
            self._train(stack)

    def _train(self, stack: "_Stack") -> None:
        if self._joint is None:
            inners = [member.inner for member in self._members]
            self._joint = Joint.of([inner.task for inner in inners], [inner.seed for inner in inners])
        inner = self._members[0].inner
        for (run, squad), results in zip(stack, self._joint.update(inner.algorithm, inner.kernel, stack), strict=True):
            self._members[run].take(squad, results)


_Stack: TypeAlias = list[tuple[int, Squad]]  # squads, each with the number of its run


def _stacks(waiting: _Stack, most: int) -> list[_Stack]:
    """Squads of one solver, up to so many orders; those that stay alone are left out."""
    made: list[_Stack] = []
    open_: dict[Training, _Stack] = {}
    for run, squad in waiting:
        alike = squad.training
        if alike not in open_ or sum(len(other.orders) for _, other in open_[alike]) + len(squad.orders) > most:
            open_[alike] = []
            made.append(open_[alike])
        open_[alike].append((run, squad))
    return [stack for stack in made if len(stack) > 1]


def _manner(inner: InProcess) -> tuple[object, ...]:
    """What is equal where two runs may share a stack."""
    task = inner.task
    return (
        inner.algorithm,
        inner.training,
        inner.kernel,
        inner.cohort,
        min(inner.training.batch_size, task.train.most),  # what batches are padded to
        task.model.shapes,
        task.x.shape[1:],
        task.x.dtype,
    )
