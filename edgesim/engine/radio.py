"""Radios: after a transfer one draws on for a while, its tail; then it sleeps, and must wake for the next transfer.

A tail lasts `tail_s` from the end of each transfer, whatever the device does then, and is booked at that end.
One that overlaps the transfer before paid for its time already, so the next tail pays only for the time it adds.
A transfer that begins when no tail lasts takes `promotion_s` longer, in which nothing moves yet.
"""

from collections.abc import Sequence

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.fleet import Fleet
from edgesim.engine.job import Job, Phase, SmoothJobs, Stretch
from edgesim.engine.ledger import Ledger
from edgesim.engine.parts import attempt
from edgesim.engine.scalars import scalars

_TRAIN = Phase.TRAIN.value


class Radio:
    """What tails and waking add to transfers, on devices whose last booked tail the ledger knows.

    Attributes: any, whether there is either at all; sleeps, whether any radio must wake.
    """

    def __init__(self, fleet: Fleet, ledger: Ledger) -> None:
        self._rows, figures = fleet.shared("tail_s", "promotion_s", "tail_w")
        self._tails_ns, self._promotions_ns = np.rint(1e9 * figures[:, :2].T).astype(np.int64)
        self._tails_w, self._row = figures[:, 2].copy(), scalars(self._rows)
        self._figures = list(
            zip(*(c.tolist() for c in (self._tails_ns, self._promotions_ns, self._tails_w)), strict=True)
        )
        self.any, self.sleeps = bool(figures[:, :2].any()), bool(self._promotions_ns.any())
        self._ledger, self._until_ns = ledger, scalars(ledger.radio_until_ns)

    def until_ns(self, client: int, before: Sequence[Stretch] = ()) -> int:
        """Until when a device's radio is awake, and paid for, after these stretches of the job under way."""
        last_ns = last_transfer_ns(before)
        found: int = self._until_ns[client] if last_ns is None else last_ns + self._figures[self._row[client]][0]
        return found

    def waking_ns(self, client: int, before: Sequence[Stretch], start_ns: int) -> int:
        """How long a transfer that begins at `start`, after these stretches of the same job, waits for the radio."""
        if not self.sleeps:
            return 0
        return self._figures[self._row[client]][1] if start_ns >= self.until_ns(client, before) else 0

    def waking_of_phase_ns(self, client: int, phase: int, before: Sequence[Stretch], start_ns: int) -> int:
        """The same of a phase that begins, or goes on, at `start`. Like the latency, waking is part of an attempt: what
        goes on had to wait, or not, when it began."""
        if phase == _TRAIN or not self.sleeps:
            return 0
        under_way = attempt(before, phase)
        if under_way:
            before, start_ns = before[: -len(under_way)], under_way[-1].start_ns
        return self.waking_ns(client, before, start_ns)

    def tail_j(self, client: int, before: Sequence[Stretch], start_ns: int) -> float:
        """Of a transfer begun, or gone on, at `start`, after the stretches `before` of the same job."""
        tail_ns, _, tail_w = self._figures[self._row[client]]
        return _added_j(tail_ns, tail_w, self.until_ns(client, before), start_ns) if tail_ns else 0.0

    def one(
        self, client: int, until_ns: int, start_ns: int, takes_ns: int, energy_j: float, power_w: float
    ) -> tuple[int, float, int]:
        """A transfer that nothing comes in the way of, on a radio that is awake until then: its time and its energy,
        given those that waking and tail are to be added to, and until when the radio is awake after it."""
        if not takes_ns:
            return 0, energy_j, until_ns
        tail_ns, promotion_ns, tail_w = self._figures[self._row[client]]
        if promotion_ns and start_ns >= until_ns:
            takes_ns += promotion_ns
            energy_j = cost.energy_j(power_w, takes_ns)
        if tail_ns:
            energy_j += _added_j(tail_ns, tail_w, until_ns, start_ns)
        return takes_ns, energy_j, start_ns + takes_ns + tail_ns

    def many(
        self, clients: IntArray, until_ns: IntArray, start_ns: IntArray, takes_ns: IntArray, energy_j: FloatArray,
        power_w: FloatArray,
    ) -> tuple[IntArray, FloatArray, IntArray]:  # fmt: skip
        """`one` of each of these [n]."""
        rows, moves = self._rows[clients], takes_ns > 0
        tail_ns = self._tails_ns[rows]
        if self.sleeps:
            waking_ns = np.where(moves & (start_ns >= until_ns), self._promotions_ns[rows], 0)
            takes_ns = takes_ns + waking_ns
            energy_j = np.where(waking_ns > 0, cost.energies_j(power_w, takes_ns), energy_j)
        added_ns = tail_ns - np.clip(until_ns - start_ns, 0, tail_ns)
        energy_j = energy_j + np.where(moves, cost.energies_j(self._tails_w[rows], added_ns), 0.0)
        return takes_ns, energy_j, np.where(moves, start_ns + takes_ns + tail_ns, until_ns)

    def untils_ns(self, clients: IntArray) -> IntArray:
        """Until when the radios of these are awake [n]."""
        found: IntArray = self._ledger.radio_until_ns[clients]
        return found

    def book(self, job: Job) -> None:
        """A job has ended: note until when its device's radio is awake."""
        if self.any:
            plan = job.smooth
            if plan is not None and plan.end_ns > plan.upload_ns:
                end_ns: int | None = plan.end_ns
            else:
                end_ns = last_transfer_ns(job.planned())
            if end_ns is not None:
                self._until_ns[job.client] = end_ns + self._figures[self._row[job.client]][0]

    def book_wave(self, jobs: SmoothJobs) -> None:
        """`book` of jobs of as many clients."""
        if self.any:
            start_ns, training_ns, upload_ns, end_ns = jobs.edges_ns
            last_ns = np.where(end_ns > upload_ns, end_ns, training_ns)
            some = last_ns > start_ns  # something was transferred
            clients = jobs.client[some]
            self._ledger.radio_until_ns[clients] = last_ns[some] + self._tails_ns[self._rows[clients]]


def _added_j(tail_ns: int, tail_w: float, until_ns: int, start_ns: int) -> float:
    """What the tail of a transfer begun at `start` adds on a radio that is paid for until then."""
    if until_ns > start_ns:
        tail_ns -= min(until_ns - start_ns, tail_ns)
    return cost.energy_j(tail_w, tail_ns)


def last_transfer_ns(stretches: Sequence[Stretch]) -> int | None:
    """When it ended; None if these hold none."""
    for phase, start_ns, end_ns, *_ in reversed(stretches):
        if phase != _TRAIN and end_ns > start_ns:
            return end_ns
    return None
