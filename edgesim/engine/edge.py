"""Edge: an aggregator between devices and cloud. To its own schedule it is the server, of its clients alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edgesim.engine.backhaul import Backhaul
from edgesim.engine.forecast import Forecast
from edgesim.engine.history import History
from edgesim.engine.job import Job
from edgesim.engine.learning import USUAL, Merging, Received, Terms
from edgesim.engine.schedules.schedule import Schedule, Server

_COUNTERS = ("version", "merged", "updates", "taken", "away")


@dataclass
class Edge:
    """One edge at work, with a model of its own.

    While that is on its way to the cloud or back, or waits there, nobody is dispatched to, and updates that arrive
    are kept until the cloud's model is here.

    Attributes: version, aggregations here; merged, those since the cloud's model came; updates, in these; taken, the
    version of the model that the cloud sent last; away, whether the edge waits for the cloud; waits, whether for that
    or for a client, and nothing else happens here; kept, updates that arrived while it was away. `send` takes the model
    off; `server` is the run's.
    """

    number: int
    schedule: Schedule
    edge_of: Sequence[int]  # each client's edge
    rounds: int  # aggregations between two exchanges with the cloud
    send: Callable[["Edge"], None]
    version: int = 0
    merged: int = 0
    updates: int = 0
    taken: int = 0
    away: bool = False
    waits: bool = False
    kept: list[Received] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _server: Server | None = None

    # ── what the hierarchy tells it ─────────────────────────────────────────────────────────────────
    def proceed(self, server: Server) -> None:
        """Let its schedule act."""
        self._server, self.waits = server, False
        self.schedule.proceed(self)
        self.waits |= self.away

    def on_timer(self, server: Server, name: str) -> None:
        """A timer of its schedule rang."""
        self._server = server
        self.schedule.on_timer(self, name)

    def receive(self, server: Server, update: Received) -> None:
        """An update has arrived."""
        self._server = server
        if self.away:
            self.kept.append(update)
        else:
            self.schedule.receive(self, update)

    def take(self, server: Server) -> None:
        """The cloud's model has come."""
        self.away, self.merged, self.updates = False, 0, 0
        kept, self.kept = self.kept, []
        for update in kept:
            self.receive(server, update)

    def state(self) -> dict[str, Any]:
        """As plain data."""
        own = {name: getattr(self, name) for name in _COUNTERS}
        kept = [tuple(update) for update in self.kept]
        return {**own, "kept": kept, "open": list(self._open), "schedule": self.schedule.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.kept, self._open = [Received(*update) for update in state["kept"]], list(state["open"])
        self.schedule.restore(state["schedule"])

    # ── what its schedule may do ────────────────────────────────────────────────────────────────────
    @property
    def server(self) -> Server:
        """The run's."""
        assert self._server is not None
        return self._server

    @property
    def now_ns(self) -> int:
        return self.server.now_ns

    @property
    def jobs(self) -> Mapping[int, Job]:
        jobs = self.server.jobs
        self._open = [job for job in self._open if job in jobs]
        return {job: jobs[job] for job in self._open}

    @property
    def in_flight(self) -> int:
        return len(self.jobs)

    @property
    def newest(self) -> int:
        return max(self.jobs, default=-1)

    @cached_property
    def clients(self) -> int:
        return sum(edge == self.number for edge in self.edge_of)

    @property
    def history(self) -> History:
        return self.server.history

    @property
    def layers(self) -> int:
        return self.server.layers

    @property
    def is_busy(self) -> bool:
        return self.away or self.server.is_busy

    @property
    def is_over(self) -> bool:
        return self.server.is_over

    def dispatch(self, count: int) -> int:
        return len(self.start(self.select(count)))

    def select(self, count: int, among: Callable[[int], bool] | None = None) -> list[int]:
        if self.away:
            return []
        number, edge_of = self.number, self.edge_of
        return self.server.select(count, lambda client: edge_of[client] == number and (among is None or among(client)))

    def start(self, clients: Sequence[int], terms: Sequence[Terms] = ()) -> range:
        own = [each._replace(group=self.number) for each in terms or [USUAL] * len(clients)]
        jobs = self.server.start(clients, own)
        self._open += jobs
        return jobs

    def forecast(self, clients: Sequence[int], terms: Sequence[Terms] = ()) -> list[Forecast]:
        return self.server.forecast(clients, terms)

    def aggregate(self, received: list[Received], merging: Merging | None = None) -> None:
        assert merging is None, "a schedule that merges in its own way has no place at an edge"
        self.server.aggregate(received, Merging(group=self.number, clients=self.clients))
        self.version += 1
        self.merged += 1
        self.updates += len(received)
        if self.merged == self.rounds:
            self.away = True
            self.send(self)

    def cancel(self, job: int, reason: str) -> None:
        self.server.cancel(job, reason)

    @property
    def model_bytes(self) -> int:
        return self.server.model_bytes

    @property
    def backhaul(self) -> Backhaul:
        return self.server.backhaul

    def wait_for_client(self, *, patient: bool = False) -> None:
        if not self.away:
            self.server.wait_for_client(patient=True)  # the other edges may be at work
            self.waits = not patient

    def set_timer(self, name: str, due_ns: int) -> None:
        self.server.set_timer(f"{self.number} {name}", due_ns)

    def clear_timer(self, name: str) -> None:
        self.server.clear_timer(f"{self.number} {name}")
