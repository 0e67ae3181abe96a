"""Rankings: clients by a score that stays, sorted only as far as somebody looks."""

from collections.abc import Iterator

import numpy as np

from edgesim import streams
from edgesim.devices.arrays import FloatArray, IntArray

_FIRST, _GROWTH = 1024, 8


def by_chance(clients: int, seed: int) -> IntArray:
    """All clients in the order in which ties are broken: a shuffle [client]."""
    draws = streams.uniforms(streams.fold(streams.key(seed, "ranking"), np.arange(clients)), 1)[:, 0]
    return np.argsort(draws, kind="stable")


class Ranking:
    """All clients by falling score."""

    def __init__(self, score: FloatArray, ties: IntArray) -> None:
        """`score` [client], not NaN; those of equal score come in the order of `ties`, see `by_chance`."""
        self._ties, self._cost = ties, -score[ties]
        self._order = np.zeros(0, np.int64)  # the part that is sorted

    def __iter__(self) -> Iterator[IntArray]:
        """The clients, piece by piece; a piece is sorted when it is looked at for the first time."""
        start = 0
        while start < len(self._cost):
            if start == len(self._order):
                self._sort(max(_FIRST, _GROWTH * start))
            yield self._order[start:]
            start = len(self._order)

    def _sort(self, size: int) -> None:
        """Sort at least the first `size`: as many as it takes to have all that tie with the last of them."""
        size = min(size, len(self._cost))
        bound = np.partition(self._cost, size - 1)[size - 1]
        head = np.flatnonzero(self._cost <= bound)
        self._order = self._ties[head[np.argsort(self._cost[head], kind="stable")]]
