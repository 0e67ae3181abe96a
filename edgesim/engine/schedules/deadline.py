"""Rounds with a deadline and over-selection."""

from dataclasses import dataclass

from edgesim.engine.schedules.rounds import Rounds
from edgesim.engine.schedules.schedule import Server
from edgesim.engine.schedules.staleness import Weight, constant, tolerated


@dataclass
class Deadline(Rounds):
    """`selected` clients are dispatched; the round ends with `cohort` of their updates, or after `limit_ns`.

    Bonawitz et al. 2019, arXiv:1902.01046 (over-selection by 130 %, a time-out). Jobs that are late then are
    cancelled: their devices are told to stop, so that they neither spend more nor are missing in the next round,
    and what they have spent is wasted. With `late_kept` they go on instead, and their updates are merged, by their
    staleness, at the end of the round in which they arrive, besides that round's own. A round in which nothing
    arrives aggregates nothing.
    """

    cohort: int
    selected: int
    limit_ns: int
    late_kept: bool = False
    weight: Weight = constant
    max_staleness: int | None = None

    def discount(self, staleness: int) -> float | None:
        return tolerated(self.weight, staleness, self.max_staleness)

    def is_enough(self) -> bool:
        return self.arrived >= self.cohort

    def open(self, server: Server) -> None:
        self.begin(server, server.start(server.select(self.selected)), self.limit_ns)

    def close(self, server: Server) -> None:
        if self.late_kept:
            self.merge(server)
        else:
            super().close(server)
