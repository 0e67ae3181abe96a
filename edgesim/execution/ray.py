"""A Ray cluster that trains: the same work as in one process, on workers of other machines.

Data, model and algorithm are placed once, what all orders of a batch share once a batch. Pieces are cut from the
list of orders alone; those of a worker that was lost are trained by another.
"""

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from edgesim.execution.backend import Around, InProcess
from edgesim.execution.cluster import connect
from edgesim.execution.pieces import ATTEMPTS, Piece, cut, given_up
from edgesim.execution.raycrew import Crew, Member, Wanted
from edgesim.execution.rayworker import read, write
from edgesim.learning.local import Order, Result
from edgesim.learning.task import Task

_MOST = 4096  # pieces in a batch
_AHEAD = 2  # pieces that a worker has at a time, so that it need not wait for the next


class Ray(Around):
    """The same work as `InProcess`, done by a cluster, to which the first order connects."""

    def __init__(self, inner: InProcess, wanted: Wanted) -> None:
        super().__init__(inner)
        self._wanted, self._batches = wanted, 0
        self._crew: Crew | None = None

    @property
    def placed(self) -> Task:
        """On the host: this process may have no card."""
        return self.inner.task

    def train(self, orders: Sequence[Order]) -> list[Result]:
        """The results, in the order of the orders.

        Raises:
            ScenarioError: Ray is not installed.
            RunError: there is no cluster, or workers died over the same piece again and again.
        """
        if not orders:
            return []
        try:
            return self._train(cut(orders, self.inner.cohort, _MOST))
        except BaseException:  # workers may still be at it
            self.close()
            raise

    def close(self) -> None:
        """End the workers; the connection stays, for the next run."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def _train(self, pieces: list[Piece]) -> list[Result]:
        self._batches += 1
        ray = connect(self._wanted.address, "execution.kind: ray")
        if self._crew is None:
            self._crew = Crew(ray, self.inner, self._wanted)
        common, own = write(pieces, self._batches)
        results = _Batch(self._crew, ray.put(common), own).results()
        return [result for number in range(len(pieces)) for result in results[number]]


class _Batch:
    """Pieces at work: waiting for a worker, with one, or done."""

    def __init__(self, crew: Crew, common: Any, own: Sequence[Any]) -> None:
        self._crew, self._common, self._own = crew, common, own
        self._waiting = deque(range(len(own)))
        self._flying: dict[Any, tuple[Member, int]] = {}
        self._lost = Counter[int]()

    def results(self) -> dict[int, list[Result]]:
        """The results by piece, when all are there."""
        done: dict[int, list[Result]] = {}
        self._crew.hire()
        while len(done) < len(self._own):
            self._send()
            for answer in self._crew.wait(self._flying):
                member, number = self._flying.pop(answer)
                member.pieces -= 1
                found = self._crew.result(answer)
                if found is None:
                    self._again(number)
                    self._crew.dismiss(member)
                else:
                    done[number] = read(found)
        return done

    def _send(self) -> None:
        for ahead in range(_AHEAD):
            for member in self._crew.members:
                if self._waiting and member.pieces == ahead:
                    number = self._waiting.popleft()
                    self._flying[member.actor.train.remote(self._common, self._own[number])] = (member, number)
                    member.pieces += 1

    def _again(self, number: int) -> None:
        """A piece whose worker was lost."""
        self._lost[number] += 1
        if self._lost[number] == ATTEMPTS:
            raise given_up("workers of the Ray cluster")
        self._waiting.appendleft(number)
