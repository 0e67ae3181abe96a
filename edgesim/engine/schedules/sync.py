"""Synchronous rounds."""

from dataclasses import dataclass
from typing import ClassVar

from edgesim.engine.schedules.schedule import Schedule, Server


@dataclass
class Sync(Schedule):
    """Rounds: a cohort is dispatched, all that survive are waited for, then they are aggregated."""

    waits_for_all: ClassVar[bool] = True

    cohort: int

    def proceed(self, server: Server) -> None:
        if server.in_flight:
            return
        if self.received:
            server.aggregate(self.take())
        if not server.dispatch(self.cohort):
            server.wait_for_client()
