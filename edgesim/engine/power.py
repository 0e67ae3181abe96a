"""Power: the batteries of a run's devices, and what jobs take from them.

A job takes what its device draws beyond idling; the rest is the battery's own drain. Debits must follow one
another, so a stretch is debited when it is over, and no stretch is planned before the one that it follows.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import BoolArray, FloatArray, IntArray
from edgesim.devices.availability import FleetAvailability
from edgesim.devices.battery import Batteries, Stop
from edgesim.devices.fleet import Fleet
from edgesim.devices.trajectories import Trajectories
from edgesim.engine.job import Job, Phase, Stretch

STOPS_UP_TO = 1_000
"""Devices: of a larger fleet it is not kept when each was kept from work, but for how long."""

_HORIZON_NS = 366 * 86_400_000_000_000  # how far ahead a battery's next change is looked for: a year


class Charging(Trajectories):
    """When the devices of a fleet are on their chargers, each entry's by a law of its own."""

    def __init__(self, laws: FleetAvailability) -> None:
        self._laws = laws

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device charges at t."""
        return self._laws.is_on(device, t_ns)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """When it begins or ends to, strictly after t; None: never."""
        return self._laws.next_change_ns(device, t_ns)


class Refill(NamedTuple):
    """When an empty battery lets its device work again, if it is asked in [since, until) and has no further debit."""

    debited_ns: int
    since_ns: int
    until_ns: int
    refills_ns: int | None


class Power:
    """Attributes: batteries; has [device], whether there is a battery."""

    def __init__(self, fleet: Fleet, batteries: Batteries, has: BoolArray) -> None:
        self.batteries, self.has = batteries, has
        phases = (fleet.receive_w, fleet.training_w - fleet.idle_w, fleet.send_w)
        self._idle_w, self._extra_w = fleet.idle_w, np.maximum(np.stack(phases), 0.0)
        self._availability, self._keeps_stops = fleet.availability, len(fleet) <= STOPS_UP_TO
        self._stopped_ns: IntArray = np.zeros(len(fleet), np.int64)
        self._stops: list[Stop] = []
        self._refills: dict[int, Refill] = {}  # no state: what is found anew is the same
        self._found: tuple[int, IntArray, list[Stop]] | None = None  # what `stopped` last found, and up to when

    def is_empty(self, client: int, t_ns: int) -> bool:
        """Whether the battery keeps the device from work, at t."""
        return bool(self.has[client]) and self.batteries.at(client, t_ns).stopped

    def empties_ns(self, client: int, phase: int, at_ns: int, until_ns: int | None) -> int | None:
        """When a device at work on this phase from `at` on has to stop, before `until`; None if it has not to."""
        if not self.has[client]:
            return None
        end_ns = at_ns + _HORIZON_NS if until_ns is None else until_ns
        found_ns = self.batteries.next_crossing_ns(client, at_ns, end_ns, float(self._extra_w[phase, client]))
        return found_ns if found_ns is not None and found_ns < end_ns else None

    def refills_ns(self, client: int, at_ns: int) -> int | None:
        """When an empty battery lets its device work again; None: not within this year and the next.

        What was found is kept until the next debit: a device that nobody charges for long is asked about again and
        again, and each time its charging would be followed from the last debit on.
        """
        until_ns, debited_ns = (at_ns // _HORIZON_NS + 2) * _HORIZON_NS, self.batteries.debited_ns(client)
        known = self._refills.get(client)
        if known is not None and known.debited_ns == debited_ns and known.since_ns <= at_ns < known.until_ns:
            return known.refills_ns
        found_ns = self.batteries.next_crossing_ns(client, at_ns, until_ns)
        valid_ns = until_ns - _HORIZON_NS if found_ns is None else found_ns
        self._refills[client] = Refill(debited_ns, at_ns, valid_ns, found_ns)
        return found_ns

    def are_empty(self, clients: IntArray, t_ns: int) -> BoolArray:
        """`is_empty` of each [n]."""
        return np.array([self.is_empty(client, t_ns) for client in clients.tolist()], np.bool_)

    def book(self, client: int, stretch: Stretch) -> None:
        """Debit a stretch that is over."""
        self._found = None
        if not self.has[client] or stretch.end_ns == stretch.start_ns:
            return
        ns = stretch.end_ns - stretch.start_ns
        extra_w = float(self._extra_w[stretch.phase, client])
        self.batteries.draw(client, extra_w, stretch.start_ns, stretch.end_ns)
        tail_j = stretch.energy_j - cost.energy_j(float(self._idle_w[client]) + extra_w, ns)
        if stretch.phase != Phase.TRAIN and tail_j > 1e-9 * stretch.energy_j:  # else it is what rounding left
            self.batteries.debit(client, tail_j, stretch.end_ns, stretch.end_ns)
        if self.batteries.stops:
            self._stopped_ns[client] += self._on_line_ns(self.batteries.stops)
            self._stops += self.batteries.stops if self._keeps_stops else ()
            self.batteries.stops.clear()

    def stopped(self, t_ns: int) -> tuple[IntArray, list[Stop]]:
        """Up to t: for how long each device [device] was on line, but kept from work by its battery; and when they
        were kept from it, on line or not, unless the fleet is too large for that. Asked again at the end of a run, of
        all batteries, it looks once."""
        if self._found is not None and self._found[0] == t_ns:
            return self._found[1:]
        stopped_ns, stops = self._stopped_ns.copy(), [*self._stops]
        for client in np.flatnonzero(self.has).tolist():
            since = self.batteries.stops_up_to(client, t_ns)
            stopped_ns[client] += self._on_line_ns(since)
            stops += since if self._keeps_stops else ()
        self._found = t_ns, stopped_ns, stops
        return stopped_ns, stops

    def _on_line_ns(self, stops: Iterable[Stop]) -> int:
        return sum(self._availability.on_ns(client, until_ns, since_ns) for client, since_ns, until_ns in stops)

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "batteries": self.batteries.state(), "stopped_ns": self._stopped_ns.copy(), "stops": [*self._stops]
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self._found = None
        self.batteries.restore(state["batteries"])
        self._stopped_ns[:], self._stops = state["stopped_ns"], [tuple(stop) for stop in state["stops"]]

    def charge(self, clients: IntArray, t_ns: int) -> FloatArray:
        """State of charge of each [n], from 0 to 1, at t; NaN where there is no battery."""
        charge = np.full(len(clients), np.nan)
        for place in np.flatnonzero(self.has[clients]).tolist():
            client = int(clients[place])
            charge[place] = self.batteries.at(client, t_ns).level_j / self.batteries.capacity_j[client]
        return charge

    def levels_j(self, t_ns: int, jobs: Iterable[Job] = (), besides: Iterable[tuple[Job, Stretch]] = ()) -> FloatArray:
        """What each battery holds at t [device], with what these jobs are drawing, and others in stretches `besides`
        their plans; NaN where there is none."""
        levels: FloatArray = np.where(self.has, self.batteries.levels_j(t_ns), np.nan)
        at_work = chain(
            ((job, *_at_work(job)) for job in jobs),
            ((job, stretch.phase, stretch.start_ns) for job, stretch in besides),
        )
        for job, phase, since_ns in at_work:
            if self.has[job.client] and since_ns < t_ns:
                extra_w = float(self._extra_w[phase, job.client])
                levels[job.client] = self.batteries.at(job.client, t_ns, extra_w, since_ns).level_j
        return levels

    def summary(self, t_ns: int, jobs: Iterable[Job], besides: Iterable[tuple[Job, Stretch]] = ()) -> dict[str, float]:
        """battery_level, the mean charge as a share of the capacity; batteries_empty, devices that are kept from work
        by theirs, as of what was debited."""
        shares = self.levels_j(t_ns, jobs, besides)[self.has] / self.batteries.capacity_j[self.has]
        empty = self.are_empty(np.flatnonzero(self.has), t_ns)
        level = float(shares.mean()) if len(shares) else float("nan")
        return {"battery_level": level, "batteries_empty": float(empty.sum())}


def _at_work(job: Job) -> tuple[int, int]:
    """The phase that is under way, or next, and when it began, or will."""
    last = job.stretches[-1] if job.stretches else None
    if job.open_ns < 0:
        assert last is not None
        return last.phase, last.start_ns
    return (Phase.DOWNLOAD if last is None else last.phase + (last.outcome == "done")), job.open_ns
