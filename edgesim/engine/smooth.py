"""Smooth plans: those of jobs that nothing comes in the way of, one at a time or of many that begin together.

Both give the same, to the nanosecond and the last bit of a joule: the arithmetic is the same, in numbers or in columns.
"""

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from edgesim.devices import cost
from edgesim.devices.cost import SparseSpeedup
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board, Boards
from edgesim.engine.job import Job, Smooth
from edgesim.engine.learning import Assignment
from edgesim.engine.presence import Presence
from edgesim.engine.radio import Radio
from edgesim.engine.scalars import scalars


class SmoothPlans:
    """Makes jobs, and plans those that it can."""

    def __init__(
        self, fleet: Fleet, boards: Boards, radio: Radio, presence: Presence, sparse_speedup: SparseSpeedup
    ) -> None:
        self._boards, self._radio, self._presence, self._sparse_speedup = boards, radio, presence, sparse_speedup
        self._traits, self._class_of, self._class = fleet.class_traits, fleet.device_class, scalars(fleet.device_class)

    # ── one at a time ───────────────────────────────────────────────────────────────────────────────
    def make(self, number: int, client: int, version: int, now_ns: int, board: Board, assigned: Assignment) -> Job:
        """A job that begins now, without a plan."""
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
        return Job(
            number, client, version, now_ns, assigned.download_bytes, -1 if upload_bytes is None else upload_bytes,
            train_ns, work.flops, work.memory_bytes, assigned.batch_size,
        )  # fmt: skip

    def plan(self, job: Job, board: Board) -> None:
        """Plan a job, if nothing comes in its way."""
        if job.upload_bytes < 0 or job.memory_bytes > board.memory_bytes:
            return
        start_ns, tail_s = job.dispatched_ns, board.tail_s
        training_ns = start_ns + cost.transfer_ns(job.download_bytes, board.down_bps, board.latency_s)
        upload_ns = training_ns + job.train_ns
        end_ns = upload_ns + cost.transfer_ns(job.upload_bytes, board.up_bps, board.latency_s)
        if not self._presence.stays(job.client, start_ns, end_ns):
            return
        download_j = cost.energy_j(board.download_w, training_ns - start_ns)
        upload_j = cost.energy_j(board.upload_w, end_ns - upload_ns)
        if tail_s:
            last_ns = training_ns if training_ns > start_ns else None
            if last_ns is not None:
                download_j += self._radio.tail_j(job.client, board, None, start_ns)
            if end_ns > upload_ns:
                upload_j += self._radio.tail_j(job.client, board, last_ns, upload_ns)
        training_j = cost.energy_j(board.training_w, job.train_ns)
        job.smooth = Smooth(training_ns, upload_ns, end_ns, download_j, training_j, upload_j)

    # ── many together ───────────────────────────────────────────────────────────────────────────────
    def many(
        self, first: int, clients: Sequence[int], version: int, now_ns: int, assignments: Sequence[Assignment]
    ) -> list[Job]:
        """The jobs, numbered from `first`, that begin now, planned where nothing comes in their way."""
        who, works = np.array(clients), [assigned.workload for assigned in assignments]
        board = self._boards.columns(who)
        down = np.array([assigned.download_bytes for assigned in assignments], np.int64)
        up = np.array([-1 if a.upload_bytes is None else a.upload_bytes for a in assignments], np.int64)
        memory = np.array([work.memory_bytes for work in works], np.int64)
        train_ns = cost.computes_ns(
            works,
            compute_flops=board.compute_flops,
            bandwidth=board.bandwidth,
            step_overhead_s=board.step_overhead_s,
            sparse_efficiency=board.sparse_efficiency,
            sparse_speedup=self._sparse_speedup,
            class_traits=self._traits,
            device_class=self._class_of[who],
        )
        training_ns = now_ns + cost.transfers_ns(down, board.down_bps, board.latency_s)
        upload_ns = training_ns + train_ns
        end_ns = upload_ns + cost.transfers_ns(up, board.up_bps, board.latency_s)
        download_j = cost.energies_j(board.download_w, training_ns - now_ns)
        upload_j = cost.energies_j(board.upload_w, end_ns - upload_ns)
        if self._radio.any:
            past_ns = self._radio.until_ns(who)
            download_j += self._radio.tails_j(board, past_ns, np.full_like(training_ns, now_ns), training_ns)
            past_ns = np.where(training_ns > now_ns, training_ns + self._radio.lengths_ns(board), past_ns)
            upload_j += self._radio.tails_j(board, past_ns, upload_ns, end_ns)
        training_j = cost.energies_j(board.training_w, train_ns)
        columns = training_ns, upload_ns, end_ns, download_j, training_j, upload_j
        plans = zip(*(column.tolist() for column in columns), strict=True)
        fits = (up >= 0) & (memory <= board.memory_bytes) & self._presence.stay(who, now_ns, end_ns)
        jobs = map(
            Job, range(first, first + len(clients)), clients, repeat(version), repeat(now_ns), down.tolist(),
            up.tolist(), train_ns.tolist(), [work.flops for work in works], memory.tolist(),
            [assigned.batch_size for assigned in assignments],
        )  # fmt: skip
        made: list[Job] = []
        for job, plan, fit in zip(jobs, plans, fits.tolist(), strict=False):  # versions and instants have no end
            if fit:
                job.smooth = Smooth(*plan)
            made.append(job)
        return made
