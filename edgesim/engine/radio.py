"""Radio tails: after a transfer a radio draws on for a while.

A tail lasts `tail_s` from the end of each transfer, whatever the device does then, and is booked at that end.
One that overlaps the transfer before paid for its time already, so the next tail pays only for the time it adds.
"""

from collections.abc import Sequence

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.fleet import Fleet
from edgesim.engine.boards import Board
from edgesim.engine.job import Job, Phase, SmoothJobs, Stretch
from edgesim.engine.ledger import Ledger
from edgesim.engine.scalars import scalars

_TRAIN = Phase.TRAIN.value


class Radio:
    """What tails add to transfers, on devices whose last booked tail the ledger knows.

    Attributes: any, whether there are tails at all.
    """

    def __init__(self, fleet: Fleet, ledger: Ledger) -> None:
        row, figures = fleet.shared("tail_s")
        self.any, self._tails_ns, self._rows = bool(figures.any()), np.rint(1e9 * figures[:, 0]).astype(np.int64), row
        self._tail_ns, self._row = scalars(self._tails_ns), scalars(row)
        self._ledger, self._until_ns = ledger, scalars(ledger.radio_until_ns)

    def tail_j(self, client: int, board: Board, last_ns: int | None, start_ns: int) -> float:
        """Of a transfer begun at `start`, where the one before it in the same job, if any, ended at `last`."""
        tail_ns = round(1e9 * board.tail_s)
        until_ns = self._until_ns[client] if last_ns is None else last_ns + tail_ns
        return self.added_j(tail_ns, board.tail_w, until_ns, start_ns)

    def until_ns(self, client: int) -> int:
        """Until when a device's radio is paid for."""
        found: int = self._until_ns[client]
        return found

    @staticmethod
    def added_j(tail_ns: int, tail_w: float, until_ns: int, start_ns: int) -> float:
        """What the tail of a transfer begun at `start` adds on a radio that is paid for until then."""
        if until_ns > start_ns:
            tail_ns -= min(until_ns - start_ns, tail_ns)
        return cost.energy_j(tail_w, tail_ns)

    def book(self, job: Job) -> None:
        """A job has ended: note until when its device's radio is paid for."""
        if self.any:
            plan = job.smooth
            if plan is not None and plan.end_ns > plan.upload_ns:
                end_ns: int | None = plan.end_ns
            else:
                end_ns = last_transfer_ns(job.planned())
            if end_ns is not None:
                self._until_ns[job.client] = end_ns + self._tail_ns[self._row[job.client]]

    def book_wave(self, jobs: SmoothJobs) -> None:
        """`book` of jobs of as many clients."""
        if self.any:
            start_ns, training_ns, upload_ns, end_ns = jobs.edges_ns
            last_ns = np.where(end_ns > upload_ns, end_ns, training_ns)
            some = last_ns > start_ns  # something was transferred
            clients = jobs.client[some]
            self._ledger.radio_until_ns[clients] = last_ns[some] + self._tails_ns[self._rows[clients]]

    # ── many together ───────────────────────────────────────────────────────────────────────────────
    def untils_ns(self, clients: IntArray) -> IntArray:
        """Until when the radios of these are paid for [n]."""
        found: IntArray = self._ledger.radio_until_ns[clients]
        return found

    @staticmethod
    def adds_j(
        tail_ns: IntArray, tail_w: FloatArray, until_ns: IntArray, start_ns: IntArray, end_ns: IntArray
    ) -> FloatArray:
        """`added_j` of transfers from `start` to `end` [n], nothing of one that takes no time."""
        paid_ns = np.clip(until_ns - start_ns, 0, tail_ns)
        found: FloatArray = np.where(end_ns > start_ns, cost.energies_j(tail_w, tail_ns - paid_ns), 0.0)
        return found


def last_transfer_ns(stretches: Sequence[Stretch]) -> int | None:
    """When it ended; None if these hold none."""
    for phase, start_ns, end_ns, *_ in reversed(stretches):
        if phase != _TRAIN and end_ns > start_ns:
            return end_ns
    return None
