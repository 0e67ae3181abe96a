"""Jobs worked out anew from docs/cost-model.md, by an oracle that is slow and simple: it goes from instant to instant,
plans nothing, and knows of the run only who was dispatched to when. What can happen to jobs is mixed at random."""

from dataclasses import dataclass, field
from math import ceil, log1p, log2
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batteries import power
from test_networks import rules, star
from worlds import MB, ended, fleet

from edgesim import streams
from edgesim.devices.availability import FleetAvailability, Markov, Process
from edgesim.devices.windows import Bernoulli
from edgesim.engine.limits import Stop
from edgesim.engine.rules import Restart, Retry, Rules
from edgesim.engine.schedules import Buffered, Polynomial, Schedule, Sync
from edgesim.scenario.closing import client_table

S, END = 1_000_000_000, 50_000_000_007
BYTE, OWN, SHARED = 8 * 10**6 * S, 8 * 10**12, 12 * 10**12  # a byte in microbit/s times ns; rates in microbit/s
TRAIN, PHASES = 1, ("download", "train", "upload")
TAIL_S, TAIL_W, WORK_W, IDLE_W = 0.7, 0.5, 1.0, 0.25
CAPACITY_J, CHARGE_W, DRAIN_W, STOP_J, RESUME_J = 12.0, 1.1, 0.1, 1.0, 3.0
CONNECTIONS = ((0.0, 0.0), (2.0, 0.0), (0.0, 15e3), (3.0, 40e3), (1.0, 6e5))
CHARGING = Markov(mean_on_s=6.0, mean_off_s=6.0)


@dataclass
class Doing:
    """A job under way: `left`, ns of training, or what is to be moved once `latency` ns are over; `start` of the
    stretch, None while it waits, until `due` at least; `fresh`, whether nothing of its phase was tried yet."""

    number: int
    client: int
    due: int
    phase: int = 0
    latency: int = 0
    left: int = 0
    left_at_start: int = 0
    start: int | None = None
    fresh: bool = True
    begun: bool = False  # the attempt
    crash: int | None = None
    rows: list[tuple[str, int, int, int, float, str]] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(row[0] == PHASES[self.phase] and row[-1] == outcome for row in self.rows)


