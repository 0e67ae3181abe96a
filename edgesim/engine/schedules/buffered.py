"""Buffered asynchronous aggregation."""

from dataclasses import dataclass

from edgesim.engine.learning import Received
from edgesim.engine.schedules.schedule import Schedule, Server
from edgesim.engine.schedules.staleness import Weight, tolerated


@dataclass
class Buffered(Schedule):
    """`concurrency` clients train at all times; every `buffer` arrivals are aggregated (FedBuff).

    Nguyen et al. 2022, arXiv:2106.06639. A buffer of 1 is fully asynchronous. Updates more than
    `max_staleness` versions old are discarded.
    """

    concurrency: int
    buffer: int
    weight: Weight
    max_staleness: int | None = None

    def discount(self, staleness: int) -> float | None:
        return tolerated(self.weight, staleness, self.max_staleness)

    def receive(self, server: Server, update: Received) -> None:
        super().receive(server, update)
        if len(self.received) == self.buffer:
            server.aggregate(self.take())

    def proceed(self, server: Server) -> None:
        missing = self.concurrency - server.in_flight
        if missing > 0 and server.dispatch(missing) < missing:
            server.wait_for_client()
