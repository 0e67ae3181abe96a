"""Peers: clients that exchange models among themselves. Nobody is the server."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgesim.devices.availability import NEVER
from edgesim.devices.fleet import Fleet
from edgesim.engine.clock import Clock
from edgesim.engine.coordinator import Coordinator
from edgesim.engine.exchanges import Exchanges
from edgesim.engine.job import Job, Phase, Spent
from edgesim.engine.learning import Merging, Received
from edgesim.engine.ledger import Ledger


class Peers(Coordinator):
    """A job is a client's turn: it trains, then meets others, and ends when its model has been mixed.

    Attributes: exchanges, under way.
    """

    def __init__(self, *, fleet: Fleet, ledger: Ledger, clock: Clock, **rest: Any) -> None:
        # Nothing goes to a server and back, not even an empty message, which would take a latency and wake a radio.
        nothing = np.zeros_like(fleet.latency_s)
        still = fleet.but(latency_s=nothing, promotion_s=nothing)
        super().__init__(fleet=still, ledger=ledger, clock=clock, **rest)
        self.exchanges = Exchanges(fleet, rest["rules"].seed, ledger, clock, self.flight, self._exchanged)

    @property
    def docked(self) -> dict[int, Job]:
        """Jobs whose training is done, by number: their clients are not idle."""
        return self.flight.left

    @property
    def unfinished(self) -> int:
        return self.in_flight + len(self.docked)

    def spent(self) -> Spent:
        total = super().spent()
        for job in self.docked.values():
            for stretch in job.stretches:
                total.enter(stretch)
        for _, stretch in self.exchanges.parts(self.now_ns):
            total.enter(stretch)
        return total

    def levels(self) -> dict[str, float]:
        return self.flight.levels(self.exchanges.parts(self.now_ns))

    def close(self) -> list[Spent]:
        for job, stretch in self.exchanges.parts(self.now_ns):
            self.flight.add(job, stretch)
        return [*super().close(), *(self.flight.book(job) for job in [*self.docked.values()])]

    def state(self) -> dict[str, Any]:
        docked = [job.state() for job in self.docked.values()]
        return {**super().state(), "docked": docked, "exchanges": self.exchanges.state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.docked.update({job.id: job for job in map(Job.restored, state["docked"])})
        self.exchanges.restore(state["exchanges"], self.docked)

    # ── what a schedule may do ──────────────────────────────────────────────────────────────────────
    @property
    def meetings(self) -> int:
        """Exchanges under way."""
        return len(self.exchanges)

    def is_on(self, client: int) -> bool:
        """Whether a client can begin an exchange."""
        return self.flight.presence.is_on(client, self.now_ns)

    def returns_ns(self, clients: Sequence[int]) -> int | None:
        """When to look again whether one of these clients can."""
        due_ns = self.flight.presence.next_change_ns(np.array(clients, np.int64), self.now_ns)
        return None if due_ns == NEVER else due_ns

    def exchange(self, one: int, other: int) -> None:
        """Let the clients of two docked jobs send each other their models; the schedule is told of the end."""
        sizes = self._learning.upload_bytes(one), self._learning.upload_bytes(other)
        self.exchanges.start(self.docked[one], self.docked[other], sizes)

    def aggregate(self, received: list[Received], merging: Merging | None = None) -> None:
        """Mix models: the turns of these clients are over."""
        for update in received:
            self.received[update.job] = self.flight.book(self.docked[update.job], 0)
            self._learning.arrive(update.job, update.client)
            self.idle.join(update.client)
        super().aggregate(received, merging)

    # ── what it is told ─────────────────────────────────────────────────────────────────────────────
    def arrived(self, job: Job) -> None:
        """The training is done."""
        self._cause = ("arrival", job.id)
        self.flight.leave(job)
        job.stretches = [stretch for stretch in job.stretches if stretch.phase == Phase.TRAIN]
        job.followed = len(job.stretches)
        self.history.arrive(job, self.now_ns)
        self.fruitless = 0
        self.schedule.receive(self, Received(job.id, job.client, 0, 1.0))
        self.to_proceed = True

    def _exchanged(self, one: int, other: int, done: bool) -> None:
        self._cause = ("arrival" if done else "loss", one)
        self.schedule.exchanged(self, one, other, done)
        self.to_proceed = True

    def _deserted(self) -> str:
        if not self.docked:
            return super()._deserted()
        waiting = sorted(job.client for job in self.docked.values())
        return (
            f"{len(waiting)} clients have trained (client {waiting[0]}, say) and wait for neighbours, none of which "
            "will ever train; if there is to be more, give the graph other edges, or the neighbours' devices what a "
            "job needs: time on line, or more memory, say"
        )
