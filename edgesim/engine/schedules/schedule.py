"""What a schedule is told, and what it may do.

A schedule `receive`s each update at its instant. It is asked to `proceed` at the end of every instant in which
something changed: at the start, after updates arrived or jobs were lost, when a client that was waited for comes
on line, when one of its timers rang and when the server has done its computing; so clients that finish together
are also replaced together. All that it remembers is in `state`.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from edgesim.engine.backhaul import Backhaul
from edgesim.engine.forecast import Forecast
from edgesim.engine.history import History
from edgesim.engine.job import Job
from edgesim.engine.learning import Merging, Received, Terms


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

    @property
    def newest(self) -> int:
        """The number of the job in flight that was dispatched last; -1 where there is none."""
        ...

    @property
    def clients(self) -> int:
        """How many there are."""
        ...

    @property
    def history(self) -> History:
        """What is known of each client's past; to be read only."""
        ...

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        ...

    @property
    def model_bytes(self) -> int:
        """Of a message with every value of the model."""
        ...

    @property
    def backhaul(self) -> Backhaul:
        """The account of what crosses links between edges and the cloud."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether the server computes, so that nothing can be dispatched; the schedule will be asked after that."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the run has reached one of its limits."""
        ...

    def dispatch(self, count: int) -> int:
        """Start at most `count` jobs on available idle clients; the number started: 0 while the server computes."""
        ...

    def select(self, count: int, among: Callable[[int], bool] | None = None) -> list[int]:
        """At most `count` available idle clients, of those that `among` accepts; none while the server computes."""
        ...

    def start(self, clients: Sequence[int], terms: Sequence[Terms] = ()) -> range:
        """Start jobs on clients that were selected just now, on these terms, one each; the jobs' numbers."""
        ...

    def forecast(self, clients: Sequence[int], terms: Sequence[Terms] = ()) -> list[Forecast]:
        """What a job of each of these clients would take now if nothing came in its way."""
        ...

    def aggregate(self, received: list[Received], merging: Merging | None = None) -> None:
        """Merge updates: the server's version advances by one, and the server computes as long as that takes."""
        ...

    def cancel(self, job: int, reason: str) -> None:
        """Give up a job in flight, for one of the reasons of reasons.py; what it has spent is wasted."""
        ...

    def wait_for_client(self, *, patient: bool = False) -> None:
        """Ask to proceed again as soon as a client that is idle but off line comes back.

        Where none ever does and nothing is in flight the run is over, or idle until its time, unless `patient`:
        something else goes on. Raises RunError where no device has ever done anything.
        """
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
    Class attributes: remembers, the names of what else changes, plain data; waits_for_all, whether it does nothing
    while jobs are in flight, whatever arrives, and wants every update whole.
    """

    remembers: ClassVar[tuple[str, ...]] = ()
    waits_for_all: ClassVar[bool] = False

    received: list[Received] = field(default_factory=list)

    def version_of(self, server: Server, client: int) -> int:
        """How many aggregations the model has been through that this client works on; clients that are started
        together have the same."""
        return server.version

    def discount(self, staleness: int) -> float | None:
        """The factor of an update that is so stale; None if it is not wanted any more."""
        return 1.0

    def receive(self, server: Server, update: Received) -> None:
        """Take an update that is wanted."""
        self.received.append(update)

    def proceed(self, server: Server) -> None:
        """Dispatch what can be dispatched now."""
        raise NotImplementedError

    def exchanged(self, server: Server, one: int, other: int, done: bool) -> None:
        """The exchange between the clients of two jobs is over, `done` or broken off (without a server only)."""

    def on_timer(self, server: Server, name: str) -> None:
        """One of the schedule's timers has rung; it is asked to `proceed` next."""

    def take(self) -> list[Received]:
        """All that was received; from now on it is not waiting any more."""
        received, self.received = self.received, []
        return received

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain data."""
        own = {name: deepcopy(getattr(self, name)) for name in self.remembers}
        return {"received": [tuple(update) for update in self.received], **own}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.received = [Received(*update) for update in state["received"]]
        for name in self.remembers:
            setattr(self, name, deepcopy(state[name]))
