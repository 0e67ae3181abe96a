"""Job: one dispatch, download → train → upload on one client. All it must remember is in here."""

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any


class Phase(IntEnum):
    """The phases of a job, in their order; each has a row in the ledger."""

    DOWNLOAD = 0
    TRAIN = 1
    UPLOAD = 2


PHASE_NAMES = ("download", "train", "upload")


@dataclass(slots=True)
class Spent:
    """An account of work: time, bytes down and up, FLOPs, energy (radio tail included)."""

    ns: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    flops: float = 0.0
    energy_j: float = 0.0

    def add(self, other: "Spent") -> None:
        """Enter `other` into this account."""
        self.ns += other.ns
        self.bytes_down += other.bytes_down
        self.bytes_up += other.bytes_up
        self.flops += other.flops
        self.energy_j += other.energy_j

    def state(self) -> tuple[int, int, int, float, float]:
        """The account as plain data."""
        return self.ns, self.bytes_down, self.bytes_up, self.flops, self.energy_j


@dataclass(slots=True)
class Job:
    """One dispatch.

    Attributes:
        version: of the server's model at dispatch.
        upload_bytes: -1 until it is known.
        train_ns, flops, memory_bytes: of the whole local training.
        phase: where it stands; phase_ns, how long that takes uninterrupted; done_ns, how much of it is
            behind the job; latency_ns, its part in which no byte moves yet.
        since_ns: when the current stretch began (or the device went off line, if `away`).
        wake_ns: when something happens next: the phase ends, or the device goes off line or comes back;
            -1 before the job has begun.
        away: the device is off line and the job waits for it.
        order: place among the timers of the same instant.
        spent: so far, finished stretches only.
    """

    id: int
    client: int
    version: int
    download_bytes: int
    upload_bytes: int
    train_ns: int
    flops: float
    memory_bytes: int
    phase: int = 0
    phase_ns: int = 0
    done_ns: int = 0
    latency_ns: int = 0
    since_ns: int = 0
    wake_ns: int = -1
    away: bool = False
    order: int = 0
    spent: Spent = field(default_factory=Spent)

    @property
    def begun(self) -> bool:
        """Whether its process has taken the first step."""
        return self.wake_ns >= 0

    def moved(self, done_ns: int) -> int:
        """Bytes that a transfer has moved after so much of its phase: none while the latency lasts."""
        total = self.download_bytes if self.phase == Phase.DOWNLOAD else self.upload_bytes
        if done_ns >= self.phase_ns:
            return total
        if done_ns <= self.latency_ns:
            return 0
        return total * (done_ns - self.latency_ns) // (self.phase_ns - self.latency_ns)

    def state(self) -> tuple[Any, ...]:
        """The job as plain data."""
        return (*(getattr(self, entry.name) for entry in fields(self)[:-1]), self.spent.state())

    @classmethod
    def restored(cls, state: tuple[Any, ...]) -> "Job":
        """The job that `state` was taken of."""
        job = cls(*state[:-1])
        job.spent = Spent(*state[-1])
        return job
