"""Idle clients: who has no job."""

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


class IdleClients:
    """The clients without a job, in an order of no meaning; joining, leaving and drawing cost O(1)."""

    def __init__(self, clients: int, among: Sequence[int] | None = None) -> None:
        """`among`: who of the clients gets jobs at all; None: all do. Others are neither idle nor busy."""
        self._all = array("i", range(clients) if among is None else among)  # the idle ones first, then the busy ones
        self._place = array("i", [clients]) * clients  # of each client in `_all`; past its end of those not there
        np.frombuffer(self._place, np.intc)[np.frombuffer(self._all, np.intc)] = np.arange(len(self._all))
        self._idle = len(self._all)

    @property
    def clients(self) -> int:
        """All there are, whether they get jobs or not."""
        return len(self._place)

    def __len__(self) -> int:
        return self._idle

    def __iter__(self) -> Iterator[int]:
        return iter(self._all[: self._idle])

    def __contains__(self, client: int) -> bool:
        return self._place[client] < self._idle

    def array(self) -> NDArray[np.int64]:
        """All of them [n]."""
        return np.array(self._all[: self._idle], np.int64)

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The clients at these places of the order [n]."""
        return np.frombuffer(self._all, np.intc)[positions].astype(np.int64)

    def mask(self, clients: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `clients` are idle [n]."""
        return np.frombuffer(self._place, np.intc)[clients] < self._idle

    def busy(self) -> NDArray[np.int64]:
        """The clients that have a job [n]."""
        return np.array(self._all[self._idle :], np.int64)

    def leave(self, client: int) -> None:
        """An idle client gets a job."""
        self._idle -= 1
        self._swap(self._place[client], self._idle)

    def join(self, client: int) -> None:
        """A busy client is idle again."""
        self._swap(self._place[client], self._idle)
        self._idle += 1

    def draw(self, position: int, random: float) -> int:
        """The client that a shuffle of the idle ones puts at `position`, given its random number in [0, 1)."""
        self._swap(position, position + int(random * (self._idle - position)))
        return self._all[position]

    def state(self) -> tuple[list[int], int]:
        """As plain data: the order counts, since draws go by place."""
        return self._all.tolist(), self._idle

    def restore(self, state: tuple[list[int], int]) -> None:
        """Take up a `state`."""
        order, self._idle = state
        self._all = array("i", order)
        for place, client in enumerate(order):
            self._place[client] = place

    def _swap(self, a: int, b: int) -> None:
        first, second = self._all[b], self._all[a]
        self._all[a], self._all[b] = first, second
        self._place[first], self._place[second] = a, b
