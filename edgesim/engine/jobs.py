"""Jobs at work: each is a SimPy process that downloads, trains and uploads, through its device's absences.

A process keeps nothing in local variables: a restored job goes on where it stood. Absences are asked of
the fleet's availability, a pure function of (device, time), so a phase ends, is interrupted, waits or is
given up without a process that watches the device.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import simpy

from edgesim.devices import cost
from edgesim.devices.cost import SparseSpeedup
from edgesim.devices.fleet import Fleet
from edgesim.engine.job import Job, Phase, Spent
from edgesim.engine.ledger import Ledger

Interruption = Literal["abort", "resume"]
RecordStretch = Callable[[Job, int, Spent, str, int | None], None]
"""(job, end_ns, spent, outcome, staleness): one stretch of the job's phase is over."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What happens when a device goes off line in a phase, and how sparse layers count.

    Attributes: transfer, training: "abort" gives the job up; "resume" goes on where it stopped once the
    device is back. sparse_speedup: "ideal" or "realised" (devices/cost.py).
    """

    transfer: Interruption = "abort"
    training: Interruption = "abort"
    sparse_speedup: SparseSpeedup = "realised"


class Home(Protocol):
    """Where jobs report."""

    def wait_order(self) -> int:
        """The next place among the timers of one instant."""
        ...

    def size_upload(self, job: Job) -> int:
        """Bytes of a trained job's update."""
        ...

    def arrived(self, job: Job, spent: Spent) -> None:
        """The upload is complete; `spent` is its last stretch."""
        ...

    def gave_up(self, job: Job, spent: Spent, outcome: str) -> None:
        """The job is lost; `spent` is its last stretch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The life of jobs on a fleet."""

    env: simpy.Environment
    fleet: Fleet
    rules: Rules
    ledger: Ledger
    record: RecordStretch
    home: Home

    def run(self, job: Job) -> Generator[simpy.Event, None, None]:
        """Download, train, upload. Everything that must be remembered is in `job`."""
        if not job.begun:
            self._begin(job, Phase.DOWNLOAD)
        alive = True
        while alive:
            job.order = self.home.wait_order()
            yield self.env.timeout(job.wake_ns - self._now)
            alive = self._wake(job)

    def spent_since(self, job: Job, now_ns: int) -> Spent:
        """What the current stretch has taken up to now; nothing while the device is away."""
        if job.away or now_ns == job.since_ns:
            return Spent()
        ns, device = now_ns - job.since_ns, job.client
        if job.phase == Phase.TRAIN:
            flops = job.flops * (ns / job.phase_ns)  # a whole phase gives exactly job.flops
            return Spent(ns, 0, 0, flops, cost.energy_j(float(self.fleet.training_w[device]), ns))
        moved = job.moved(job.done_ns + ns) - job.moved(job.done_ns)
        radio = self.fleet.receive_w if job.phase == Phase.DOWNLOAD else self.fleet.send_w
        power_w = float(self.fleet.idle_w[device] + radio[device])
        energy_j = cost.energy_j(power_w, ns) + float(self.fleet.tail_j[device])
        down, up = (moved, 0) if job.phase == Phase.DOWNLOAD else (0, moved)
        return Spent(ns, down, up, 0.0, energy_j)

    @property
    def _now(self) -> int:
        return int(self.env.now)

    def _begin(self, job: Job, phase: Phase) -> None:
        job.phase, job.done_ns, job.latency_ns = int(phase), 0, 0
        if phase == Phase.TRAIN:
            job.phase_ns = job.train_ns
        else:
            self._size_transfer(job, phase)
        self._go_on(job)

    def _size_transfer(self, job: Job, phase: Phase) -> None:
        if phase == Phase.UPLOAD and job.upload_bytes < 0:
            job.upload_bytes = self.home.size_upload(job)
        size, rates = (
            (job.download_bytes, self.fleet.down_bps)
            if phase == Phase.DOWNLOAD
            else (job.upload_bytes, self.fleet.up_bps)
        )
        latency_s = float(self.fleet.latency_s[job.client])
        job.phase_ns = cost.transfer_ns(size, float(rates[job.client]), latency_s)
        job.latency_ns = min(round(1e9 * latency_s), job.phase_ns)

    def _go_on(self, job: Job) -> None:
        """Plan the stretch that begins now: to the end of the phase, or until the device goes off line."""
        now, available = self._now, self.fleet.availability
        job.since_ns, job.away = now, False
        end = now + job.phase_ns - job.done_ns
        if not available.is_on(job.client, now):
            job.wake_ns = now
            return
        change = available.next_change_ns(job.client, now)
        job.wake_ns = end if change is None else min(end, change)

    def _wake(self, job: Job) -> bool:
        """The stretch is over, or the device is back; whether the job goes on."""
        if job.away:
            self._go_on(job)
            return True
        spent = self.spent_since(job, self._now)
        done_ns = job.done_ns + self._now - job.since_ns
        if done_ns >= job.phase_ns:
            return self._end_phase(job, spent)
        if self._rule(job) == "abort":
            return self._give_up(job, spent, "lost")
        if spent.ns:
            self._book(job, spent, "interrupted")
        job.done_ns = done_ns
        back = self.fleet.availability.next_change_ns(job.client, self._now)
        if back is None:
            return self._give_up(job, Spent(), "lost")
        job.since_ns, job.wake_ns, job.away = self._now, back, True
        return True

    def _rule(self, job: Job) -> Interruption:
        return self.rules.training if job.phase == Phase.TRAIN else self.rules.transfer

    def _end_phase(self, job: Job, spent: Spent) -> bool:
        if job.phase == Phase.UPLOAD:
            self.ledger.delivered += job.upload_bytes
            self.enter(job, spent)
            self.home.arrived(job, spent)
            return False
        self._book(job, spent, "done")
        if job.phase == Phase.DOWNLOAD:
            self.ledger.delivered += job.download_bytes
            if job.memory_bytes > self.fleet.memory_bytes[job.client]:
                job.phase, job.done_ns, job.phase_ns, job.since_ns = int(Phase.TRAIN), 0, 0, self._now
                self.home.gave_up(job, Spent(), "out-of-memory")
                return False
            self._begin(job, Phase.TRAIN)
        else:
            self._begin(job, Phase.UPLOAD)
        return True

    def _give_up(self, job: Job, spent: Spent, outcome: str) -> bool:
        if job.phase != Phase.TRAIN:
            self.ledger.broken += job.moved(job.done_ns + spent.ns)
        self.enter(job, spent)
        self.home.gave_up(job, spent, outcome)
        return False

    def enter(self, job: Job, spent: Spent) -> None:
        """Into the ledger, and onto the job's own account."""
        self.ledger.book(job.client, job.phase, spent)
        job.spent = job.spent.plus(spent)

    def _book(self, job: Job, spent: Spent, outcome: str) -> None:
        self.enter(job, spent)
        self.record(job, self._now, spent, outcome, None)
