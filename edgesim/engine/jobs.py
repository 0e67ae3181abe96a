"""Jobs at work: each is a SimPy process that downloads, trains and uploads, through its device's absences.

A process keeps nothing in local variables: a restored job goes on where it stood. Absences are asked of
the fleet's availability, a pure function of (device, time), so a phase ends, is interrupted, waits or is
given up without a process that watches the device.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import simpy

from edgesim.devices import cost
from edgesim.devices.cost import SparseSpeedup
from edgesim.devices.fleet import Fleet
from edgesim.engine.job import Job, Phase, Spent
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import scalars

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


class Jobs:
    """The life of jobs on a fleet."""

    def __init__(
        self,
        *,
        env: simpy.Environment,
        fleet: Fleet,
        rules: Rules,
        ledger: Ledger,
        record: RecordStretch,
        home: Home,
    ) -> None:
        self._env, self._rules, self._ledger, self._record, self._home = env, rules, ledger, record, home
        availability = fleet.availability
        self._always = availability.always
        self._is_on, self._next_change_ns = availability.is_on, availability.next_change_ns
        self._radio_until_ns = scalars(ledger.radio_until_ns)
        self._memory_bytes = scalars(fleet.memory_bytes)
        figures = np.column_stack(  # a device's lie side by side, so that they come from memory together
            (
                fleet.idle_w + fleet.receive_w, fleet.training_w, fleet.idle_w + fleet.send_w,
                fleet.down_bps, fleet.up_bps, fleet.latency_s, fleet.tail_s, fleet.tail_w,
            )
        )  # fmt: skip
        columns = [scalars(column) for column in figures.T]
        self._power_w = columns[:3]  # [phase][device]
        self._down_bps, self._up_bps, self._latency_s, self._tail_s, self._tail_w = columns[3:]

    def run(self, job: Job) -> Generator[simpy.Event, None, None]:
        """Download, train, upload. Everything that must be remembered is in `job`."""
        env, next_order = self._env, self._home.wait_order
        if not job.begun:
            self._begin(job, Phase.DOWNLOAD, int(env.now))
        alive = True
        while alive:
            job.order = next_order()
            yield env.timeout(job.wake_ns - env.now)
            alive = self._wake(job, int(env.now))

    def spent_since(self, job: Job, now_ns: int) -> Spent:
        """What the current stretch has taken up to now, without a radio tail; nothing while the device is away."""
        ns, device, phase = now_ns - job.since_ns, job.client, job.phase
        if job.away or not ns:
            return Spent()
        energy_j = cost.energy_j(self._power_w[phase][device], ns)
        if phase == Phase.TRAIN:
            # a whole phase gives exactly job.flops
            return Spent(ns, 0, 0, job.flops * (ns / job.phase_ns), energy_j)
        moved = job.moved(job.done_ns + ns) - job.moved(job.done_ns)
        return Spent(ns, moved, 0, 0.0, energy_j) if phase == Phase.DOWNLOAD else Spent(ns, 0, moved, 0.0, energy_j)

    def enter(self, job: Job, spent: Spent) -> None:
        """Into the ledger, and onto the job's own account."""
        self._ledger.book(job.client, job.phase, spent)
        job.spent.add(spent)

    def _begin(self, job: Job, phase: Phase, now_ns: int) -> None:
        job.phase, job.done_ns, job.latency_ns = phase.value, 0, 0
        if phase == Phase.TRAIN:
            job.phase_ns = job.train_ns
        elif phase == Phase.DOWNLOAD:
            self._size_transfer(job, job.download_bytes, self._down_bps[job.client])
        else:
            if job.upload_bytes < 0:
                job.upload_bytes = self._home.size_upload(job)
            self._size_transfer(job, job.upload_bytes, self._up_bps[job.client])
        self._go_on(job, now_ns)

    def _size_transfer(self, job: Job, size_bytes: int, rate_bps: float) -> None:
        latency_s = self._latency_s[job.client]
        job.phase_ns = cost.transfer_ns(size_bytes, rate_bps, latency_s)
        job.latency_ns = min(round(1e9 * latency_s), job.phase_ns)

    def _go_on(self, job: Job, now_ns: int) -> None:
        """Plan the stretch that begins now: to the end of the phase, or until the device goes off line."""
        job.since_ns, job.away = now_ns, False
        if self._always:
            job.wake_ns = now_ns + job.phase_ns - job.done_ns
            return
        if not self._is_on(job.client, now_ns):
            job.wake_ns = now_ns
            return
        end_ns = now_ns + job.phase_ns - job.done_ns
        change_ns = self._next_change_ns(job.client, now_ns)
        job.wake_ns = end_ns if change_ns is None or end_ns <= change_ns else change_ns

    def _wake(self, job: Job, now_ns: int) -> bool:
        """The stretch is over, or the device is back; whether the job goes on."""
        if job.away:
            self._go_on(job, now_ns)
            return True
        spent = self.spent_since(job, now_ns)
        if spent.ns and job.phase != Phase.TRAIN:
            spent.energy_j += self._tail_j(job, now_ns)
        done_ns = job.done_ns + now_ns - job.since_ns
        if done_ns >= job.phase_ns:
            return self._end_phase(job, spent, now_ns)
        back_ns = self._next_change_ns(job.client, now_ns)
        if self._rule(job) == "abort" or back_ns is None:
            return self._give_up(job, spent, "lost")
        if spent.ns:
            self._book(job, spent, "interrupted", now_ns)
        job.done_ns, job.since_ns, job.wake_ns, job.away = done_ns, now_ns, back_ns, True
        return True

    def _tail_j(self, job: Job, now_ns: int) -> float:
        """What the radio draws after a transfer that ends now, as far as no earlier tail has been paid for it.

        A transfer that begins within the tail of the one before cuts that short; it was booked whole, so this one
        pays only for the time that it adds.
        """
        device = job.client
        tail_ns = round(1e9 * self._tail_s[device])
        paid_ns = min(max(self._radio_until_ns[device] - job.since_ns, 0), tail_ns)
        self._radio_until_ns[device] = now_ns + tail_ns
        return cost.energy_j(self._tail_w[device], tail_ns - paid_ns)

    def _rule(self, job: Job) -> Interruption:
        return self._rules.training if job.phase == Phase.TRAIN else self._rules.transfer

    def _end_phase(self, job: Job, spent: Spent, now_ns: int) -> bool:
        if job.phase == Phase.UPLOAD:
            self._ledger.delivered += job.upload_bytes
            self.enter(job, spent)
            self._home.arrived(job, spent)
            return False
        self._book(job, spent, "done", now_ns)
        if job.phase == Phase.TRAIN:
            self._begin(job, Phase.UPLOAD, now_ns)
            return True
        self._ledger.delivered += job.download_bytes
        if job.memory_bytes > self._memory_bytes[job.client]:
            job.phase, job.done_ns, job.phase_ns, job.since_ns = Phase.TRAIN.value, 0, 0, now_ns
            return self._give_up(job, Spent(), "out-of-memory")
        self._begin(job, Phase.TRAIN, now_ns)
        return True

    def _give_up(self, job: Job, spent: Spent, outcome: str) -> bool:
        if job.phase != Phase.TRAIN:
            self._ledger.broken += job.moved(job.done_ns + spent.ns)
        self.enter(job, spent)
        self._home.gave_up(job, spent, outcome)
        return False

    def _book(self, job: Job, spent: Spent, outcome: str, now_ns: int) -> None:
        self.enter(job, spent)
        self._record(job, now_ns, spent, outcome, None)
