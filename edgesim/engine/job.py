"""Job: one dispatch, download → train → upload on one client, and the stretches of it that are planned."""

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, NamedTuple


class Phase(IntEnum):
    """The phases of a job, in their order; each has a row in the ledger."""

    DOWNLOAD = 0
    TRAIN = 1
    UPLOAD = 2


PHASE_NAMES = ("download", "train", "upload")


class Stretch(NamedTuple):
    """An uninterrupted piece of a phase: a row of events.parquet.

    Attributes: outcome, done: the phase is complete; interrupted: the device goes off line and the job waits
    for it; lost, out-of-memory, cancelled: the job ends here; stale: it arrived too late; in-flight: the run
    ended meanwhile. energy_j, a radio tail included.
    """

    phase: int
    start_ns: int
    end_ns: int
    bytes: int
    flops: float
    energy_j: float
    outcome: str


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

    def enter(self, stretch: Stretch) -> None:
        """Enter a stretch into this account."""
        self.ns += stretch.end_ns - stretch.start_ns
        self.flops += stretch.flops
        self.energy_j += stretch.energy_j
        if stretch.phase == Phase.DOWNLOAD:
            self.bytes_down += stretch.bytes
        else:
            self.bytes_up += stretch.bytes

    def state(self) -> tuple[int, int, int, float, float]:
        """The account as plain data."""
        return self.ns, self.bytes_down, self.bytes_up, self.flops, self.energy_j


@dataclass(slots=True)
class Job:
    """One dispatch.

    Attributes:
        version: of the server's model at dispatch; dispatched_ns, that instant.
        upload_bytes: -1 until it is known.
        train_ns, flops, memory_bytes: of the whole local training.
        stretches: the plan, in order of time: what is over, what goes on now, and what is to come as far as
            it can be foreseen. Between two of them the device is off line and the job waits.
    """

    id: int
    client: int
    version: int
    dispatched_ns: int
    download_bytes: int
    upload_bytes: int
    train_ns: int
    flops: float
    memory_bytes: int
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def planned_to_the_end(self) -> bool:
        """Whether the last stretch ends the job; else the plan has to be extended there."""
        last = self.stretches[-1]
        return last.phase == Phase.UPLOAD or last.outcome != "done"

    def state(self) -> tuple[Any, ...]:
        """The job as plain data."""
        return (*(getattr(self, entry.name) for entry in fields(self)[:-1]), [tuple(s) for s in self.stretches])

    @classmethod
    def restored(cls, state: tuple[Any, ...]) -> "Job":
        """The job that `state` was taken of."""
        job = cls(*state[:-1])
        job.stretches = [Stretch(*stretch) for stretch in state[-1]]
        return job
