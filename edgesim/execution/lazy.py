"""Lazy training: orders wait until somebody needs a value, then all that wait are trained together.

Exact, since an order holds all that its result depends on; and frugal, since an order that was
cancelled before anyone needed it is never trained.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from edgesim.execution.backend import Backend
from edgesim.learning.local import Order, Result, Trained


class LazyTraining:
    """Orders by job: waiting, in the order in which they came, or trained."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: dict[int, Order] = {}
        self._trained: dict[int, tuple[Order, Result]] = {}

    def __contains__(self, job: int) -> bool:
        return job in self._waiting or job in self._trained

    def place(self, orders: Iterable[Order]) -> None:
        """Take orders; nothing is computed yet."""
        self._waiting.update((order.job, order) for order in orders)

    def result(self, job: int) -> tuple[Order, Result]:
        """The order of a job and its result; trains everything that waits if it is not there yet."""
        if job in self._waiting:
            orders = list(self._waiting.values())
            results = zip(orders, self._backend.train(orders), strict=True)
            self._trained.update(zip(self._waiting, results, strict=True))
            self._waiting.clear()
        return self._trained[job]

    def take(self, jobs: Sequence[int]) -> tuple[list[Order], list[Result]]:
        """The orders of these jobs, at least one, and their results, which are forgotten here."""
        for job in jobs:
            if job in self._waiting:
                self.result(job)
        orders, results = zip(*map(self._trained.pop, jobs), strict=True)
        return list(orders), list(results)

    def drop(self, job: int) -> None:
        """Forget a job, trained or not."""
        self._waiting.pop(job, None)
        self._trained.pop(job, None)

    def state(self) -> dict[str, Any]:
        """All orders and results as plain data; untrained orders stay untrained."""
        return {
            "waiting": [order.plain() for order in self._waiting.values()],
            "trained": [(order.plain(), tuple(trained)) for order, trained in self._trained.values()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        waiting = map(Order.restored, state["waiting"])
        trained = ((Order.restored(order), Trained(*result)) for order, result in state["trained"])
        self._waiting = {order.job: order for order in waiting}
        self._trained = {order.job: (order, result) for order, result in trained}
