"""Wave: jobs that nothing comes in the way of and whose arrivals nobody waits for one by one, those of a synchronous
round. They arrive together, each at its own instant, once the last is due, or as soon as anything else might see the
difference. As long as nobody looks at one of them, they are columns."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from edgesim.engine.job import Job, SmoothJobs
from edgesim.engine.smooth import Plans

Due = tuple[float, int]
"""An instant, in ns or infinite, and a rank among what happens then (clock.py)."""


class Wave:
    """Attributes: past, how many have arrived; left, how many have not."""

    def __init__(self, plans: Plans, rank: int, tell: Callable[[SmoothJobs], None]) -> None:
        """`rank`, of a job by the number 0; `tell` is given those that arrive together, in their order."""
        self._plans, self._tell, self.past = plans, tell, 0
        self._order = np.argsort(plans.columns.edges_ns[-1], kind="stable")  # at one instant, by their numbers
        self._arriving = plans.columns.some(self._order)
        ends_ns, ranks = self._arriving.edges_ns[-1], rank + self._arriving.number
        self._dues: list[Due] = list(zip(ends_ns.tolist(), ranks.tolist(), strict=True))

    @property
    def left(self) -> int:
        return len(self._dues) - self.past

    @property
    def due_ns(self) -> float:
        """When the next of them is; infinite after the last."""
        return self._dues[self.past][0] if self.left else float("inf")

    def comes_before(self, due: Due) -> bool:
        """Whether any of them do."""
        return self.left > 0 and self._dues[self.past] < due

    def last_before(self, due: Due) -> tuple[int, int]:
        """When the last of these is, and how many they are."""
        end = bisect_left(self._dues, due, self.past)
        return int(self._dues[end - 1][0]), end - self.past

    def happen(self, count: int) -> None:
        """Let the next so many arrive."""
        some = slice(self.past, self.past + count)
        self.past += count
        self._tell(self._arriving.some(some))

    def rest(self) -> list[Job]:
        """Those that have not arrived, by their numbers."""
        return self._plans.jobs(np.sort(self._order[self.past :])) if self.left else []
