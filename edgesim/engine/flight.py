"""Flight: the jobs under way. Each sleeps until its plan ends, and is booked and recorded once, when it has ended.

So nothing of a job is done twice, and rows of events come job by job, in the order in which jobs ended.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import simpy

from edgesim.devices.fleet import Fleet
from edgesim.engine import clock
from edgesim.engine.clock import Clock
from edgesim.engine.job import Job, Phase, Spent
from edgesim.engine.learning import Assignment
from edgesim.engine.ledger import Ledger
from edgesim.engine.planning import Planner
from edgesim.engine.recording import Recorder
from edgesim.engine.rules import Rules
from edgesim.engine.scalars import scalars


class Home(Protocol):
    """Where jobs report."""

    def size_upload(self, job: Job) -> int:
        """Bytes of a trained job's update."""
        ...

    def arrived(self, job: Job) -> None:
        """The upload is complete."""
        ...

    def lost(self, job: Job) -> None:
        """The job is given up, as its last stretch says."""
        ...

    def phase_ended(self) -> None:
        """`Flight.so_far` has grown."""
        ...


class Flight:
    """Attributes: jobs, by number, in the order of dispatch; so_far, what phases that are over have taken, kept
    only where the jobs are planned `by_phase`, which is slower."""

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
    ) -> None:
        self.jobs: dict[int, Job] = {}
        self.so_far = Spent()
        self._ledger, self._recorder, self._clock, self._home = ledger, recorder, clock, home
        self._by_phase = by_phase
        self._planner = Planner(fleet, rules, ledger, by_phase=by_phase)
        self._device_class = scalars(fleet.device_class)
        self._on_wake: list[Callable[[simpy.Event], None]] = [self._wake]

    def start(self, first: int, clients: Sequence[int], version: int, assignments: Sequence[Assignment]) -> None:
        """Jobs begin now, numbered from `first`."""
        for job in self._planner.start(first, clients, version, self._clock.now_ns, assignments):
            self.jobs[job.id] = job
            self._sleep(job)

    def end(self, job: Job, staleness: int | None = None) -> Spent:
        """Close the account of a job that has ended as its last stretch says; what it has spent."""
        del self.jobs[job.id]
        return self._book(job, staleness)

    def cut(self, job: Job) -> None:
        """Let a job end here and now: cancelled."""
        now_ns = self._clock.now_ns
        job.stretches = self._planner.until(job, now_ns, "cancelled")
        if self._by_phase:
            self._follow(job)

    def spent(self) -> Spent:
        """What all that has ended and all that is in flight has taken up to now; no tail of a transfer under way."""
        total = Spent(*self._ledger.total.state())
        for job in self.jobs.values():
            for stretch in self._planner.until(job, self._clock.now_ns, "in-flight"):
                total.enter(stretch)
        return total

    def close(self) -> list[Spent]:
        """The run ends: record and book what is in flight; what each job has spent."""
        for job in self.jobs.values():
            job.stretches = self._planner.until(job, self._clock.now_ns, "in-flight")
        return [self._book(job, None) for job in self.jobs.values()]

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {"jobs": [job.state() for job in self.jobs.values()], "so_far": self.so_far.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.so_far = Spent(*state["so_far"])
        for fields in state["jobs"]:
            job = Job.restored(fields)
            self.jobs[job.id] = job
            self._sleep(job)

    def _sleep(self, job: Job) -> None:
        self._clock.at(job.stretches[-1].end_ns, clock.FIRST_JOB + job.id, self._on_wake, job)

    def _wake(self, event: simpy.Event) -> None:
        job = event.value
        assert isinstance(job, Job)
        if job.id not in self.jobs:
            return  # cancelled meanwhile
        if self._by_phase:
            self._follow(job)
        last = job.stretches[-1]
        if not job.planned_to_the_end:
            if last.phase == Phase.TRAIN and job.upload_bytes < 0:
                job.upload_bytes = self._home.size_upload(job)
            self._planner.extend(job)
            self._sleep(job)
        elif last.outcome == "done":
            self._home.arrived(job)
        else:
            self._home.lost(job)

    def _follow(self, job: Job) -> None:
        """A phase is over."""
        for stretch in job.stretches:
            if stretch.phase == job.stretches[-1].phase:
                self.so_far.enter(stretch)
        self._home.phase_ended()

    def _book(self, job: Job, staleness: int | None) -> Spent:
        if not job.stretches:
            return Spent()
        device_class = self._device_class[job.client]
        self._recorder.job(job.id, job.client, device_class, job.version, job.stretches, staleness)
        self._planner.radio.book(job)
        return self._ledger.book(job)
