"""Schedules: when the server dispatches and when it aggregates.

A schedule `receive`s each update at its instant. It is asked to `proceed` at the end of every instant in which
something changed: at the start, after updates arrived or jobs were lost, and when a client that was waited for
comes on line; so clients that finish together are also replaced together. All it remembers is `received`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from edgesim.engine.learning import Received

Weight: TypeAlias = Callable[[int], float]
"""The factor of an update by its staleness."""


class Server(Protocol):
    """What a schedule may do."""

    @property
    def in_flight(self) -> int: ...

    def dispatch(self, count: int) -> int:
        """Start at most `count` jobs on available idle clients; the number started."""
        ...

    def aggregate(self, received: list[Received]) -> None:
        """Merge updates: the server's version advances by one."""
        ...

    def wait_for_client(self) -> None:
        """Ask to proceed again as soon as a client that is idle but off line comes back."""
        ...


class Schedule(Protocol):
    """When to dispatch and when to aggregate."""

    received: list[Received]

    def discount(self, staleness: int) -> float | None:
        """The factor of an update that is so stale; None if it is not wanted any more."""
        ...

    def receive(self, server: Server, update: Received) -> None:
        """Take an update that is wanted."""
        ...

    def proceed(self, server: Server) -> None:
        """Dispatch what can be dispatched now."""
        ...


@dataclass
class Sync:
    """Rounds: a cohort is dispatched, all that survive are waited for, then they are aggregated."""

    cohort: int
    received: list[Received] = field(default_factory=list)

    def discount(self, staleness: int) -> float | None:
        return 1.0

    def receive(self, server: Server, update: Received) -> None:
        self.received.append(update)

    def proceed(self, server: Server) -> None:
        if server.in_flight:
            return
        if self.received:
            received, self.received = self.received, []
            server.aggregate(received)
        if not server.dispatch(self.cohort):
            server.wait_for_client()


@dataclass
class Buffered:
    """`concurrency` clients train at all times; every `buffer` arrivals are aggregated (FedBuff).

    Nguyen et al. 2022, arXiv:2106.06639. A buffer of 1 is fully asynchronous. Updates more than
    `max_staleness` versions old are discarded.
    """

    concurrency: int
    buffer: int
    weight: Weight
    max_staleness: int | None = None
    received: list[Received] = field(default_factory=list)

    def discount(self, staleness: int) -> float | None:
        if self.max_staleness is not None and staleness > self.max_staleness:
            return None
        return self.weight(staleness)

    def receive(self, server: Server, update: Received) -> None:
        self.received.append(update)
        if len(self.received) == self.buffer:
            received, self.received = self.received, []
            server.aggregate(received)

    def proceed(self, server: Server) -> None:
        missing = self.concurrency - server.in_flight
        if missing > 0 and server.dispatch(missing) < missing:
            server.wait_for_client()


def constant(staleness: int) -> float:
    """1: staleness does not matter."""
    return 1.0


@dataclass(frozen=True)
class Polynomial:
    """(1 + τ)^−exponent (Xie et al. 2019, arXiv:1903.03934; FedBuff uses 1/2)."""

    exponent: float

    def __call__(self, staleness: int) -> float:
        return float((1 + staleness) ** -self.exponent)


@dataclass(frozen=True)
class Hinge:
    """1 up to τ = grace, then 1 / (slope (τ − grace) + 1) (Xie et al. 2019, arXiv:1903.03934)."""

    slope: float
    grace: int

    def __call__(self, staleness: int) -> float:
        return 1.0 if staleness <= self.grace else 1.0 / (self.slope * (staleness - self.grace) + 1.0)
