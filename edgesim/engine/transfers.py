"""Transfers: those of jobs on a shared network. When one ends cannot be foreseen, for it depends on the others."""

from collections.abc import Callable
from typing import Any

import simpy

from edgesim.devices.network import Direction, Network
from edgesim.engine import clock
from edgesim.engine.clock import Clock
from edgesim.engine.flows import Flows
from edgesim.engine.job import Job, Phase
from edgesim.engine.mishaps import Mishaps
from edgesim.engine.parts import attempt, size_bytes, worked_ns
from edgesim.engine.radio import Radio

_LOOK_NS = 60_000_000_000  # how far ahead at first a battery is followed


class Transfers:
    """Open transfers, at most one a job; `ended` is told the number of a job whose transfer is complete.

    Attributes: unsettled, whether something began or ended at this instant, so that `arm` is due once the instant
    is over.
    """

    def __init__(
        self, network: Network, clock: Clock, mishaps: Mishaps, radio: Radio, ended: Callable[[int], None]
    ) -> None:
        self._network, self._clock, self._mishaps, self._radio, self._ended = network, clock, mishaps, radio, ended
        self._flows = Flows(network)
        self._complete: dict[int, None] = {}  # jobs whose transfers are complete, which was not told yet
        self._armed_ns: int | None = None
        self.unsettled = False

    def begin(self, job: Job) -> None:
        """The open transfer of a job begins, or goes on, now; it is to be woken when it breaks off."""
        now_ns, (phase, _) = self._clock.now_ns, self._mishaps.next_phase(job)
        on_line_ns = worked_ns(attempt(job.stretches, phase))
        waking_ns = self._radio.waking_of_phase_ns(job.client, phase, job.stretches, now_ns)
        direction = Direction.DOWN if phase == Phase.DOWNLOAD else Direction.UP
        whole_delay_ns = waking_ns + self._network.delay_ns(job.client, direction, size_bytes(job, phase))
        delay_ns = max(0, whole_delay_ns - on_line_ns)
        self._flows.start(now_ns, job.id, job.client, direction, self.left_bytes(job), delay_ns)
        job.wake_ns = self.wakes_ns(job)
        self.unsettled = True

    def wakes_ns(self, job: Job) -> int:
        """When an open transfer breaks off, or is to be looked at again; -1: it never breaks off.

        When it ends is not known, and a battery that is charged now and then may never run empty: so it is followed
        no further ahead than the transfer has come already, and a minute at first.
        """
        now_ns, (phase, _) = self._clock.now_ns, self._mishaps.next_phase(job)
        until_ns = None
        if self._mishaps.has_battery(job.client):
            until_ns = now_ns + max(_LOOK_NS, now_ns - job.open_ns)
        breaks = self._mishaps.breaks(job, phase, job.open_ns, until_ns)
        if breaks is not None:
            return breaks[0]
        return -1 if until_ns is None else until_ns

    def left_bytes(self, job: Job) -> int:
        """What a job's open transfer had to move when it began, or went on."""
        phase, _ = self._mishaps.next_phase(job)
        return size_bytes(job, phase) - sum(stretch.bytes for stretch in attempt(job.stretches, phase))

    def moved(self, job: Job) -> int:
        """Bytes that an open transfer has moved since."""
        return self.left_bytes(job) if job.id in self._complete else self._flows.moved(self._clock.now_ns, job.id)

    def stop(self, job: Job) -> int:
        """Break an open transfer off → bytes moved."""
        moved = self.moved(job)
        if job.id in self._complete:
            del self._complete[job.id]
        else:
            self._flows.stop(self._clock.now_ns, job.id)
        self.unsettled = True
        return moved

    def arm(self) -> None:
        """Ask to be called when the next transfer ends, after all that happens at this instant."""
        self.unsettled = False
        next_ns = self._flows.next_ns()
        if next_ns is not None and next_ns != self._armed_ns:
            self._clock.at(next_ns, clock.NETWORK, [self._happen])
        self._armed_ns = next_ns

    def _happen(self, event: simpy.Event) -> None:
        now_ns = self._clock.now_ns
        if now_ns != self._armed_ns:
            return  # armed anew since
        self._armed_ns, self.unsettled = None, True
        self._complete |= dict.fromkeys(self._flows.advance(now_ns))
        while self._complete:  # whoever is told may break others off
            job = next(iter(self._complete))
            del self._complete[job]
            self._ended(job)

    def state(self) -> dict[str, Any]:
        """As plain data, between two instants."""
        return self._flows.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self._flows, self._armed_ns, self.unsettled = Flows.restored(self._network, state), None, True
