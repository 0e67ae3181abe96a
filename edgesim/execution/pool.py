"""A pool of worker processes that train side by side with this one: where stacks do not pay (convolutions on a CPU),
and where they take long.

Data and model are in memory that all share; so are the orders of a batch, and the results on their way back. Each
worker, and this process too, claims the next piece when it is done with the last. What a worker had claimed when
it was killed is trained again by another.
"""

from collections.abc import Sequence
from itertools import chain
from math import prod
from multiprocessing import connection

import numpy as np

from edgesim import references
from edgesim.devices.arrays import IntArray
from edgesim.execution.backend import Around, InProcess
from edgesim.execution.claims import MOST, Claim, Claims, take
from edgesim.execution.pieces import ATTEMPTS, Piece, cut, deal, given_up, most_hands
from edgesim.execution.poolworker import Worker
from edgesim.execution.shared import Parcel
from edgesim.learning.local import Order, Result

Results = dict[int, list[Result]]
_WORTH = 1e9  # FLOPs: what is stacked and takes less is done before it has travelled; some 10 ms


class Pool(Around):
    """The same work as `InProcess`, on so many processes, of which this is one; the others start with the first
    orders."""

    def __init__(self, inner: InProcess, count: int) -> None:
        super().__init__(inner)
        self._count, self._round_number = count, 0
        self._claims: Claims | None = None
        self._setup: Parcel | None = None
        self._workers: list[Worker] = []

    def train(self, orders: Sequence[Order]) -> list[Result]:
        """The results, in the order of the orders.

        Raises:
            RunError: workers died over the same pieces again and again.
        """
        if not orders or (self.name == "stacked" and self._flops(orders) < _WORTH):
            return self.inner.train(orders)
        try:
            if self.inner.is_plain:
                return self._deal(orders)
            pieces = cut(orders, self.inner.cohort, MOST)
            return self._train(pieces) if len(pieces) > 1 else self.inner.train(orders)
        except BaseException:  # workers may still be at it
            self.close()
            raise

    def close(self) -> None:
        """End the workers: they hold nothing that is not here."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        for held in (self._claims, self._setup):
            if held is not None:
                held.close()
        self._claims = self._setup = None

    def _flops(self, orders: Sequence[Order]) -> float:
        """2 for each weight and sample forward, twice as many backward: of dense models; others, which use a weight
        several times, take more."""
        inner = self.inner
        weights = sum(prod(shape) for shape in inner.task.model.shapes.values())
        epochs = [(order.training or inner.training).epochs for order in orders]
        return 6.0 * weights * float(np.dot(self._samples(orders), epochs))

    def _samples(self, orders: Sequence[Order]) -> IntArray:
        return self.inner.task.train.count[[order.client for order in orders]]

    def _deal(self, orders: Sequence[Order]) -> list[Result]:
        """Train clients to which company is nothing: as many pieces as there are hands by now."""
        self._start(most_hands(len(orders)))
        self._gather({}, wait=False)
        deals = deal(orders, self._samples(orders), 1 + sum(worker.asks or worker.busy for worker in self._workers))
        if len(deals) == 1:
            return self.inner.train(orders)
        results = self._train([[orders[place] for place in places] for places in deals])
        by_place = dict(zip(chain(*deals), results, strict=True))
        return [by_place[place] for place in range(len(orders))]

    def _train(self, pieces: list[Piece]) -> list[Result]:
        batch, results = Parcel(pieces), Results()
        try:
            for attempt in range(ATTEMPTS):
                # What killed a worker may kill this process too, so here it is not tried again.
                self._round(batch, pieces, results, here=attempt == 0)
        finally:
            batch.close()
        if len(results) < len(pieces):
            raise given_up("worker processes")
        return [result for number in range(len(pieces)) for result in results[number]]

    def _round(self, batch: Parcel, pieces: list[Piece], results: Results, *, here: bool) -> None:
        """Train the pieces that have no results yet; they stay without where all workers that claimed them die."""
        missing = [number for number in range(len(pieces)) if number not in results]
        if not missing:
            return
        self._round_number += 1
        claims = self._start(len(missing) + (not here))
        claims.put([Claim(self._round_number, number) for number in missing])
        self._gather(results, wait=False)
        while len(results) < len(pieces):
            self._feed(batch)
            mine = take(claims.reader) if here else None
            if mine is not None:
                results[mine.piece] = self.inner.train(pieces[mine.piece])
            elif not any(worker.busy or not (worker.asks or here) for worker in self._workers):
                break
            self._gather(results, wait=mine is None)
        claims.clear()

    def _start(self, hands: int) -> Claims:
        """As many workers as there should be, where so many hands have something to do, one of them this process."""
        if self._claims is None or self._setup is None:
            self._claims, self._setup = Claims(), Parcel([references.files(), self.inner])
            shared, task = self._setup.values()[1].task, self.inner.task
            for mine, theirs in ((task.x, shared.x), (task.y, shared.y)):
                mine.set_(theirs)  # the same numbers, in memory once
        while len(self._workers) < min(self._count, hands) - 1:
            self._workers.append(Worker(self._claims, self._setup))
        return self._claims

    def _feed(self, batch: Parcel) -> None:
        for worker in self._workers:
            if worker.asks and worker.round != self._round_number:
                worker.begin(self._round_number, batch)

    def _gather(self, results: Results, *, wait: bool) -> None:
        """Take what has come; forget who has died."""
        ready = connection.wait([worker.wire for worker in self._workers], None if wait else 0)
        for worker in [worker for worker in self._workers if worker.wire in ready]:
            try:
                answer = worker.answer()
            except (EOFError, OSError):
                self._workers.remove(worker)
                worker.end()
            else:
                results.update([answer] if answer else [])
