"""Candidates: the clients that could get a job now."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesim import streams
from edgesim.devices.arrays import BoolArray, IntArray
from edgesim.engine.selection.idle import IdleClients

_FEWEST = 8  # clients that are looked at together, at least; one costs nearly as much
_SPARE = 64  # places that are drawn beyond those that should do


@dataclass(slots=True)
class Candidates:
    """Idle clients that are on line and such as the schedule asks for.

    Whether a client is on line takes a look into its availability, so a selector asks for as few as it can.

    Attributes: idle; now_ns; is_on, is_on_many, who is on line now; among, what the schedule asks for, if anything.
    """

    idle: IdleClients
    now_ns: int
    is_on: Callable[[int, int], bool]
    is_on_many: Callable[[IntArray, int], BoolArray]
    among: Callable[[int], bool] | None = None

    def has(self, client: int) -> bool:
        """Whether this one could get a job."""
        return client in self.idle and self.is_on(client, self.now_ns) and (self.among is None or self.among(client))

    def of(self, clients: IntArray) -> IntArray:
        """Those of `clients` [n] that could get a job, in their order [at most n]."""
        idle = clients[self.idle.mask(clients)]
        found = idle[self.is_on_many(idle, self.now_ns)] if len(idle) else idle
        if self.among is None:
            return found
        return np.array([client for client in found.tolist() if self.among(client)], np.int64)

    def all(self) -> IntArray:
        """All that could get a job, by their numbers [n]."""
        return np.sort(self.of(self.idle.array()))

    def first(
        self, order: Iterable[IntArray], count: int, *, but: Callable[[int], bool] = lambda _: False
    ) -> list[int]:
        """The first `count` of an order, given piece by piece, that could get a job, `but` for some.

        Few more are looked at. No client comes twice in the order.
        """
        found: list[int] = []
        if not count:
            return found
        for piece in order:
            for some in _growing(piece, max(_FEWEST, 2 * count)):
                found += [client for client in self.of(some).tolist() if not but(client)]
                if len(found) >= count:
                    return found[:count]
        return found

    def shuffled(self, key: int, count: int, *, but: Callable[[int], bool] = lambda _: False) -> list[int]:
        """At most `count` of them, drawn uniformly by the stream of `key`, `but` for some.

        Places are drawn, and drawn again where they were before; if that does not find enough, the rest is sorted
        by random numbers.
        """
        size = len(self.idle)
        if not count or not size:
            return []
        places = (streams.uniforms(np.array([key], np.uint64), 2 * count + _SPARE)[0] * size).astype(np.int64)
        drawn = self.idle.at(distinct(places))
        found = self.first([drawn], count, but=but)
        if len(found) < count and len(drawn) < size:
            rest = np.setdiff1d(self.idle.array(), drawn, assume_unique=True)
            order = np.argsort(streams.uniforms(streams.fold(key, rest), 1)[:, 0], kind="stable")
            found += self.first([rest[order]], count - len(found), but=but)
        return found


def _growing(order: IntArray, size: int) -> Iterator[IntArray]:
    """An order in pieces, each twice as long as the one before."""
    start = 0
    while start < len(order):
        yield order[start : start + size]
        start, size = start + size, 2 * size


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each value once, in the order of first occurrence."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]
