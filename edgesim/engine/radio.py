"""Radio tails: after a transfer a radio draws on for a while.

A tail lasts `tail_s` from the end of each transfer, whatever the device does then, and is booked at that end.
One that overlaps the transfer before paid for its time already, so the next tail pays only for the time it adds.
"""

from collections.abc import Sequence

from edgesim.devices import cost
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board
from edgesim.engine.job import Job, Phase, Stretch
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import scalars

_TRAIN = Phase.TRAIN.value


class Radio:
    """What tails add to transfers, on devices whose last booked tail the ledger knows."""

    def __init__(self, fleet: Fleet, ledger: Ledger) -> None:
        row, figures = fleet.shared("tail_s")
        self._any, self._tail_s, self._row = bool(figures.any()), figures[:, 0].tolist(), scalars(row)
        self._until_ns = scalars(ledger.radio_until_ns)

    def tail_j(self, client: int, board: Board, before: Sequence[Stretch], start_ns: int) -> float:
        """Of a transfer begun at `start_ns`, where these stretches of the same job went before."""
        tail_ns = round(1e9 * board.tail_s)
        end_ns = _last_transfer_ns(before)
        until_ns = self._until_ns[client] if end_ns is None else end_ns + tail_ns
        paid_ns = min(max(until_ns - start_ns, 0), tail_ns)
        return cost.energy_j(board.tail_w, tail_ns - paid_ns)

    def book(self, job: Job) -> None:
        """A job has ended: note until when its device's radio is paid for."""
        if self._any:
            end_ns = _last_transfer_ns(job.stretches)
            if end_ns is not None:
                self._until_ns[job.client] = end_ns + round(1e9 * self._tail_s[self._row[job.client]])


def _last_transfer_ns(stretches: Sequence[Stretch]) -> int | None:
    """When it ended; None if these hold none."""
    for phase, start_ns, end_ns, *_ in reversed(stretches):
        if phase != _TRAIN and end_ns > start_ns:
            return end_ns
    return None
