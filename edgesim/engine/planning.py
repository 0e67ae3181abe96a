"""Planning: what a job will do from some instant on, as far as that can be foreseen.

Absences, outages and mishaps are pure functions of what they are asked for (presence.py, luck.py). So a plan needs
no process that watches the device, and nothing to be woken for in between. Two things cannot be foreseen: when a
transfer ends that shares a network, which is left open; and what a battery holds after a stretch is known when that
is over, so with batteries each plan is one stretch long.
"""

from collections.abc import Sequence

from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board, Boards
from edgesim.engine.job import Job, Phase, Stretch
from edgesim.engine.learning import Assignment
from edgesim.engine.mishaps import Mishaps
from edgesim.engine.outlines import Outlines
from edgesim.engine.parts import attempt, length_ns, part, worked_ns
from edgesim.engine.presence import Presence
from edgesim.engine.radio import Radio
from edgesim.engine.reasons import OUT_OF_MEMORY
from edgesim.engine.rules import Rules
from edgesim.engine.scalars import MANY
from edgesim.engine.smooth import Plans, SmoothPlans
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
        self._radio, self._presence, self._mishaps = radio, presence, mishaps
        self._transfers = transfers
        self._by_phase = by_phase or transfers is not None
        self._whole = not (self._by_phase or mishaps.by_chance)
        self._boards = Boards(fleet, rules.seed)
        self._smooth = SmoothPlans(Outlines(fleet, self._boards, rules.sparse_speedup), radio, presence)

    def start(
        self, first: int, clients: Sequence[int], version: int, now_ns: int, assignments: Sequence[Assignment],
        *, together: bool,
    ) -> list[Job] | Plans:  # fmt: skip
        """The jobs, numbered from `first`, that begin now on these clients, planned; where they may be taken
        `together`, and nothing comes in the way of any of them, as such."""
        make, whole = self._smooth.one, self._whole
        if whole and len(clients) >= MANY:
            plans = self._smooth.many(first, clients, version, now_ns, assignments)
            if together and plans.fits.all():
                return plans
            jobs = plans.jobs()
        else:
            jobs = []
            for client, assigned in zip(clients, assignments, strict=True):
                jobs.append(make(first + len(jobs), client, version, now_ns, assigned, planned=whole))
        for job in jobs:
            if job.smooth is None:
                self.extend(job)
        return jobs

    def extend(self, job: Job) -> None:
        """Plan on from the end of the plan."""
        self._plan(job, self._boards.of_job(job.id, job.client))

    def until(self, job: Job, now_ns: int, outcome: str, reason: str = "") -> list[Stretch]:
        """What a job has done by now: stretches that are over, and the part of one that is not, with `outcome` and
        the `reason` of it.

        A job ends when that is its turn among what happens at an instant, so here its last stretch of all is
        never over. A part pays a radio tail where it is the end of a transfer, which is so unless "in-flight".
        """
        past: list[Stretch] = []
        plan = job.planned()
        last = plan[-1] if job.planned_to_the_end else None
        for stretch in plan:
            if stretch.end_ns <= now_ns and stretch is not last:
                past.append(stretch)
            elif stretch.start_ns < now_ns:
                board = self._boards.of_job(job.id, job.client)
                past.append(self._part(job, board, past, stretch.phase, stretch.start_ns, now_ns, outcome, reason))
        if self._transfers is not None and job.is_flowing and job.open_ns < now_ns:
            past.append(self._opened(job, self._transfers.moved(job), now_ns, outcome, reason))
        return past

    # ── open transfers ──────────────────────────────────────────────────────────────────────────────
    def complete(self, job: Job, now_ns: int) -> None:
        """An open transfer has moved all that it had to."""
        assert self._transfers is not None
        phase, _ = self._mishaps.next_phase(job)
        self._close(job, self._transfers.left_bytes(job), now_ns, *self._mishaps.completed(job, phase))

    def break_off(self, job: Job, now_ns: int) -> None:
        """An open transfer cannot go on."""
        assert self._transfers is not None
        left, moved = self._transfers.left_bytes(job), self._transfers.stop(job)
        phase, _ = self._mishaps.next_phase(job)
        if moved == left:
            self._close(job, moved, now_ns, *self._mishaps.completed(job, phase))
            return
        breaks = self._mishaps.breaks(job, phase, job.open_ns, now_ns + 1)  # as when it was opened
        assert breaks is not None
        self._close(job, moved, now_ns, self._mishaps.broken(job, phase), breaks[1])

    def _close(self, job: Job, moved: int, now_ns: int, outcome: str, reason: str) -> None:
        job.stretches.append(self._opened(job, moved, now_ns, outcome, reason))
        job.open_ns = -1

    def _opened(self, job: Job, moved: int, now_ns: int, outcome: str, reason: str) -> Stretch:
        """The part of an open transfer up to now."""
        board, (phase, _) = self._boards.of_job(job.id, job.client), self._mishaps.next_phase(job)
        opened = self._part(job, board, job.stretches, phase, job.open_ns, now_ns, outcome, reason)
        return opened._replace(bytes=moved)

    # ── plans ───────────────────────────────────────────────────────────────────────────────────────
    def _plan(self, job: Job, board: Board) -> None:
        """Plan stretches one after the other from the end of the plan."""
        plan = job.stretches
        while True:
            phase, at_ns = self._mishaps.next_phase(job)
            if phase == _UPLOAD and job.upload_bytes < 0:
                return
            if phase == _TRAIN and job.memory_bytes > board.memory_bytes:
                plan.append(Stretch(_TRAIN, at_ns, at_ns, 0, 0.0, 0.0, "out-of-memory", OUT_OF_MEMORY))
                return
            is_open = phase != _TRAIN and self._transfers is not None
            whole_ns = length_ns(job, board, phase)
            start_ns, reason = self._mishaps.begins(job, phase, at_ns) if whole_ns else (at_ns, "")
            if start_ns is None:
                self._lose(job, board, phase, at_ns, reason)
            elif whole_ns and is_open:  # it has bytes left, or it would be done, however long it has taken
                job.open_ns = start_ns
                return
            else:
                waking_ns = self._radio.waking_of_phase_ns(job.client, phase, plan, start_ns) if whole_ns else 0
                left_ns = waking_ns + whole_ns - worked_ns(attempt(plan, phase))
                self._plan_stretch(job, board, phase, start_ns, left_ns)
            done = plan[-1].outcome == "done"
            if job.planned_to_the_end or (done and self._by_phase) or self._presence.has_battery(job.client):
                return

    def _plan_stretch(self, job: Job, board: Board, phase: int, start_ns: int, left_ns: int) -> None:
        """Append a stretch: all that is left of a phase, unless something breaks it off."""
        breaks = self._mishaps.breaks(job, phase, start_ns, start_ns + left_ns) if left_ns else None
        if breaks is None:
            end_ns, (outcome, reason) = start_ns + left_ns, self._mishaps.completed(job, phase)
        else:
            (end_ns, reason), outcome = breaks, self._mishaps.broken(job, phase)
        job.stretches.append(self._part(job, board, job.stretches, phase, start_ns, end_ns, outcome, reason))

    def _lose(self, job: Job, board: Board, phase: int, at_ns: int, reason: str) -> None:
        """A phase can neither begin nor go on: the job ends here, or ended with its last stretch."""
        plan = job.stretches
        if plan and plan[-1].outcome in ("interrupted", "failed"):
            plan[-1] = plan[-1]._replace(outcome="lost", reason=reason)
        else:
            plan.append(self._part(job, board, plan, phase, at_ns, at_ns, "lost", reason))

    def _part(
        self, job: Job, board: Board, before: Sequence[Stretch], phase: int, start_ns: int, end_ns: int, outcome: str,
        reason: str,
    ) -> Stretch:  # fmt: skip
        waking_ns = self._radio.waking_of_phase_ns(job.client, phase, before, start_ns)
        stretch = part(job, board, before, phase, start_ns, end_ns, outcome, reason, waking_ns)
        if phase == _TRAIN or end_ns == start_ns or outcome == "in-flight":
            return stretch
        tail_j = self._radio.tail_j(job.client, before, start_ns)
        return stretch._replace(energy_j=stretch.energy_j + tail_j)