@dataclass
class Oracle:
    """Times are in ns, dispatches (when, job, client); lists are [client]."""

    rule: Rules
    train_s: list[float]
    latency_s: float
    promotion_s: float
    connection: tuple[float, float]
    on: FleetAvailability
    charging: FleetAvailability
    has_batteries: bool
    shared: int | None
    level_j: list[float]
    now: int = 0
    jobs: dict[int, Doing] = field(default_factory=dict)
    ended: dict[int, Doing] = field(default_factory=dict)

    def run(self, dispatches: list[tuple[int, int, int]]) -> None:
        self.clients = range(len(self.train_s))
        self.empty = [self.has_batteries and level <= STOP_J for level in self.level_j]
        self.last_transfer: list[int | None] = [None for _ in self.clients]
        self.idle, self.no_charge, self.off = ([0 for _ in self.clients] for _ in range(3))
        while self.now < END:
            for _, number, client in [one for one in dispatches if one[0] == self.now]:
                self.jobs[number] = self.anew(Doing(number, client, self.now))
            while waiting := [job for job in self.jobs.values() if job.start is None and self.is_due(job)]:
                self.begin(waiting[0])
            rates = {job.number: self.rate(job) for job in self.working() if not job.latency}
            ends = {number: self.now + -(-self.jobs[number].left // rate) for number, rate in rates.items()}
            then = min([*self.instants(), *ends.values(), *(at for at, _, _ in dispatches if at > self.now), END])
            self.advance(then, rates)
            for job in self.working() if then < END else []:
                if ends.get(job.number) == then:
                    self.complete(job)
                elif not self.can(job) or job.crash == then:
                    self.broken(job)
        for job in self.working():
            self.book(job, "in-flight")
        self.ended |= self.jobs

    def working(self) -> list[Doing]:
        return [job for job in self.jobs.values() if job.start is not None]

    def can(self, job: Doing) -> bool:
        out = self.rule.outages
        within = self.now % out.period_ns if out.period_ns else self.now
        is_down = any(a <= within < b for a, b in zip(out.starts_ns, out.ends_ns, strict=True))
        is_reached = job.phase == TRAIN or not is_down
        return is_reached and self.on.is_on(job.client, self.now) and not self.empty[job.client]

    def is_due(self, job: Doing) -> bool:
        return job.due <= self.now and (self.can(job) or (self.rule_of(job) == "abort" and job.fresh))

    def rule_of(self, job: Doing) -> str | Retry | Restart:
        return self.rule.training if job.phase == TRAIN else self.rule.transfer

    def charge_w(self, client: int) -> float:
        """Into the client's battery, all in all."""
        works = any(job.client == client for job in self.working())
        return CHARGE_W * self.charging.is_on(client, self.now) - DRAIN_W - (WORK_W - IDLE_W) * works

    def rate(self, job: Doing) -> int:
        """What is moved in a ns: transfers of one direction share the server's link evenly, beside their own."""
        if job.phase == TRAIN:
            return 1
        others = sum(other.phase == job.phase and not other.latency for other in self.working())
        return OWN if self.shared is None else min(OWN, self.shared // others)

    def instants(self) -> list[int]:
        """At which something may change, but for ends of stretches."""
        found: list[int | None] = [self.on.next_change_ns(client, self.now) for client in self.clients]
        found += [job.due if job.start is None else self.now + job.latency for job in self.jobs.values()]
        found += [job.crash for job in self.working()] + [self.rule.outages.next_change_ns(self.now)]
        for client in self.clients if self.has_batteries else ():
            watt = self.charge_w(client)
            goals = (RESUME_J, CAPACITY_J) if watt > 0 else (STOP_J, 0.0)
            found += [self.now + ceil(S * (goal - self.level_j[client]) / watt) for goal in goals]
            found.append(self.charging.next_change_ns(client, self.now))
        return [at for at in found if at is not None and at > self.now]

    def advance(self, then: int, rates: dict[int, int]) -> None:
        ns = then - self.now
        for client in set(self.clients) - {job.client for job in self.working()}:
            kept = self.no_charge if self.empty[client] else self.idle
            (kept if self.on.is_on(client, self.now) else self.off)[client] += ns
        for client in self.clients if self.has_batteries else ():
            level_j = min(max(self.level_j[client] + self.charge_w(client) * ns / S, 0.0), CAPACITY_J)
            if level_j > RESUME_J - 1e-8 if self.empty[client] else level_j < STOP_J + 1e-8:
                level_j = RESUME_J if self.empty[client] else STOP_J
                self.empty[client] = not self.empty[client]
            self.level_j[client] = level_j
        for job in self.working():
            if job.latency:
                job.latency -= ns
            else:
                job.left = max(job.left - ns * rates[job.number], 0)
        self.now = then

    def anew(self, job: Doing) -> Doing:
        """Its phase from the beginning."""
        job.begun, job.latency = False, 0 if job.phase == TRAIN else round(S * self.delay_s())
        job.left = round(S * self.train_s[job.client]) if job.phase == TRAIN else MB * BYTE
        return job

    def delay_s(self) -> float:
        """The latency, as often as the connection needs, and slow start in closed form: of the windows w, 2w, 4w, … all
        but the last are waited for, and of these the ones that a round trip outlasts."""
        round_trips, window = self.connection
        opening_s = self.latency_s * (1 + round_trips)
        if not window * self.latency_s:
            return opening_s
        windows, first_s = ceil(log2(MB / window + 1)), window / 1e6
        waits = min(windows - 1, ceil(log2(self.latency_s / first_s)) if first_s < self.latency_s else 0)
        return opening_s + waits * self.latency_s - (1 << waits) * first_s + first_s

    def begin(self, job: Doing) -> None:
        can, job.start, job.fresh, job.left_at_start = self.can(job), self.now, False, job.left
        if job.phase != TRAIN and not job.begun and self.sleeps(job):
            job.latency += round(S * self.promotion_s)
        job.begun = True
        if not can:
            self.book(job, "lost")
        elif self.rule.crash_s is not None:
            drawn = log1p(-self.draw("crash", job.number, len(job.rows)))
            job.crash = self.now + max(1, ceil(-1e9 * self.rule.crash_s * drawn))

    def sleeps(self, job: Doing) -> bool:
        """Whether its radio does. The job before may end a few ns later here than in the run."""
        last = self.last_transfer[job.client]
        ends = any(other.client == job.client and other is not job and other.phase != TRAIN for other in self.working())
        return not ends and (last is None or self.now >= last + round(S * TAIL_S))

    def draw(self, purpose: str, *ids: int) -> float:
        return next(streams.sequence(streams.key(self.rule.seed, purpose, *ids)))

    def book(self, job: Doing, outcome: str) -> None:
        """A stretch is over."""
        assert job.start is not None
        energy_j, moved = WORK_W * (self.now - job.start) / S, 0
        if job.phase != TRAIN:
            if self.shared is not None:  # whole bytes
                job.left = -(-job.left // BYTE) * BYTE
            moved = (MB * BYTE - job.left) // BYTE - (MB * BYTE - job.left_at_start) // BYTE
            if self.now > job.start and outcome != "in-flight":
                last, self.last_transfer[job.client] = self.last_transfer[job.client], self.now
                tail_j = TAIL_W * (TAIL_S if last is None else min(TAIL_S, (job.start - last) / S))
                energy_j += tail_j
                if self.has_batteries:
                    self.level_j[job.client] = max(self.level_j[job.client] - tail_j, 0.0)
                    self.empty[job.client] |= self.level_j[job.client] <= STOP_J
        job.rows.append((PHASES[job.phase], job.start, self.now, moved, energy_j, outcome))
        job.start, job.due = None, self.now
        if outcome == "lost" or (outcome == "done" and job.phase == 2):
            self.ended[job.number] = self.jobs.pop(job.number)

    def complete(self, job: Doing) -> None:
        rule, before = self.rule.corruption, job.count("corrupt")
        drawn = self.draw("corruption", job.number, job.phase, before) if rule and job.phase != TRAIN else 1.0
        if rule is not None and drawn < rule.share:
            self.book(job, "corrupt" if before + 1 < rule.attempts else "lost")
        else:
            self.book(job, "done")
            job.phase += 1
        job.fresh = True
        self.anew(job)

    def broken(self, job: Doing) -> None:
        rule = self.rule_of(job)
        if rule == "resume":
            self.book(job, "interrupted")
            return
        self.book(job, "lost" if isinstance(rule, str) or job.count("failed") + 1 == rule.attempts else "failed")
        self.anew(job)
        if isinstance(rule, Retry):
            n = job.count("failed")
            jitter = rule.jitter * self.draw("backoff", job.number, job.phase, n) if rule.jitter else 0.0
            job.due += round(1e9 * min(rule.longest_s, rule.first_s * rule.factor ** (n - 1)) * (1 - jitter))


TENTHS, YES = st.lists(st.integers(2, 60), min_size=3, max_size=5), st.booleans()


@given(rules, YES, TENTHS, st.integers(0, 1000), YES, YES)
@settings(max_examples=150)
def test_every_stretch_and_every_battery_is_as_the_documents_say(
    rule: Rules, shares: bool, tenths: list[int], seed: int, has_batteries: bool, in_rounds: bool
) -> None:
    train_s, latency_s, promotion_s = [tenth / 10 for tenth in tenths], 0.1 * (seed % 3), 0.45 * (seed % 4 > 1)
    connection = CONNECTIONS[seed % len(CONNECTIONS)]
    coming: Process = Markov(mean_on_s=9.0, mean_off_s=3.0) if seed % 2 else Bernoulli(window_s=1.0, chance=0.8)
    devices = fleet(
        train_s, availability=coming, seed=seed, tail_s=TAIL_S, promotion_s=promotion_s, latency_s=latency_s,
        connection=connection,
    )  # fmt: skip
    start_j = [1.0 + 3 * client % 10 for client in range(len(devices))]
    batteries = power(devices, start_j, capacity_j=CAPACITY_J, charge_w=CHARGE_W, drain_w=DRAIN_W, law=CHARGING)
    schedule: Schedule = Sync(2) if in_rounds else Buffered(9, 2, Polynomial(0.5))
    with TemporaryDirectory() as folder:
        run, _ = ended(
            Path(folder), devices, schedule, Stop(time_ns=END), rules=rule,
            network=star(devices, SHARED / 1e6) if shares else None, power=batteries if has_batteries else None,
        )  # fmt: skip
    told = dict[int, list[Any]]()
    for row in run.state()["recorder"]["events"]:
        told.setdefault(row[0], []).append(row)
    charging, shared = FleetAvailability([CHARGING], np.zeros(9, np.int32), 11), SHARED if shares else None
    oracle = Oracle(
        rule, train_s, latency_s, promotion_s, connection, devices.availability, charging, has_batteries, shared,
        start_j,
    )  # fmt: skip
    oracle.run(sorted((rows[0][4], job, rows[0][1]) for job, rows in told.items()))
    for job, rows in told.items():
        found = oracle.ended[job].rows
        assert [(row[3], row[10]) for row in rows] == [(row[0], row[5]) for row in found]
        for of, column, within in ((4, 1, 50), (5, 2, 50), (7, 3, 1), (9, 4, 1e-6)):  # start, end, bytes, energy
            assert [row[of] for row in rows] == pytest.approx([row[column] for row in found], abs=within)
    clients = client_table(run)
    for name, ns in (("idle_s", oracle.idle), ("no_charge_s", oracle.no_charge), ("off_s", oracle.off)):
        assert np.asarray(clients[name]) == pytest.approx(np.array(ns) / S, abs=1e-6)
    if has_batteries:
        assert np.asarray(clients["battery_j"]) == pytest.approx(np.array(oracle.level_j), abs=1e-6)
