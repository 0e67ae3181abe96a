"""Pipes: the shared links of one direction as a tree towards the server, and the max-min fair rates in them.

All ways lead to one server, so the links that flows share form a tree. There max-min fairness has a short
form. Let F(x) be what a pipe would carry if no flow in it could exceed x: the sum over the flows that enter
here, each min(its access rate, x), and over the pipes behind it. The pipe's own level is the largest x with
F(x) ≤ its capacity; it depends on nothing nearer to the server. A flow then gets the least of its access rate
and the levels of the pipes on its way, which is what progressive filling gives (Bertsekas, Gallager, Data
Networks, 2nd edition 1992, section 6.5.2).

Rates are whole numbers of microbit/s, so sums are exact, and levels are a function of who sends alone: no
order of arrivals, and no number of steps, changes a digit.
"""

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from edgesim.engine.rates import SortedRates

if TYPE_CHECKING:
    from edgesim.engine.lane import Lane

UNLIMITED = 1 << 100
"""A rate above any other."""


class Pipe:
    """One direction of a shared link.

    Attributes:
        parent: the next pipe towards the server; depth, how many there are up to it.
        capacity: in microbit/s.
        rates: access rates of the flows that enter here; lanes, those flows by their access rate.
        children: pipes behind this one that flows cross; behind, the sum of their demands.
        crossing: flows that cross this pipe, however far behind they enter.
        demand: what it carries as far as nothing nearer to the server limits it.
        level: its own limit on each flow; granted, the least of the levels from here to the server.
        clock: what a flow limited by `granted` has moved since the run began, at clock_ns, in 10⁻¹⁵ bit.
        limited: heap of (clock at which its first flow ends, access rate) of lanes that `granted` limits, out of
            date where lanes have changed.
        head_ns: when the first of those ends; None if none ever does.
        change_ns: when the capacity changes next.
    """

    __slots__ = ("behind", "capacity", "change_ns", "children", "clock", "clock_ns", "crossing", "demand", "depth",
                 "granted", "head_ns", "lanes", "level", "limited", "number", "parent", "rates")  # fmt: skip

    def __init__(self, number: int, parent: "Pipe | None") -> None:
        self.number, self.parent = number, parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.capacity = self.level = self.granted = UNLIMITED
        self.rates = SortedRates()
        self.lanes: dict[int, Lane] = {}
        self.children: dict[int, Pipe] = {}
        self.crossing = self.behind = self.demand = self.clock = self.clock_ns = 0
        self.limited: list[tuple[int, int]] = []
        self.head_ns: int | None = None
        self.change_ns: int | None = None

    def settle(self) -> None:
        """Work out the level and the demand anew; those of the pipes behind are settled."""
        wanted, before = self.rates.total + self.behind, self.demand
        if wanted <= self.capacity:
            self.level, self.demand = UNLIMITED, wanted
        else:
            self.level = self._solve()
            self.demand = self._offered(self.level)[0]
        if self.parent is not None:
            self.parent.behind += self.demand - before

    def read(self, now_ns: int) -> int:
        """The clock at `now_ns`; only asked for while `granted` is a limit."""
        return self.clock + self.granted * (now_ns - self.clock_ns)

    def tick(self, now_ns: int) -> None:
        """Set the clock to `now_ns`, before `granted` changes."""
        if self.granted < UNLIMITED:
            self.clock = self.read(now_ns)
        self.clock_ns = now_ns

    def queue(self, lane: "Lane") -> None:
        """Note when the first flow of a limited lane ends."""
        if lane.first is not None:
            heappush(self.limited, (lane.first - lane.offset, lane.rate))

    def first(self) -> "tuple[int, Lane] | None":
        """The limited lane in which a flow ends first, and the clock at which it does."""
        limited = self.limited
        if len(limited) > 2 * len(self.lanes) + 16:
            limited[:] = {entry for entry in limited if self._holds(*entry)}
            heapify(limited)
        while limited and not self._holds(*limited[0]):
            heappop(limited)
        return (limited[0][0], self.lanes[limited[0][1]]) if limited else None

    def _holds(self, clock: int, rate: int) -> bool:
        lane = self.lanes.get(rate)
        return lane is not None and lane.limited and lane.first is not None and lane.first - lane.offset == clock

    def _carried(self, level: int) -> tuple[int, int]:
        """What arrives at the parent if no flow may exceed `level`, and its slope."""
        return (self.demand, 0) if level >= self.level else self._offered(level)

    def _offered(self, level: int) -> tuple[int, int]:
        """F(level), and how much it grows with the next unit of level."""
        value, slope = self.rates.sent(level)
        for child in self.children.values():
            more, steeper = child._carried(level)
            value += more
            slope += steeper
        return value, slope

    def _solve(self) -> int:
        """The largest level with F(level) ≤ capacity, where F is concave and ends above it: Newton's method.

        A tangent of a concave function lies above it, so from the right one step leads to the left of the
        solution (or onto it), and from the left each step stays there.
        """
        capacity, floor = self.capacity, self.capacity // self.crossing
        level = self.level if self.level < UNLIMITED else floor
        value, slope = self._offered(level)
        if value > capacity:
            level = max(floor, level + (capacity - value) // slope) if slope else floor
            value, slope = self._offered(level)
        while step := (capacity - value) // slope:
            level += step
            value, slope = self._offered(level)
        return level
