"""Planning: what a job will do from some instant on, as far as that can be foreseen.

Absences, outages and mishaps are pure functions of what they are asked for (presence.py, luck.py). So a plan needs
no process that watches the device, and nothing to be woken for in between. Two things cannot be foreseen: when a
transfer ends that shares a network, which is left open; and what a battery holds after a stretch is known when that
is over, so with batteries each plan is one stretch long.
"""

from collections.abc import Sequence

from edgesim.devices import cost
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board, Boards
from edgesim.engine.job import Job, Phase, Stretch
from edgesim.engine.learning import Assignment
from edgesim.engine.mishaps import Mishaps
from edgesim.engine.parts import attempt, length_ns, part, worked_ns
from edgesim.engine.presence import Presence
from edgesim.engine.radio import Radio
from edgesim.engine.rules import Rules
from edgesim.engine.scalars import scalars
from edgesim.engine.transfers import Transfers

_DOWNLOAD, _TRAIN, _UPLOAD = (phase.value for phase in Phase)


class Planner:
    """Plans jobs on a fleet: one phase at a time (`by_phase`, and on a shared network), or as far as it can."""

    def __init__(
        self,
        fleet: Fleet,
        rules: Rules,
        radio: Radio,
        presence: Presence,
        mishaps: Mishaps,
        *,
        by_phase: bool,
        transfers: Transfers | None,
    ) -> None:
        self._rules, self._radio, self._presence, self._mishaps = rules, radio, presence, mishaps
        self._transfers = transfers
        self._by_phase = by_phase or transfers is not None
        self._whole = not (self._by_phase or mishaps.by_chance)
        self._boards = Boards(fleet)
        self._traits, self._device_class = fleet.class_traits, scalars(fleet.device_class)
        self._always = presence.always

    def start(
        self, first: int, clients: Sequence[int], version: int, now_ns: int, assignments: Sequence[Assignment]
    ) -> list[Job]:
        """The jobs, numbered from `first`, that begin now on these clients, planned."""
        jobs: list[Job] = []
        for client, board, assigned in zip(clients, self._boards.of(clients), assignments, strict=True):
            work, upload_bytes = assigned.workload, assigned.upload_bytes
            job = Job(
                first + len(jobs), client, version, now_ns, assigned.download_bytes,
                -1 if upload_bytes is None else upload_bytes,
                self._train_ns(client, board, assigned), work.flops, work.memory_bytes, assigned.batch_size,
            )  # fmt: skip
            if not self._plan_whole(job, board):
                self._plan(job, board)
            jobs.append(job)
        return jobs

    def extend(self, job: Job) -> None:
        """Plan on from the end of the plan."""
        self._plan(job, self._boards.of([job.client])[0])

    def until(self, job: Job, now_ns: int, outcome: str) -> list[Stretch]:
        """What a job has done by now: stretches that are over, and the part of one that is not, with `outcome`.

        A job ends when that is its turn among what happens at an instant, so here its last stretch of all is
        never over. A part pays a radio tail where it is the end of a transfer, which is so unless "in-flight".
        """
        past: list[Stretch] = []
        last = job.stretches[-1] if job.planned_to_the_end else None
        for stretch in job.stretches:
            if stretch.end_ns <= now_ns and stretch is not last:
                past.append(stretch)
            elif stretch.start_ns < now_ns:
                board = self._boards.of([job.client])[0]
                past.append(self._part(job, board, past, stretch.phase, stretch.start_ns, now_ns, outcome))
        if self._transfers is not None and job.is_flowing and job.open_ns < now_ns:
            past.append(self._opened(job, self._transfers.moved(job), now_ns, outcome))
        return past

    # ── open transfers ──────────────────────────────────────────────────────────────────────────────
    def complete(self, job: Job, now_ns: int) -> None:
        """An open transfer has moved all that it had to."""
        assert self._transfers is not None
        phase, _ = self._mishaps.next_phase(job)
        self._close(job, self._transfers.left_bytes(job), now_ns, self._mishaps.completed(job, phase))

    def break_off(self, job: Job, now_ns: int) -> None:
        """An open transfer cannot go on."""
        assert self._transfers is not None
        left, moved = self._transfers.left_bytes(job), self._transfers.stop(job)
        phase, _ = self._mishaps.next_phase(job)
        outcome = self._mishaps.completed(job, phase) if moved == left else self._mishaps.broken(job, phase)
        self._close(job, moved, now_ns, outcome)

    def _close(self, job: Job, moved: int, now_ns: int, outcome: str) -> None:
        job.stretches.append(self._opened(job, moved, now_ns, outcome))
        job.open_ns = -1

    def _opened(self, job: Job, moved: int, now_ns: int, outcome: str) -> Stretch:
        """The part of an open transfer up to now."""
        board, (phase, _) = self._boards.of([job.client])[0], self._mishaps.next_phase(job)
        return self._part(job, board, job.stretches, phase, job.open_ns, now_ns, outcome)._replace(bytes=moved)

    # ── plans ───────────────────────────────────────────────────────────────────────────────────────
    def _train_ns(self, client: int, board: Board, assigned: Assignment) -> int:
        return cost.compute_ns(
            assigned.workload,
            compute_flops=board.compute_flops,
            bandwidth=board.bandwidth,
            step_overhead_s=board.step_overhead_s,
            sparse_efficiency=board.sparse_efficiency,
            sparse_speedup=self._rules.sparse_speedup,
            traits=self._traits[self._device_class[client]],
        )

    def _plan_whole(self, job: Job, board: Board) -> bool:
        """Plan all of a new job if nothing comes in its way, which is quicker than one phase after the other."""
        size, tail_s = job.upload_bytes, board.tail_s
        if not self._whole or size < 0 or job.memory_bytes > board.memory_bytes:
            return False
        start_ns = job.dispatched_ns
        train_ns = start_ns + cost.transfer_ns(job.download_bytes, board.down_bps, board.latency_s)
        up_ns = train_ns + job.train_ns
        end_ns = up_ns + cost.transfer_ns(size, board.up_bps, board.latency_s)
        if not (self._always or self._presence.stays(job.client, start_ns, end_ns)):
            return False
        down_j = cost.energy_j(board.download_w, train_ns - start_ns)
        if tail_s and train_ns > start_ns:
            down_j += self._radio.tail_j(job.client, board, (), start_ns)
        job.stretches.append(Stretch(_DOWNLOAD, start_ns, train_ns, job.download_bytes, 0.0, down_j, "done"))
        train_j = cost.energy_j(board.training_w, job.train_ns)
        job.stretches.append(Stretch(_TRAIN, train_ns, up_ns, 0, job.flops, train_j, "done"))
        up_j = cost.energy_j(board.upload_w, end_ns - up_ns)
        if tail_s and end_ns > up_ns:
            up_j += self._radio.tail_j(job.client, board, job.stretches, up_ns)
        job.stretches.append(Stretch(_UPLOAD, up_ns, end_ns, size, 0.0, up_j, "done"))
        return True

    def _plan(self, job: Job, board: Board) -> None:
        """Plan stretches one after the other from the end of the plan."""
        plan = job.stretches
        while True:
            phase, at_ns = self._mishaps.next_phase(job)
            if phase == _UPLOAD and job.upload_bytes < 0:
                return
            if phase == _TRAIN and job.memory_bytes > board.memory_bytes:
                plan.append(Stretch(_TRAIN, at_ns, at_ns, 0, 0.0, 0.0, "out-of-memory"))
                return
            left_ns = length_ns(job, board, phase) - worked_ns(attempt(plan, phase))
            start_ns = self._mishaps.begins_ns(job, phase, at_ns) if left_ns else at_ns
            if start_ns is None:
                self._lose(job, board, phase, at_ns)
            elif left_ns and phase != _TRAIN and self._transfers is not None:
                job.open_ns = start_ns
                return
            else:
                self._plan_stretch(job, board, phase, start_ns, left_ns)
            done = plan[-1].outcome == "done"
            if job.planned_to_the_end or (done and self._by_phase) or self._presence.has_battery(job.client):
                return

    def _plan_stretch(self, job: Job, board: Board, phase: int, start_ns: int, left_ns: int) -> None:
        """Append a stretch: all that is left of a phase, unless something breaks it off."""
        off_ns = self._mishaps.breaks_ns(job, phase, start_ns, start_ns + left_ns) if left_ns else None
        if off_ns is None:
            end_ns, outcome = start_ns + left_ns, self._mishaps.completed(job, phase)
        else:
            end_ns, outcome = off_ns, self._mishaps.broken(job, phase)
        job.stretches.append(self._part(job, board, job.stretches, phase, start_ns, end_ns, outcome))

    def _lose(self, job: Job, board: Board, phase: int, at_ns: int) -> None:
        """A phase can neither begin nor go on: the job ends here, or ended with its last stretch."""
        plan = job.stretches
        if plan and plan[-1].outcome in ("interrupted", "failed"):
            plan[-1] = plan[-1]._replace(outcome="lost")
        else:
            plan.append(self._part(job, board, plan, phase, at_ns, at_ns, "lost"))

    def _part(
        self, job: Job, board: Board, before: Sequence[Stretch], phase: int, start_ns: int, end_ns: int, outcome: str
    ) -> Stretch:
        stretch = part(job, board, before, phase, start_ns, end_ns, outcome)
        if phase == _TRAIN or end_ns == start_ns or outcome == "in-flight" or not board.tail_s:
            return stretch
        tail_j = self._radio.tail_j(job.client, board, before, start_ns)
        return stretch._replace(energy_j=stretch.energy_j + tail_j)
