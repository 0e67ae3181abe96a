"""Semi-synchronous rounds with a lag tolerance and a cache of everyone's last model."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgesim.engine.learning import Merging, Received
from edgesim.engine.reasons import OUTDATED
from edgesim.engine.schedules.schedule import Schedule, Server

_LIMIT = "limit"


@dataclass
class Safa(Schedule):
    """SAFA (Wu et al. 2021, IEEE Trans. Computers 70(5), arXiv:1910.01355).

    Round t + 1 begins at version t: every client that is idle and on line is sent the model. Jobs of earlier rounds
    go on from where they are (the tolerable clients), but for those whose model is of a version below t + 1 − `lag`:
    they are cancelled, and their clients start from the new model (the deprecated ones). The round ends when `quota`
    updates are picked, after `limit_ns`, or when no job is left. Compensatory first-come-first-merge: updates are
    picked in the order in which they arrive, those of clients that were picked in the last round only where the
    round ends short of the quota. All others are spare: see `Merging` for the aggregation.

    A client whose job was lost has no model to go on from: it is sent the newest one. What the paper does, to take
    up training where it broke off, is the rule `failures: {training: resume}`.
    """

    remembers: ClassVar[tuple[str, ...]] = ("is_open", "is_late", "last", "outdated")

    quota: int
    lag: int
    limit_ns: int
    is_open: bool = False
    is_late: bool = False
    last: list[int] = field(default_factory=list)  # clients picked in the last round
    outdated: list[int] = field(default_factory=list)  # clients that lagged too far behind, since the last aggregation
    spare: list[Received] = field(default_factory=list)

    def receive(self, server: Server, update: Received) -> None:
        is_picked = update.client not in self.last and len(self.received) < self.quota
        (self.received if is_picked else self.spare).append(update)

    def proceed(self, server: Server) -> None:
        if self.is_open:
            if server.in_flight and not (self.is_late or len(self.received) == self.quota):
                return
            self._close(server)
        if not (server.is_busy or server.is_over):
            self._open(server)

    def on_timer(self, server: Server, name: str) -> None:
        self.is_late = True

    def state(self) -> dict[str, Any]:
        return {**super().state(), "spare": [tuple(update) for update in self.spare]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.spare = [Received(*update) for update in state["spare"]]

    def _open(self, server: Server) -> None:
        for job in [job for job in server.jobs.values() if job.version < server.version + 1 - self.lag]:
            self.outdated.append(job.client)
            server.cancel(job.id, OUTDATED)
        started = server.dispatch(server.clients)
        self.is_open, self.is_late = bool(started or server.in_flight), False
        if self.is_open:
            server.set_timer(_LIMIT, server.now_ns + self.limit_ns)
        else:
            server.wait_for_client()

    def _close(self, server: Server) -> None:
        server.clear_timer(_LIMIT)
        short = self.quota - len(self.received)
        picked, spare = self.take() + self.spare[:short], self.spare[short:]
        self.spare, self.is_open = [], False
        self.last = [update.client for update in picked]
        if picked:
            outdated = tuple(client for client in dict.fromkeys(self.outdated) if client not in self.last)
            self.outdated = []
            server.aggregate(picked + spare, Merging(spare=len(spare), outdated=outdated))
