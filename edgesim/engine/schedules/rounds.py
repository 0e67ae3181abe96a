"""Rounds that end at a time limit, if not before: what schedules with deadlines share."""

from dataclasses import dataclass
from typing import ClassVar

from edgesim.engine.learning import Received
from edgesim.engine.reasons import DEADLINE, OVER_SELECTED
from edgesim.engine.schedules.schedule import Schedule, Server

_LIMIT = "deadline"


@dataclass(kw_only=True)
class Rounds(Schedule):
    """One round after the other. All that arrives by the instant of the limit is in time.

    Attributes: first, the number of the round's first job, -1 between rounds; arrived, how many of the round's own
    updates have; is_late, whether its time is over.
    """

    remembers: ClassVar[tuple[str, ...]] = ("first", "arrived", "is_late")

    first: int = -1
    arrived: int = 0
    is_late: bool = False

    def proceed(self, server: Server) -> None:
        if self.first >= 0:
            if not (self.is_late or server.newest < self.first or self.is_enough()):
                return
            self.close(server)
        self.open(server)

    def receive(self, server: Server, update: Received) -> None:
        super().receive(server, update)
        self.arrived += update.job >= self.first

    def on_timer(self, server: Server, name: str) -> None:
        self.is_late = True

    def is_enough(self) -> bool:
        """Whether the round may end before its time, with jobs still in flight."""
        return False

    def open(self, server: Server) -> None:
        """Choose clients, dispatch, and `begin`; or wait for a client."""
        raise NotImplementedError

    def begin(self, server: Server, jobs: range, limit_ns: int) -> None:
        """The round has these jobs and so much time."""
        if not jobs:
            server.wait_for_client()
            return
        self.first, self.arrived, self.is_late = jobs.start, 0, False
        server.set_timer(_LIMIT, server.now_ns + limit_ns)

    def close(self, server: Server) -> None:
        """End the round: late jobs are cancelled, what has arrived is aggregated."""
        for job in [*server.jobs]:
            server.cancel(job, DEADLINE if self.is_late else OVER_SELECTED)
        self.merge(server)

    def merge(self, server: Server) -> None:
        """Aggregate what has arrived; the round is over."""
        server.clear_timer(_LIMIT)
        self.first = -1
        if self.received:
            server.aggregate(self.take())
