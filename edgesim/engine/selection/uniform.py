"""The uniform choice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from edgesim import streams
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.selector import Selector

_TRIES = 64  # clients that are looked at before all are looked at together, besides four for each one wanted
_SINGLY = 16  # up to so many numbers are drawn one at a time, which is quicker
_ALONE = 2  # so few clients are looked at one by one, which is quicker where they have been looked at before


@dataclass
class Uniform(Selector):
    """Every available client is equally likely.

    Idle clients are shuffled only as far as it takes to meet enough that are on line, so a choice costs the
    same in a fleet of any size; only where hardly anybody is on line, all are looked at.
    """

    @cached_property
    def _key(self) -> Callable[[int], int]:
        return streams.keys(self.seed, "select")

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        idle, key = candidates.idle, self._key(draw)
        chosen, tried, most = list[int](), 0, min(len(idle), 4 * count + _TRIES)
        if count == 1 and most:  # as below, in half the time
            client, tried = idle.draw(0, streams.first(key)), 1
            if candidates.has(client):
                return [client]
        numbers = _numbers(key, count, most) if count > _SINGLY else islice(streams.sequence(key), tried, None)
        while len(chosen) < count and tried < most:
            end = min(most, tried + count - len(chosen))
            if end - tried <= _ALONE:
                client = idle.draw(tried, next(numbers))
                end = tried + 1
                if candidates.has(client):
                    chosen.append(client)
            else:
                some = [idle.draw(position, next(numbers)) for position in range(tried, end)]
                chosen += candidates.of(np.array(some, np.int64)).tolist()
            tried = end
        if len(chosen) < count and len(idle) > most:
            rest = candidates.of(idle.array()[most:])
            order = streams.uniforms(streams.fold(key, rest), 1)[:, 0].argsort(kind="stable")
            chosen += rest[order][: count - len(chosen)].tolist()
        return chosen


def _numbers(key: int, count: int, most: int) -> Iterator[float]:
    """The first `most` numbers of a stream, the first `count` of them drawn together, and the rest if need be."""
    keys = np.array([key], np.uint64)
    yield from streams.uniforms(keys, count)[0].tolist()
    yield from streams.uniforms(keys, most)[0, count:].tolist()
