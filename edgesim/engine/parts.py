"""Parts of a phase: how long a whole one takes, and what has been done after a part of it."""

from collections.abc import Sequence

from edgesim.devices import cost
from edgesim.engine.boards import POWER, Board
from edgesim.engine.job import FAILED, Job, Phase, Stretch


def length_ns(job: Job, board: Board, phase: int) -> int:
    """Of a phase that nothing interrupts, on a radio that is awake."""
    if phase == Phase.TRAIN:
        return job.train_ns
    return cost.transfer_ns(size_bytes(job, phase), _rate_bps(board, phase), *board.delay)


def size_bytes(job: Job, phase: int) -> int:
    """Of a transfer's message."""
    return job.download_bytes if phase == Phase.DOWNLOAD else job.upload_bytes


def _rate_bps(board: Board, phase: int) -> float:
    return board.down_bps if phase == Phase.DOWNLOAD else board.up_bps


def attempt(stretches: Sequence[Stretch], phase: int) -> list[Stretch]:
    """The stretches, last first, of the phase's attempt under way after these; none if it begins anew."""
    found: list[Stretch] = []
    for stretch in reversed(stretches):
        if stretch.phase != phase or stretch.outcome in FAILED:
            break
        found.append(stretch)
    return found


def worked_ns(stretches: Sequence[Stretch]) -> int:
    """How long they lasted together."""
    return sum(stretch.end_ns - stretch.start_ns for stretch in stretches)


def part(
    job: Job, board: Board, before: Sequence[Stretch], phase: int, start_ns: int, end_ns: int, outcome: str,
    reason: str, waking_ns: int,
) -> Stretch:  # fmt: skip
    """A stretch that takes a phase up where the stretches `before` left it; without a radio tail. Of a transfer,
    `waking_ns` of its attempt pass before its delay."""
    ns = end_ns - start_ns
    energy_j = cost.energy_j(board[POWER + phase], ns)
    if phase == Phase.TRAIN:  # a whole phase gives exactly job.flops
        flops = job.flops * (ns / job.train_ns) if ns else 0.0
        return Stretch(phase, start_ns, end_ns, 0, flops, energy_j, outcome, reason)
    done_ns = worked_ns(attempt(before, phase)) - waking_ns
    moved = _moved(job, board, phase, done_ns + ns) - _moved(job, board, phase, done_ns)
    return Stretch(phase, start_ns, end_ns, moved, 0.0, energy_j, outcome, reason)


def _moved(job: Job, board: Board, phase: int, done_ns: int) -> int:
    """Bytes that a transfer has moved after so much of its phase: none while its delay lasts."""
    total = size_bytes(job, phase)
    whole_ns = length_ns(job, board, phase)
    if done_ns >= whole_ns:
        return total
    delay_s = cost.delay_s(total, _rate_bps(board, phase), *board.delay)
    delay_ns = min(round(1e9 * delay_s), whole_ns)
    if done_ns <= delay_ns:
        return 0
    return total * (done_ns - delay_ns) // (whole_ns - delay_ns)
