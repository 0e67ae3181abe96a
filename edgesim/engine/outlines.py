"""Outlines: what a job takes on a device where nothing comes in its way, whenever it begins.

Jobs of one kind, which share an assignment, take the same on a device each time. So once many of a kind have been
asked for, that is worked out for the whole fleet: together, which takes a fraction of what one by one does, and to
the nanosecond and the last bit of a joule the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.cost import SparseSpeedup
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board, Boards, Figures
from edgesim.engine.learning import Assignment
from edgesim.engine.scalars import scalars

_WORTH = 8  # devices for which it pays to work out all, for each job that has been asked for
_KINDS = 64  # that are told apart, the first ones
_MOST = 1 << 21  # outlines that are kept
_BLOCK = 1 << 16  # devices of which they are computed together

Whole = TypeVar("Whole")
Real = TypeVar("Real")


class Outlined(NamedTuple, Generic[Whole, Real]):
    """Of one device, or of several [device].

    Attributes: time and energy of each phase, with a radio that is awake, and without its tail; fits, 1 where the job
    fits into the device's memory and the size of its upload is known, else 0.
    """

    download_ns: Whole
    train_ns: Whole
    upload_ns: Whole
    fits: Whole
    download_j: Real
    training_j: Real
    upload_j: Real
    download_w: Real
    upload_w: Real


_WHOLE = Outlined._fields.index("download_j")  # so many are whole numbers

Outline = Outlined[int, float]
Columns = Outlined[IntArray, FloatArray]


@dataclass(slots=True)
class _Kind:
    """Attributes: asked, how often; whole, real, the outlines of all devices, row by row, since who asks for one
    waits for the memory: [device, figure]; None until they are worked out."""

    assigned: Assignment
    asked: int = 0
    whole: IntArray | None = None
    real: FloatArray | None = None


class Outlines:
    """Of all devices of a fleet."""

    def __init__(self, fleet: Fleet, boards: Boards, sparse_speedup: SparseSpeedup) -> None:
        self._boards, self._sparse_speedup, self._devices = boards, sparse_speedup, len(fleet)
        self._traits, self._class_of, self._class = fleet.class_traits, fleet.device_class, scalars(fleet.device_class)
        self._kinds: dict[int, _Kind] = {}  # by the identity of an assignment, which they keep alive
        self._kept = 0

    def one(self, number: int, client: int, assigned: Assignment) -> Outline:
        """Of this job on one device."""
        kind = self._kind(assigned, 1)
        if kind is None or kind.whole is None or kind.real is None:
            return self._one(self._boards.of_job(number, client), client, assigned)
        return Outlined._make(kind.whole[client].tolist() + kind.real[client].tolist())

    def many(self, numbers: IntArray, clients: IntArray, assignments: Sequence[Assignment]) -> Columns:
        """Of each of these jobs on its device [job]."""
        first = assignments[0]
        if all(assigned is first for assigned in assignments):
            kind = self._kind(first, len(assignments))
            if kind is not None and kind.whole is not None and kind.real is not None:
                return Outlined._make([*kind.whole[clients].T, *kind.real[clients].T])
        return self._many(self._boards.of_jobs(numbers, clients), clients, assignments)

    def _kind(self, assigned: Assignment, jobs: int) -> _Kind | None:
        """The kind of so many jobs more; None where there are too many kinds, or each job differs."""
        if self._boards.vary:
            return None
        kind = self._kinds.get(id(assigned))
        if kind is None:
            if len(self._kinds) == _KINDS:
                return None
            kind = self._kinds[id(assigned)] = _Kind(assigned)
        kind.asked += jobs
        if kind.whole is None and kind.asked * _WORTH >= self._devices and self._kept + self._devices <= _MOST:
            self._work_out(kind)
        return kind

    def _work_out(self, kind: _Kind) -> None:
        """Some devices at a time, so that what is computed on the way needs no memory to speak of."""
        whole = np.empty((self._devices, _WHOLE), np.int64)
        real = np.empty((self._devices, len(Outlined._fields) - _WHOLE))
        for start in range(0, self._devices, _BLOCK):
            some = slice(start, min(start + _BLOCK, self._devices))
            devices = np.arange(some.start, some.stop)
            found = self._many(self._boards.columns(devices), devices, [kind.assigned] * len(devices))
            whole[some], real[some] = np.stack(found[:_WHOLE], 1), np.stack(found[_WHOLE:], 1)
        kind.whole, kind.real = whole, real
        self._kept += self._devices

    def _one(self, board: Board, client: int, assigned: Assignment) -> Outline:
        work, upload_bytes = assigned.workload, assigned.upload_bytes
        train_ns = cost.compute_ns(
            work,
            compute_flops=board.compute_flops,
            bandwidth=board.bandwidth,
            step_overhead_s=board.step_overhead_s,
            sparse_efficiency=board.sparse_efficiency,
            sparse_speedup=self._sparse_speedup,
            traits=self._traits[self._class[client]],
        )
        down_ns = cost.transfer_ns(assigned.download_bytes, board.down_bps, *board.delay)
        up_ns = 0 if upload_bytes is None else cost.transfer_ns(upload_bytes, board.up_bps, *board.delay)
        return Outlined(
            download_ns=down_ns,
            train_ns=train_ns,
            upload_ns=up_ns,
            download_j=cost.energy_j(board.download_w, down_ns),
            training_j=cost.energy_j(board.training_w, train_ns),
            upload_j=cost.energy_j(board.upload_w, up_ns),
            download_w=board.download_w,
            upload_w=board.upload_w,
            fits=int(upload_bytes is not None and work.memory_bytes <= board.memory_bytes),
        )

    def _many(self, board: Figures[FloatArray], clients: IntArray, assignments: Sequence[Assignment]) -> Columns:
        works = [assigned.workload for assigned in assignments]
        train_ns = cost.computes_ns(
            works,
            compute_flops=board.compute_flops,
            bandwidth=board.bandwidth,
            step_overhead_s=board.step_overhead_s,
            sparse_efficiency=board.sparse_efficiency,
            sparse_speedup=self._sparse_speedup,
            class_traits=self._traits,
            device_class=self._class_of[clients],
        )
        want = asked(assignments)
        down_ns = cost.transfers_ns(want.down, board.down_bps, *board.delay)
        up_ns = np.where(want.known, cost.transfers_ns(want.up, board.up_bps, *board.delay), 0)
        return Outlined(
            download_ns=down_ns,
            train_ns=train_ns,
            upload_ns=up_ns,
            download_j=cost.energies_j(board.download_w, down_ns),
            training_j=cost.energies_j(board.training_w, train_ns),
            upload_j=cost.energies_j(board.upload_w, up_ns),
            download_w=board.download_w,
            upload_w=board.upload_w,
            fits=want.known * (want.memory <= board.memory_bytes),
        )


class Asked(NamedTuple):
    """What jobs ask for [job]. Attributes: bytes down, and up where that is known; known, 1 where it is, else 0; bytes
    of memory; batch_size, where it had to be made smaller, else 0; flops."""

    down: IntArray
    up: IntArray
    known: IntArray
    memory: IntArray
    batch_size: IntArray
    flops: FloatArray


def asked(assignments: Sequence[Assignment]) -> Asked:
    """Of these, one a job; quicker where all are one."""
    first, jobs = assignments[0], len(assignments)
    if all(assigned is first for assigned in assignments):
        return Asked._make(np.full(jobs, figure) for figure in (*_whole_of(first), first.workload.flops))
    flops = np.array([assigned.workload.flops for assigned in assignments], np.float64)
    return Asked._make([*np.array(list(map(_whole_of, assignments)), np.int64).T, flops])


def _whole_of(assigned: Assignment) -> tuple[int, int, int, int, int]:
    up = assigned.upload_bytes
    return assigned.download_bytes, up or 0, int(up is not None), assigned.workload.memory_bytes, assigned.batch_size
