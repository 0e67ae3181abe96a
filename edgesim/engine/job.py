"""Job: one dispatch, download → train → upload on one client, and the stretches of it that are planned."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from edgesim.devices.arrays import FloatArray, IntArray


class Phase(IntEnum):
    """The phases of a job, in their order; each has a row in the ledger."""

    DOWNLOAD = 0
    TRAIN = 1
    UPLOAD = 2


_DOWNLOAD, _TRAIN, _UPLOAD = (phase.value for phase in Phase)
PHASE_NAMES = ("download", "train", "upload")

FAILED = ("failed", "corrupt")
"""Outcomes after which a phase begins anew."""

WAITING = (*FAILED, "interrupted")
"""Outcomes after which a phase goes on."""


class Stretch(NamedTuple):
    """An uninterrupted piece of a phase: a row of events.parquet.

    Attributes: outcome, done: the phase is complete; interrupted: it is broken off and goes on from there, as
    soon as it can; failed: it is broken off and begins anew; corrupt: what came through was damaged and is sent
    anew; lost, out-of-memory, cancelled: the job ends here; stale: it arrived too late; in-flight: the run ended
    meanwhile. energy_j, a radio tail included. reason, why it did not end well (reasons.py); "" where it did, or the
    run ended meanwhile.
    """

    phase: int
    start_ns: int
    end_ns: int
    bytes: int
    flops: float
    energy_j: float
    outcome: str
    reason: str = ""


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


class Smooth(NamedTuple):
    """The whole plan of a job that nothing comes in the way of: its three phases follow one another.

    Attributes: when it trains, when it uploads, when it ends; the energy of each phase, radio tails included.
    """

    training_ns: int
    upload_ns: int
    end_ns: int
    download_j: float
    training_j: float
    upload_j: float


@dataclass(slots=True)
class Job:
    """One dispatch.

    Attributes:
        version: of the server's model at dispatch; dispatched_ns, that instant.
        upload_bytes: -1 until it is known.
        train_ns, flops, memory_bytes: of the whole local training.
        batch_size: with which it trains, where it had to be made smaller to fit; else 0.
        wake_ns: when to look at it next; -1: whenever its transfer ends.
        open_ns: when a transfer begins, or began, whose end cannot be foreseen; -1: none is open.
        followed: how many of the stretches count in `Accounts.so_far`.
        smooth: the plan, where it is that simple; None from when it is no more.
        rough: the plan as stretches, where it is not.
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
    batch_size: int = 0
    wake_ns: int = -1
    open_ns: int = -1
    followed: int = 0
    smooth: Smooth | None = None
    rough: list[Stretch] = field(default_factory=list)

    @property
    def stretches(self) -> list[Stretch]:
        """The plan, in order of time: what is over, what goes on now, and what is to come as far as it can be
        foreseen. Between two of them the job waits. To be changed at will: the plan counts as rough from now on."""
        self.rough, self.smooth = self.planned(), None
        return self.rough

    @stretches.setter
    def stretches(self, plan: list[Stretch]) -> None:
        self.rough, self.smooth = plan, None

    def planned(self) -> list[Stretch]:
        """The same, to be looked at only."""
        if self.smooth is None:
            return self.rough
        training_ns, upload_ns, end_ns, download_j, training_j, upload_j = self.smooth
        return [
            Stretch(_DOWNLOAD, self.dispatched_ns, training_ns, self.download_bytes, 0.0, download_j, "done"),
            Stretch(_TRAIN, training_ns, upload_ns, 0, self.flops, training_j, "done"),
            Stretch(_UPLOAD, upload_ns, end_ns, self.upload_bytes, 0.0, upload_j, "done"),
        ]

    @property
    def planned_to_the_end(self) -> bool:
        """Whether the last stretch ends the job; else the plan has to be extended there."""
        if self.smooth is not None:
            return True
        if not self.rough:
            return False
        outcome = self.rough[-1].outcome
        return self.rough[-1].phase == Phase.UPLOAD if outcome == "done" else outcome not in WAITING

    @property
    def is_flowing(self) -> bool:
        """Whether its open transfer has begun; until then it is to be woken at the beginning."""
        return self.open_ns >= 0 and self.wake_ns != self.open_ns

    def state(self) -> tuple[Any, ...]:
        """The job as plain data."""
        *plain, smooth, rough = (getattr(self, entry.name) for entry in fields(self))
        return (*plain, None if smooth is None else tuple(smooth), [tuple(stretch) for stretch in rough])

    @classmethod
    def restored(cls, state: tuple[Any, ...]) -> "Job":
        """The job that `state` was taken of."""
        job = cls(*state[:-2])
        job.smooth = None if state[-2] is None else Smooth(*state[-2])
        job.rough = [Stretch(*stretch) for stretch in state[-1]]
        return job


class SmoothJobs(NamedTuple):
    """Jobs that nothing comes in the way of, as columns [job].

    Attributes:
        number, client, version: as of `Job`; batch_size, 0 where it is the training's; staleness, -1 where there is
            none.
        edges_ns: int64 [phase + 1, job]; a phase lasts from its own edge to the next.
        sizes: bytes moved, int64 [phase, job]; energy_j, [phase, job]; flops, of the training, [job].
    """

    number: IntArray
    client: IntArray
    version: IntArray
    batch_size: IntArray
    staleness: IntArray
    edges_ns: IntArray
    sizes: IntArray
    flops: FloatArray
    energy_j: FloatArray

    def some(self, which: slice | IntArray) -> "SmoothJobs":
        """Those at these places."""
        return SmoothJobs._make(column[..., which] for column in self)

    def spent(self) -> list[Spent]:
        """What each takes."""
        edges_ns, (down, _, up), energy_j = self.edges_ns, self.sizes, self.energy_j
        columns = edges_ns[-1] - edges_ns[0], down, up, self.flops, energy_j[0] + energy_j[1] + energy_j[2]
        return list(map(Spent, *(column.tolist() for column in columns)))

    @staticmethod
    def of(jobs: Sequence[Job], staleness: Sequence[int]) -> "SmoothJobs":
        """These jobs, which go smoothly."""
        whole = np.array([_whole_figures(job) for job in jobs], np.int64).T
        number, client, version, batch_size, dispatched_ns, down, up = np.ascontiguousarray(whole)
        plans = list(zip(*(job.smooth for job in jobs if job.smooth is not None), strict=True))
        return SmoothJobs(
            number=number,
            client=client,
            version=version,
            batch_size=batch_size,
            staleness=np.array(staleness, np.int64),
            edges_ns=np.array([dispatched_ns, *(np.array(edge, np.int64) for edge in plans[:3])]),
            sizes=np.array([down, np.zeros_like(down), up]),
            flops=np.array([job.flops for job in jobs]),
            energy_j=np.array(plans[3:]),
        )

    @staticmethod
    def joined(pieces: Sequence["SmoothJobs"]) -> "SmoothJobs":
        """All of these, one after the other."""
        if len(pieces) == 1:
            return pieces[0]
        return SmoothJobs._make(np.concatenate(columns, -1) for columns in zip(*pieces, strict=True))


_whole_figures = attrgetter("id", "client", "version", "batch_size", "dispatched_ns", "download_bytes", "upload_bytes")
