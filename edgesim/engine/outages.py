"""Outages of the server: windows of time in which nothing can be sent to it or by it."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class ServerOutages:
    """Windows [start, end) in whole ns; a pure function of time.

    Attributes: starts_ns, ends_ns, of each window, in order; period_ns, after which they come again; None: never.

    Raises:
        ValueError: windows that are empty, overlap or touch, or do not fit into the period.
    """

    starts_ns: tuple[int, ...]
    ends_ns: tuple[int, ...]
    period_ns: int | None = None

    def __post_init__(self) -> None:
        bounds = self._bounds_ns
        if len(self.starts_ns) != len(self.ends_ns) or any(b <= a for a, b in pairwise(bounds)):
            raise ValueError(f"outages from {self.starts_ns} to {self.ends_ns} ns: must follow one another, apart")
        if bounds and (bounds[0] < 0 or (self.period_ns is not None and bounds[-1] >= self.period_ns)):
            raise ValueError(f"outages from {bounds[0]} to {bounds[-1]} ns: must lie within {self.period_ns} ns")

    @cached_property
    def _bounds_ns(self) -> list[int]:
        return [bound for window in zip(self.starts_ns, self.ends_ns, strict=False) for bound in window]

    def is_up(self, t_ns: int) -> bool:
        """Whether the server can be reached at t."""
        within_ns = t_ns if self.period_ns is None else t_ns % self.period_ns
        return bisect_right(self._bounds_ns, within_ns) % 2 == 0

    def next_change_ns(self, t_ns: int) -> int | None:
        """The first beginning or end strictly after t; None if there is none."""
        bounds = self._bounds_ns
        turn, within_ns = (0, t_ns) if self.period_ns is None else divmod(t_ns, self.period_ns)
        place = bisect_right(bounds, within_ns)
        if place < len(bounds):
            return turn * (self.period_ns or 0) + bounds[place]
        return None if self.period_ns is None or not bounds else (turn + 1) * self.period_ns + bounds[0]


NO_OUTAGES = ServerOutages(starts_ns=(), ends_ns=())
