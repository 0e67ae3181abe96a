"""Accounts: where the work of jobs is entered, once they have ended; where something needs it, also meanwhile."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edgesim.devices.fleet import Fleet
from edgesim.engine.emissions import Emissions
from edgesim.engine.job import Job, SmoothJobs, Spent, Stretch
from edgesim.engine.journal import Journal
from edgesim.engine.ledger import Ledger
from edgesim.engine.power import Power
from edgesim.engine.radio import Radio
from edgesim.engine.recording import Recorder


class Accounts:
    """Attributes: so_far, what stretches that are over have taken, kept only where asked for `by_phase`, which is
    slower; `phase_ended` is called when it has grown. follows, whether anything counts before a job has ended."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        ledger: Ledger,
        recorder: Recorder,
        radio: Radio,
        by_phase: bool,
        phase_ended: Callable[[], None],
        power: Power | None,
        emissions: Emissions | None,
    ) -> None:
        self.so_far, self.follows = Spent(), by_phase or power is not None
        self._radio = radio
        self._by_phase, self._phase_ended = by_phase, phase_ended
        self._power, self._emissions = power, emissions
        self._journal = Journal(ledger, recorder, fleet.device_class)

    def follow(self, job: Job) -> None:
        """Some stretches are over."""
        self.debit(job)
        if self._by_phase:
            for stretch in job.stretches[job.followed :]:
                self.so_far.enter(stretch)
        job.followed = len(job.stretches)
        if self._by_phase:
            self._phase_ended()

    def debit(self, job: Job) -> None:
        """Take what is new from the device's battery, if there is one."""
        if self._power is not None:
            for stretch in job.stretches[job.followed :]:
                self._power.book(job.client, stretch)

    def book(self, job: Job, staleness: int | None = None) -> Spent:
        """A job has ended: record it and enter it, at the latest when the books are settled; what it has spent."""
        self._radio.book(job)
        if self._emissions is not None:
            self._emissions.book(job.client, job.planned())
        if job.smooth is not None:
            return self._journal.enter(job, staleness)
        return self._journal.book(job, staleness) if job.rough else Spent()

    @property
    def take_waves(self) -> bool:
        """Whether jobs may be booked together."""
        return not self.follows and self._emissions is None

    def book_wave(self, jobs: SmoothJobs) -> list[Spent]:
        """`book` of jobs of as many clients, one after the other."""
        self._radio.book_wave(jobs)
        self._journal.enter_wave(jobs)
        return jobs.spent()

    def settle(self) -> None:
        """Let ledger and recorder hold all jobs that have ended."""
        self._journal.settle()

    def levels(
        self,
        now_ns: int,
        jobs: Iterable[Job],
        done: Iterable[tuple[int, Sequence[Stretch]]],
        besides: Sequence[tuple[Job, Stretch]],
    ) -> dict[str, float]:
        """Only of what there is: battery_level and batteries_empty (power.py), with what these jobs are drawing, and
        others `besides`; carbon_g, of all that has ended and of what is `done` in other jobs, by client."""
        found: dict[str, float] = {}
        if self._power is not None:
            found |= self._power.summary(now_ns, jobs, besides)
        if self._emissions is not None:
            found["carbon_g"] = float(self._emissions.grams.sum())
            for client, stretches in done:
                found["carbon_g"] += self._emissions.of(client, stretches)
        return found

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "so_far": self.so_far.state(),
            "power": None if self._power is None else self._power.state(),
            "emissions": None if self._emissions is None else self._emissions.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`, in which there may be more."""
        self.so_far = Spent(*state["so_far"])
        if self._power is not None:
            self._power.restore(state["power"])
        if self._emissions is not None:
            self._emissions.restore(state["emissions"])
