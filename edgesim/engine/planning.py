"""Planning: what a job will do from some instant on, as far as that can be foreseen.

Absences are asked of the fleet's availability, a pure function of (device, time), and nothing else can come
in the way of a job; so a plan needs no process that watches the device, and nothing to be woken for in between.
"""

from collections.abc import Sequence

from edgesim.devices import cost
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board, Boards
from edgesim.engine.job import Job, Phase, Stretch
from edgesim.engine.learning import Assignment
from edgesim.engine.ledger import Ledger
from edgesim.engine.parts import length_ns, part
from edgesim.engine.radio import Radio
from edgesim.engine.rules import Rules
from edgesim.engine.scalars import scalars

_DOWNLOAD, _TRAIN, _UPLOAD = (phase.value for phase in Phase)


class Planner:
    """Plans jobs on a fleet: one phase at a time (`by_phase`), or as far as it can.

    Attributes: radio, whose tails it adds.
    """

    def __init__(self, fleet: Fleet, rules: Rules, ledger: Ledger, *, by_phase: bool) -> None:
        self.radio = Radio(fleet, ledger)
        self._rules, self._by_phase = rules, by_phase
        self._boards = Boards(fleet)
        self._traits, self._device_class = fleet.class_traits, scalars(fleet.device_class)
        self._always = fleet.availability.always
        self._is_on, self._next_change_ns = fleet.availability.is_on, fleet.availability.next_change_ns

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
                self._train_ns(client, board, assigned), work.flops, work.memory_bytes, [],
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
        return past

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
        if self._by_phase or size < 0 or job.memory_bytes > board.memory_bytes:
            return False
        start_ns = job.dispatched_ns
        train_ns = start_ns + cost.transfer_ns(job.download_bytes, board.down_bps, board.latency_s)
        up_ns = train_ns + job.train_ns
        end_ns = up_ns + cost.transfer_ns(size, board.up_bps, board.latency_s)
        if not (self._always or self._stays(job.client, start_ns, end_ns)):
            return False
        down_j = cost.energy_j(board.download_w, train_ns - start_ns)
        if tail_s and train_ns > start_ns:
            down_j += self.radio.tail_j(job.client, board, (), start_ns)
        job.stretches.append(Stretch(_DOWNLOAD, start_ns, train_ns, job.download_bytes, 0.0, down_j, "done"))
        train_j = cost.energy_j(board.training_w, job.train_ns)
        job.stretches.append(Stretch(_TRAIN, train_ns, up_ns, 0, job.flops, train_j, "done"))
        up_j = cost.energy_j(board.upload_w, end_ns - up_ns)
        if tail_s and end_ns > up_ns:
            up_j += self.radio.tail_j(job.client, board, job.stretches, up_ns)
        job.stretches.append(Stretch(_UPLOAD, up_ns, end_ns, size, 0.0, up_j, "done"))
        return True

    def _plan(self, job: Job, board: Board) -> None:
        """Plan phases one after the other from the end of the plan."""
        plan = job.stretches
        phase, at_ns = (plan[-1].phase + 1, plan[-1].end_ns) if plan else (_DOWNLOAD, job.dispatched_ns)
        while True:
            if phase == _UPLOAD and job.upload_bytes < 0:
                return
            if phase == _TRAIN and job.memory_bytes > board.memory_bytes:
                plan.append(Stretch(_TRAIN, at_ns, at_ns, 0, 0.0, 0.0, "out-of-memory"))
                return
            self._plan_phase(job, board, phase, at_ns)
            if self._by_phase or job.planned_to_the_end:
                return
            phase, at_ns = phase + 1, plan[-1].end_ns

    def _plan_phase(self, job: Job, board: Board, phase: int, at_ns: int) -> None:
        """Append the stretches of a phase that begins now: one, unless the device goes off line."""
        plan, client = job.stretches, job.client
        left_ns = length_ns(job, board, phase)
        rule = self._rules.training if phase == _TRAIN else self._rules.transfer
        while left_ns and not self._stays(client, at_ns, at_ns + left_ns):
            off_ns = self._off_ns(client, at_ns)
            back_ns = self._next_change_ns(client, off_ns)
            if rule == "abort" or back_ns is None:
                plan.append(self._part(job, board, plan, phase, at_ns, off_ns, "lost"))
                return
            if off_ns > at_ns:
                plan.append(self._part(job, board, plan, phase, at_ns, off_ns, "interrupted"))
            left_ns, at_ns = left_ns - (off_ns - at_ns), back_ns
        plan.append(self._part(job, board, plan, phase, at_ns, at_ns + left_ns, "done"))

    def _part(
        self, job: Job, board: Board, before: Sequence[Stretch], phase: int, start_ns: int, end_ns: int, outcome: str
    ) -> Stretch:
        stretch = part(job, board, before, phase, start_ns, end_ns, outcome)
        if phase == _TRAIN or end_ns == start_ns or outcome == "in-flight" or not board.tail_s:
            return stretch
        tail_j = self.radio.tail_j(job.client, board, before, start_ns)
        return stretch._replace(energy_j=stretch.energy_j + tail_j)

    def _stays(self, client: int, at_ns: int, end_ns: int) -> bool:
        """Whether a device is on line all the time; to leave at the end is early enough."""
        if self._always:
            return True
        if not self._is_on(client, at_ns):
            return False
        change_ns = self._next_change_ns(client, at_ns)
        return change_ns is None or change_ns >= end_ns

    def _off_ns(self, client: int, at_ns: int) -> int:
        """When a device that does not stay leaves: at once if it is away."""
        change_ns = self._next_change_ns(client, at_ns) if self._is_on(client, at_ns) else None
        return at_ns if change_ns is None else change_ns
