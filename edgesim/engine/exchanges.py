"""Exchanges: two devices send each other their models, one after the other, over their own links.

A leg goes at the lesser of the sender's uplink and the receiver's downlink, after the latencies of both, on a
connection that the sender opens; of radios that sleep, the sender's wakes first, then the receiver's. It takes both
devices all the time: the sender is in `upload`, the receiver in `download`.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import simpy

from edgesim.devices import cost
from edgesim.devices.fleet import Fleet
from edgesim.engine import clock
from edgesim.engine.boards import POWER, Board, Boards
from edgesim.engine.clock import Clock
from edgesim.engine.flight import Flight
from edgesim.engine.job import Job, Phase, Stretch
from edgesim.engine.ledger import Ledger
from edgesim.engine.radio import Radio
from edgesim.engine.reasons import PEER


@dataclass(slots=True)
class Exchange:
    """Between the clients of two jobs.

    Attributes: sizes, in bytes, of what each sends; leg, 0: the first sends, 1: the other; start_ns, end_ns of it;
    whole_ns, what it would take undisturbed; delay_ns, the part of that in which nothing moves; reasons, why it is
    broken off, for sender and receiver.
    """

    one: int
    other: int
    sizes: tuple[int, int]
    leg: int = 0
    start_ns: int = 0
    end_ns: int = 0
    whole_ns: int = 0
    delay_ns: int = 0
    reasons: tuple[str, str] = ("", "")

    @property
    def ends(self) -> tuple[int, int]:
        """The jobs of sender and receiver."""
        return (self.one, self.other) if self.leg == 0 else (self.other, self.one)

    @property
    def is_broken(self) -> bool:
        """Whether the leg ends before its time."""
        return self.end_ns - self.start_ns < self.whole_ns

    def moved(self, now_ns: int) -> int:
        """Bytes of the leg by now."""
        done_ns = now_ns - self.start_ns
        if done_ns >= self.whole_ns:
            return self.sizes[self.leg]
        return self.sizes[self.leg] * max(done_ns - self.delay_ns, 0) // max(self.whole_ns - self.delay_ns, 1)


class Exchanges:
    """Those under way, by the number of the job that began; `done` is told the two jobs and whether all came through.

    A device that leaves, or whose battery is empty, breaks the exchange off; what it took is spent.
    """

    def __init__(
        self, fleet: Fleet, seed: int, ledger: Ledger, clock: Clock, flight: Flight,
        done: Callable[[int, int, bool], None],
    ) -> None:  # fmt: skip
        self._boards, self._radio = Boards(fleet, seed), Radio(fleet, ledger)
        self._clock, self._flight, self._done = clock, flight, done
        self._open: dict[int, Exchange] = {}
        self._jobs: dict[int, Job] = {}
        self._on_wake: list[Callable[[simpy.Event], None]] = [self._wake]

    def __len__(self) -> int:
        return len(self._open)

    def start(self, one: Job, other: Job, sizes: tuple[int, int]) -> None:
        """Two clients that are on line begin to exchange."""
        exchange = Exchange(one.id, other.id, sizes)
        self._open[one.id] = exchange
        self._jobs |= {one.id: one, other.id: other}
        self._begin(exchange)

    def parts(self, now_ns: int) -> list[tuple[Job, Stretch]]:
        """What the legs under way have taken by now, for both sides; without radio tails."""
        found = []
        for exchange in self._open.values():
            if exchange.start_ns < now_ns:
                found += self._stretches(exchange, now_ns, "in-flight")
        return found

    def state(self) -> list[tuple[Any, ...]]:
        """As plain data."""
        return [astuple(exchange) for exchange in self._open.values()]

    def restore(self, state: list[tuple[Any, ...]], jobs: Mapping[int, Job]) -> None:
        """Take up a `state`, given the jobs by number."""
        for fields in state:
            exchange = Exchange(*fields)
            self._open[exchange.one] = exchange
            self._jobs |= {job: jobs[job] for job in exchange.ends}
            self._sleep(exchange)

    # ── legs ────────────────────────────────────────────────────────────────────────────────────────
    def _begin(self, exchange: Exchange) -> None:
        """Plan a leg from now on."""
        sender, receiver = (self._jobs[job] for job in exchange.ends)
        up, down = (self._boards.of_job(job.id, job.client) for job in (sender, receiver))
        size, rate_bps = exchange.sizes[exchange.leg], min(up.up_bps, down.down_bps)
        delay_s = cost.delay_s(size, rate_bps, up.latency_s + down.latency_s, up.round_trips, up.window_bytes)
        exchange.start_ns = now_ns = self._clock.now_ns
        waking_ns = sum(self._radio.waking_ns(job.client, job.planned(), now_ns) for job in (sender, receiver))
        exchange.whole_ns = waking_ns + cost.transfer_ns(size, rate_bps, delay_s)
        exchange.delay_ns = min(waking_ns + round(1e9 * delay_s), exchange.whole_ns)
        due_ns, leaves = now_ns + exchange.whole_ns, self._flight.presence.leaves
        ends = (
            leaves(sender.client, Phase.UPLOAD, now_ns, due_ns),
            leaves(receiver.client, Phase.DOWNLOAD, now_ns, due_ns),
        )
        exchange.end_ns = min([due_ns, *(end[0] for end in ends if end is not None)])
        mine, other = (PEER if end is None or end[0] > exchange.end_ns else end[1] for end in ends)
        exchange.reasons = (mine, other) if exchange.is_broken else ("", "")
        self._sleep(exchange)

    def _sleep(self, exchange: Exchange) -> None:
        self._clock.at(exchange.end_ns, clock.FIRST_JOB + exchange.one, self._on_wake, exchange)

    def _wake(self, event: simpy.Event) -> None:
        exchange = event.value
        assert isinstance(exchange, Exchange)
        outcome = "failed" if exchange.is_broken else "done"
        for job, stretch in self._stretches(exchange, exchange.end_ns, outcome):
            self._flight.add(job, stretch)
        if outcome == "done" and exchange.leg == 0:
            exchange.leg = 1
            self._begin(exchange)
            return
        del self._open[exchange.one], self._jobs[exchange.one], self._jobs[exchange.other]
        self._done(exchange.one, exchange.other, outcome == "done")

    def _stretches(self, exchange: Exchange, end_ns: int, outcome: str) -> list[tuple[Job, Stretch]]:
        jobs = [self._jobs[job] for job in exchange.ends]
        found = []
        boards, reasons = self._boards.of([job.client for job in jobs]), exchange.reasons
        for job, board, phase, broken in zip(jobs, boards, _SIDES, reasons, strict=True):
            energy_j = self._energy_j(job, board, phase, exchange.start_ns, end_ns, ends=outcome != "in-flight")
            start_ns, size, reason = exchange.start_ns, exchange.moved(end_ns), broken if outcome == "failed" else ""
            found.append((job, Stretch(phase, start_ns, end_ns, size, 0.0, energy_j, outcome, reason)))
        return found

    def _energy_j(self, job: Job, board: Board, phase: int, start_ns: int, end_ns: int, *, ends: bool) -> float:
        energy_j = cost.energy_j(board[POWER + phase], end_ns - start_ns)
        if ends and end_ns > start_ns:
            energy_j += self._radio.tail_j(job.client, job.planned(), start_ns)
        return energy_j


_SIDES = (Phase.UPLOAD.value, Phase.DOWNLOAD.value)
