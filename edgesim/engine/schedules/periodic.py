"""Aggregation by the clock."""

from dataclasses import dataclass
from typing import ClassVar

from edgesim.engine.schedules.schedule import Schedule, Server
from edgesim.engine.schedules.staleness import Weight, constant, tolerated


@dataclass
class Periodic(Schedule):
    """Every `every_ns` whatever has arrived by then is aggregated; nothing if nothing has.

    `concurrency` clients train. One that finishes is replaced `at_once`, or only at the next tick; at a tick at
    which nobody works or is on line, the first who comes on line is dispatched to.
    """

    remembers: ClassVar[tuple[str, ...]] = ("next_ns", "is_due")

    concurrency: int
    every_ns: int
    weight: Weight = constant
    max_staleness: int | None = None
    at_once: bool = True
    next_ns: int = 0  # of the next tick
    is_due: bool = True  # whether clients are dispatched to

    def discount(self, staleness: int) -> float | None:
        return tolerated(self.weight, staleness, self.max_staleness)

    def proceed(self, server: Server) -> None:
        if not self.next_ns:
            self._wind(server)
        if not (self.at_once or self.is_due):
            return
        missing = self.concurrency - server.in_flight
        found = server.dispatch(missing) if missing > 0 else missing
        self.is_due = not server.in_flight
        if found < missing and (self.at_once or self.is_due):
            server.wait_for_client(patient=bool(self.received))  # which the next tick merges

    def on_timer(self, server: Server, name: str) -> None:
        self.is_due = True
        self._wind(server)
        if self.received:
            server.aggregate(self.take())

    def _wind(self, server: Server) -> None:
        self.next_ns = server.now_ns + self.every_ns
        server.set_timer("tick", self.next_ns)
