"""Flight: the jobs under way. Each sleeps until its plan ends, and is booked and recorded once, when it has ended.

So nothing of a job is done twice, and rows of events come job by job, in the order in which jobs ended.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import simpy

from edgesim.devices.arrays import IntArray
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Network
from edgesim.engine import clock
from edgesim.engine.accounts import Accounts
from edgesim.engine.clock import Clock
from edgesim.engine.emissions import Emissions
from edgesim.engine.home import Home
from edgesim.engine.job import Job, Phase, Spent, Stretch
from edgesim.engine.learning import Assignment
from edgesim.engine.ledger import Ledger
from edgesim.engine.mishaps import Mishaps
from edgesim.engine.planning import Planner
from edgesim.engine.power import Power
from edgesim.engine.presence import Presence
from edgesim.engine.radio import Radio
from edgesim.engine.recording import Recorder
from edgesim.engine.rules import Rules
from edgesim.engine.smooth import Plans
from edgesim.engine.transfers import Transfers
from edgesim.engine.wave import Wave


class Flight:
    """Attributes: left, jobs whose account is still open though they have left; accounts, of them all; radio, presence,
    of devices; transfers, on a shared network; power, their batteries; emissions, of their energy; None where there are
    none of them."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        rules: Rules,
        ledger: Ledger,
        recorder: Recorder,
        clock: Clock,
        home: Home,
        by_phase: bool,
        network: Network | None = None,
        power: Power | None = None,
        emissions: Emissions | None = None,
    ) -> None:
        self._jobs: dict[int, Job] = {}
        self.left: dict[int, Job] = {}
        self.power, self.emissions = power, emissions
        self._ledger, self._clock, self._home, self._availability = ledger, clock, home, fleet.availability
        self.radio, self.presence = Radio(fleet, ledger), Presence(fleet, rules.outages, power)
        self.accounts = Accounts(
            fleet=fleet, ledger=ledger, recorder=recorder, radio=self.radio, by_phase=by_phase,
            phase_ended=home.phase_ended, power=power, emissions=emissions,
        )  # fmt: skip
        mishaps = Mishaps(rules, self.presence)
        self.transfers = None if network is None else Transfers(network, clock, mishaps, self.radio, self._flowed)
        self._planner = Planner(
            fleet, rules, self.radio, self.presence, mishaps, by_phase=by_phase, transfers=self.transfers
        )
        self._on_wake: list[Callable[[simpy.Event], None]] = [self._wake]

    def start(self, first: int, clients: Sequence[int], version: int, assignments: Sequence[Assignment]) -> None:
        """Jobs begin now, numbered from `first`."""
        together = self._home.waits_for_all and not self.in_flight and self.accounts.take_waves
        planned = self._planner.start(first, clients, version, self._clock.now_ns, assignments, together=together)
        if isinstance(planned, Plans):
            self._clock.wave = Wave(planned, clock.FIRST_JOB, self._home.arrived_together)
        else:
            self._take(planned)

    def _take(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._jobs[job.id] = job
            self._sleep(job)

    @property
    def in_flight(self) -> int:
        """How many jobs are under way."""
        wave = self._clock.wave
        return len(self._jobs) + (wave.left if wave is not None else 0)

    @property
    def jobs(self) -> dict[int, Job]:
        """Those, by number, in the order of dispatch: from now on each by itself, if they were a wave."""
        wave, self._clock.wave = self._clock.wave, None
        if wave is not None:
            self._take(wave.rest())
        return self._jobs

    def end(self, job: Job, staleness: int | None = None) -> Spent:
        """Close the account of a job that has ended as its last stretch says; what it has spent."""
        del self._jobs[job.id]
        return self.accounts.book(job, staleness)

    def leave(self, job: Job) -> None:
        """Let go of a job that has ended, without closing its account: more may be done in it (`add`, `book`)."""
        self.left[job.id] = self._jobs.pop(job.id)

    def add(self, job: Job, stretch: Stretch) -> None:
        """A stretch is over, of a job that has left."""
        job.stretches.append(stretch)
        if self.accounts.follows:
            self.accounts.follow(job)

    def book(self, job: Job, staleness: int | None = None) -> Spent:
        """Close the account of a job that has left; what it has spent."""
        del self.left[job.id]
        return self.accounts.book(job, staleness)

    def cut(self, job: Job, reason: str) -> None:
        """Let a job end here and now: cancelled, for this reason."""
        now_ns = self._clock.now_ns
        job.stretches = done = self._planner.until(job, now_ns, "cancelled", reason)
        if not done or done[-1].outcome != "cancelled":  # it waits, or is about to begin
            phase = done[-1].phase + (done[-1].outcome == "done") if done else Phase.DOWNLOAD
            done.append(Stretch(phase, now_ns, now_ns, 0, 0.0, 0.0, "cancelled", reason))
        if self.transfers is not None and job.is_flowing:
            self.transfers.stop(job)
        if self.accounts.follows:
            self.accounts.follow(job)

    def spent(self) -> Spent:
        """What all that has ended and all that is in flight has taken up to now; no tail of a transfer under way."""
        self.accounts.settle()
        total = Spent(*self._ledger.total.state())
        for job in self.jobs.values():
            for stretch in self._planner.until(job, self._clock.now_ns, "in-flight"):
                total.enter(stretch)
        return total

    def levels(self, besides: Sequence[tuple[Job, Stretch]] = ()) -> dict[str, float]:
        """Only of what there is: battery_level, batteries_empty and carbon_g (accounts.py). `besides`: what jobs that
        have left are doing."""
        return self.accounts.levels(self._clock.now_ns, self.jobs.values(), self._done(besides), besides)

    def close(self) -> list[Spent]:
        """The run ends: record and book what is in flight; what each job has spent."""
        for job in self.jobs.values():
            job.stretches = self._planner.until(job, self._clock.now_ns, "in-flight")
            self.accounts.debit(job)
        spent = [self.accounts.book(job) for job in self.jobs.values()]
        self.accounts.settle()
        return spent

    def able_ns(self) -> tuple[IntArray, IntArray]:
        """How long each device has been on line and charged to work, and on line but not charged [device]."""
        now_ns = self._clock.now_ns
        on_ns = self._availability.on_ns_all(now_ns)
        stopped_ns = np.zeros_like(on_ns) if self.power is None else self.power.stopped(now_ns)[0]
        return on_ns - stopped_ns, stopped_ns

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "jobs": [job.state() for job in self.jobs.values()],
            "transfers": None if self.transfers is None else self.transfers.state(),
            **self.accounts.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.accounts.restore(state)
        if self.transfers is not None:
            self.transfers.restore(state["transfers"])
        for fields in state["jobs"]:
            job = Job.restored(fields)
            self._jobs[job.id] = job
            self._wake_at(job, job.wake_ns)

    # ── waking ──────────────────────────────────────────────────────────────────────────────────────
    def _sleep(self, job: Job) -> None:
        """Until its plan ends, or its open transfer begins."""
        if job.smooth is not None:
            self._wake_at(job, job.smooth.end_ns)
        elif job.open_ns < 0:
            self._wake_at(job, job.stretches[-1].end_ns)
        elif job.open_ns > self._clock.now_ns:
            self._wake_at(job, job.open_ns)
        else:
            self._flow(job)

    def _flow(self, job: Job) -> None:
        """Its open transfer begins."""
        assert self.transfers is not None
        self.transfers.begin(job)
        self._wake_at(job, job.wake_ns)

    def _wake_at(self, job: Job, due_ns: int) -> None:
        job.wake_ns = due_ns
        if due_ns >= 0:
            self._clock.at(due_ns, clock.FIRST_JOB + job.id, self._on_wake, job)

    def _wake(self, event: simpy.Event) -> None:
        job = event.value
        assert isinstance(job, Job)
        if job.id not in self._jobs or job.wake_ns != self._clock.now_ns:
            return  # cancelled meanwhile, or there is another instant to wake at
        if job.open_ns < 0:
            self._go_on(job)
        elif job.is_flowing:
            self._look(job)
        else:
            self._flow(job)

    def _look(self, job: Job) -> None:
        """Its open transfer breaks off now, or else is to be looked at again."""
        assert self.transfers is not None
        wake_ns = self.transfers.wakes_ns(job)
        if wake_ns != self._clock.now_ns:
            self._wake_at(job, wake_ns)
            return
        self._planner.break_off(job, wake_ns)
        self._go_on(job)

    def _flowed(self, number: int) -> None:
        """The open transfer of a job is complete."""
        job = self._jobs[number]
        self._planner.complete(job, self._clock.now_ns)
        self._go_on(job)

    def _go_on(self, job: Job) -> None:
        """All stretches of a job are over."""
        if self.accounts.follows:
            self.accounts.follow(job)
        if job.smooth is not None:
            self._home.arrived(job)
            return
        last = job.stretches[-1]
        if not job.planned_to_the_end:
            if last.phase == Phase.TRAIN and job.upload_bytes < 0 and last.outcome == "done":
                job.upload_bytes = self._home.size_upload(job)
            self._planner.extend(job)
            self._sleep(job)
        elif last.outcome == "done":
            self._home.arrived(job)
        else:
            self._home.lost(job)

    def _done(self, besides: Sequence[tuple[Job, Stretch]]) -> Iterator[tuple[int, Sequence[Stretch]]]:
        """What has been done in jobs whose accounts are open, by client."""
        for job in self.jobs.values():
            yield job.client, self._planner.until(job, self._clock.now_ns, "in-flight")
        for job in self.left.values():
            yield job.client, job.planned()
        for job, stretch in besides:
            yield job.client, [stretch]
