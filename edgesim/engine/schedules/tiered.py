"""Tiers: devices of like speed in rounds of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from edgesim.engine.learning import Merging, Received, Terms
from edgesim.engine.schedules.schedule import Schedule, Server


@dataclass
class Tiered(Schedule):
    """FedAT: rounds inside each tier, tiers asynchronous to each other (Chai et al. 2021, arXiv:2010.05958).

    Clients are sorted by latency into `tiers` of equal size, the fastest first: by the last job's, or, of clients
    never heard of, by what a job would take undisturbed; and anew after every `retier` aggregations. A round of a
    tier takes `cohort` of its clients from the server's model to the tier's, w_m. Then the server's is
    w = Σ_m (T_{M+1−m} / T) w_m, T_m the rounds of tier m so far and T their sum: slow tiers have the counts of fast
    ones. So, as in the paper, what fast tiers learn counts for nothing until the slower ones have taken part.
    """

    remembers: ClassVar[tuple[str, ...]] = ("tier", "rounds", "out", "sorted_at")

    tiers: int
    cohort: int
    retier: int | None = None
    unseen: Sequence[int] = ()  # clients that are in no tier
    tier: list[int] = field(default_factory=list)  # of each client; −1: none
    rounds: list[int] = field(default_factory=list)  # T_m
    out: list[list[int]] = field(default_factory=list)  # each tier's jobs in this round
    sorted_at: int = 0  # the server's version then

    def __post_init__(self) -> None:
        self.rounds, self.out = [0] * self.tiers, [[] for _ in range(self.tiers)]

    def proceed(self, server: Server) -> None:
        done = [m for m, jobs in enumerate(self.out) if not any(job in server.jobs for job in jobs)]
        for m in done:
            self._merge(server, m)
            if server.is_over:
                return
        if not self.tier or (self.retier is not None and server.version - self.sorted_at >= self.retier):
            self._sort(server)
        for m in done:
            self._start(server, m)
        if not all(self.out):
            server.wait_for_client()

    def _merge(self, server: Server, m: int) -> None:
        own, self.out[m] = set(self.out[m]), []
        received: list[Received] = []
        others: list[Received] = []
        for update in self.received:
            (received if update.job in own else others).append(update)
        self.received = others
        if received:
            self.rounds[m] += 1
            weights, clients = tier_weights(self.rounds), self.tier.count(m)
            server.aggregate(received, Merging(group=m, clients=clients, weights=weights))

    def _start(self, server: Server, m: int) -> None:
        tier = self.tier
        clients = server.select(self.cohort, lambda client: tier[client] == m)
        self.out[m] = [*server.start(clients, [Terms(group=m)] * len(clients))]

    def _sort(self, server: Server) -> None:
        latency_ns = server.history.duration_ns.copy()
        tier = np.full(len(latency_ns), -1)
        among = np.setdiff1d(np.arange(len(tier)), self.unseen)
        unknown = among[latency_ns[among] < 0]
        latency_ns[unknown] = [forecast.total_ns for forecast in server.forecast(unknown.tolist())]
        by_latency = among[np.argsort(latency_ns[among], kind="stable")]
        for m, clients in enumerate(np.array_split(by_latency, self.tiers)):
            tier[clients] = m
        self.tier, self.sorted_at = tier.tolist(), server.version


def tier_weights(rounds: Sequence[int]) -> tuple[float, ...]:
    """T_{M+1−m} / T of each tier, by the rounds T_m of each; at least one has had one."""
    return tuple(count / sum(rounds) for count in reversed(rounds))
