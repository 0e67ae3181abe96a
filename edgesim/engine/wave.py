"""Wave: events that nobody waits for one by one, as the arrivals of a synchronous round. They happen together, each
with its own instant, once the last is due, or as soon as anything else might see the difference."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

Due = tuple[float, int]
"""An instant, in ns or infinite, and a rank among what happens then (clock.py)."""


class Wave:
    """`tell` is given the values of those that happen together, in their order."""

    def __init__(self, dues: Sequence[Due], values: Sequence[Any], tell: Callable[[Sequence[Any]], None]) -> None:
        order = sorted(range(len(dues)), key=dues.__getitem__)
        self._dues, self._values = [dues[place] for place in order], [values[place] for place in order]
        self._tell, self._begin = tell, 0

    @property
    def due_ns(self) -> float:
        """When the next of them is; infinite after the last."""
        return self._dues[self._begin][0] if self._begin < len(self._dues) else float("inf")

    def comes_before(self, due: Due) -> bool:
        """Whether any of them do."""
        return self._begin < len(self._dues) and self._dues[self._begin] < due

    def last_before(self, due: Due) -> tuple[int, int]:
        """When the last of these is, and how many they are."""
        end = bisect_left(self._dues, due, self._begin)
        return int(self._dues[end - 1][0]), end - self._begin

    def happen(self, count: int) -> None:
        """Let the next so many happen."""
        values = self._values[self._begin : self._begin + count]
        self._begin += count
        self._tell(values)
