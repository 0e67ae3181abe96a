"""What a schedule is told, and what it may do.

A schedule `receive`s each update at its instant. It is asked to `proceed` at the end of every instant in which
something changed: at the start, after updates arrived or jobs were lost, when a client that was waited for comes
on line, when one of its timers rang and when the server has done its computing; so clients that finish together
are also replaced together. All that it remembers is in `state`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgesim.engine.job import Job
from edgesim.engine.learning import Received


class Server(Protocol):
    """What a schedule may do."""

    @property
    def now_ns(self) -> int: ...

    @property
    def version(self) -> int:
        """Aggregations so far."""
        ...

    @property
    def jobs(self) -> Mapping[int, Job]:
        """Those in flight, by number, in the order of dispatch; to be read only."""
        ...

    @property
    def in_flight(self) -> int:
        """How many these are."""
        ...

    def dispatch(self, count: int) -> int:
        """Start at most `count` jobs on available idle clients; the number started: 0 while the server computes."""
        ...

    def aggregate(self, received: list[Received]) -> None:
        """Merge updates: the server's version advances by one, and the server computes as long as that takes."""
        ...

    def cancel(self, job: int) -> None:
        """Give up a job in flight; what it has spent is wasted."""
        ...

    def wait_for_client(self) -> None:
        """Ask to proceed again as soon as a client that is idle but off line comes back."""
        ...

    def set_timer(self, name: str, due_ns: int) -> None:
        """Ask for `on_timer(name)` at that instant, after its arrivals; a name has one timer, the one set last."""
        ...

    def clear_timer(self, name: str) -> None:
        """Forget a timer, if it is set."""
        ...


@dataclass(kw_only=True)
class Schedule:
    """When to dispatch and when to aggregate: the base of all schedules.

    Attributes: received, updates at the server that are not aggregated yet, in the order of their arrival.
    """

    received: list[Received] = field(default_factory=list)

    def discount(self, staleness: int) -> float | None:
        """The factor of an update that is so stale; None if it is not wanted any more."""
        return 1.0

    def receive(self, server: Server, update: Received) -> None:
        """Take an update that is wanted."""
        self.received.append(update)

    def proceed(self, server: Server) -> None:
        """Dispatch what can be dispatched now."""
        raise NotImplementedError

    def on_timer(self, server: Server, name: str) -> None:
        """One of the schedule's timers has rung; it is asked to `proceed` next."""

    def take(self) -> list[Received]:
        """All that was received; from now on it is not waiting any more."""
        received, self.received = self.received, []
        return received

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain data."""
        return {"received": [tuple(update) for update in self.received]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.received = [Received(*update) for update in state["received"]]
