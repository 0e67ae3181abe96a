"""The choice in turn."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.engine.history import History
from edgesim.engine.selection.candidates import Candidates
from edgesim.engine.selection.selector import Facts, Selector

_PIECE = 65_536


@dataclass
class RoundRobin(Selector):
    """One after the other by their numbers, round and round; who is not available misses a turn."""

    _next: int = field(init=False, default=0)
    _clients: int = field(init=False, default=0)

    def meet(self, facts: Facts) -> None:
        self._clients = len(facts.samples)

    def select(self, count: int, draw: int, candidates: Candidates, history: History) -> list[int]:
        chosen = candidates.first(self._turns(), count)
        if chosen:
            self._next = (chosen[-1] + 1) % self._clients
        return chosen

    def state(self) -> dict[str, Any]:
        return {"next": self._next}

    def restore(self, state: dict[str, Any]) -> None:
        self._next = state["next"]

    def _turns(self) -> Iterator[IntArray]:
        """All clients from the next one on, a piece at a time."""
        for start in range(0, self._clients, _PIECE):
            end = min(start + _PIECE, self._clients)
            yield (self._next + np.arange(start, end)) % self._clients
