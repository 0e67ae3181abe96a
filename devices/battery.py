"""Batteries: state of charge as a function of time, piecewise linear between the events that a run has (P7).

Nothing is polled. A device's charge is known at its last debit, and from there it follows from what the device
always draws, from when it charges, and from what is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from edgesim.devices.arrays import FloatArray
from edgesim.devices.trajectories import Trajectories


@dataclass(frozen=True, kw_only=True, eq=False)
class BatteryFigures:
    """What the devices' batteries are; arrays are [device].

    Attributes:
        capacity_j: what a full one holds.
        start_j: what it holds when time begins.
        charge_w: power into it while the device charges.
        drain_w: what the device draws from it without a job, on line or not.
        stop_j: falling to it stops the device: it takes no more jobs.
        resume_j: rising to it starts the device again.

    Raises:
        ValueError: figures that do not fit together, with the first device's of which that is true.
    """

    capacity_j: FloatArray
    start_j: FloatArray
    charge_w: FloatArray
    drain_w: FloatArray
    stop_j: FloatArray
    resume_j: FloatArray

    def __post_init__(self) -> None:
        self._require((self.start_j >= 0) & (self.start_j <= self.capacity_j), "0 ≤ start_j ≤ capacity_j")
        self._require((self.stop_j >= 0) & (self.stop_j < self.resume_j), "0 ≤ stop_j < resume_j")
        self._require(self.resume_j <= self.capacity_j, "resume_j ≤ capacity_j")
        self._require((self.charge_w >= 0) & (self.drain_w >= 0), "charge_w ≥ 0 and drain_w ≥ 0")

    def _require(self, holds: "np.ndarray[Any, np.dtype[np.bool_]]", law: str) -> None:
        if not holds.all():
            device = int(np.argmin(holds))
            said = ", ".join(f"{name} {float(figures[device]):g}" for name, figures in vars(self).items())
            raise ValueError(f"battery of device {device} ({said}): must have {law}")


class Charge(NamedTuple):
    """A battery at an instant: level_j; stopped, whether it fell to stop_j and has not risen to resume_j since."""

    at_ns: int
    level_j: float
    stopped: bool


Stop = tuple[int, int, int]
"""A device, and from when to when its battery kept it from work."""


class Batteries:
    """The charge of every device of a fleet; 25 bytes a device beside its figures.

    Attributes: stops, that debits have found to be over; whoever wants them takes them from here.
    """

    def __init__(self, figures: BatteryFigures, charging: Trajectories) -> None:
        """`charging` says when each device charges."""
        self._figures, self._charging = figures, charging
        self._level_j = figures.start_j.astype(np.float64)
        self._stopped = self._level_j <= figures.stop_j
        self._at_ns, self._since_ns = np.zeros((2, len(self._level_j)), np.int64)  # since: of those that are stopped
        self.stops: list[Stop] = []

    def at(self, device: int, t_ns: int, extra_w: float = 0.0, since_ns: int | None = None) -> Charge:
        """The battery at t, if the device draws `extra_w` more than its drain from `since` (default: t) on.

        Raises ValueError for a time before the device's last debit.
        """
        now = self._now(device)
        if t_ns < now.at_ns:
            raise ValueError(f"device {device} at {t_ns} ns: its last debit ends at {now.at_ns} ns")
        if since_ns is not None and extra_w:
            now = self._after(device, now, since_ns, 0.0)
            return self._after(device, now, t_ns, extra_w)
        return self._after(device, now, t_ns, 0.0)

    @property
    def capacity_j(self) -> FloatArray:
        """What each holds when it is full [device]."""
        return self._figures.capacity_j

    def debited_ns(self, device: int) -> int:
        """When its last debit ended: 0, if it had none."""
        return int(self._at_ns[device])

    def levels_j(self, t_ns: int) -> FloatArray:
        """Level of every device at t [device], none of which has a later debit."""
        return np.array([self.at(device, t_ns).level_j for device in range(len(self._level_j))])

    def next_crossing_ns(self, device: int, now_ns: int, until_ns: int, extra_w: float = 0.0) -> int | None:
        """When the device next stops, or starts again, in (now, until]; None if it does not.

        From now on it draws `extra_w` more than its drain, and has no further debit.
        """
        # from the last debit, where nothing new begins now: the pieces are then those that `at` goes through
        charge = self.at(device, now_ns) if extra_w else self._now(device)
        never_rises = self._figures.charge_w[device] <= self._figures.drain_w[device] + extra_w
        for after in self._walk(device, charge, until_ns, extra_w):
            if after.stopped != charge.stopped and after.at_ns > now_ns:
                return after.at_ns
            if after.stopped and never_rises:
                return None
            charge = after
        return None

    def draw(self, device: int, extra_w: float, start_ns: int, end_ns: int) -> Charge:
        """Take a power beyond the drain from start to end: a job's, which ends where `next_crossing_ns` said if that
        is what ends it. The battery at the end.

        Raises ValueError for a start before the end of the last debit.
        """
        self._settle(device, start_ns, 0.0)
        return self._settle(device, end_ns, extra_w)

    def debit(self, device: int, joules: float, start_ns: int, end_ns: int) -> Charge:
        """Take what a job drew beyond the drain, at even power from start to end; the battery at the end.

        Raises ValueError for an end before the start, or a start before the end of the last debit.
        """
        if not start_ns <= end_ns or joules < 0:
            raise ValueError(f"debit of {joules:g} J from {start_ns} to {end_ns} ns: must not be negative")
        charge = self._settle(device, start_ns, 0.0)
        if start_ns < end_ns:
            return self._settle(device, end_ns, joules / ((end_ns - start_ns) / 1e9))
        dropped = self._drop(device, charge, joules)
        if dropped.stopped and not charge.stopped:
            self._since_ns[device] = start_ns
        return self._enter(device, dropped)

    def stops_up_to(self, device: int, t_ns: int) -> list[Stop]:
        """Those since the device's last debit, if there is none up to t; one that is not over by then ends there."""
        charge, since_ns, over = self._followed(device, t_ns, 0.0)
        return [*over, (device, since_ns, t_ns)] if charge.stopped and since_ns < t_ns else over

    def state(self) -> dict[str, Any]:
        """The devices that have been debited, as plain data."""
        devices = np.flatnonzero(self._at_ns)
        columns = {
            "at_ns": self._at_ns, "level_j": self._level_j, "stopped": self._stopped, "since_ns": self._since_ns
        }  # fmt: skip
        return {"device": devices.tolist(), **{name: column[devices].tolist() for name, column in columns.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where `state` was taken; the figures are those of this object."""
        devices = np.array(state["device"], np.int64)
        self._at_ns[devices], self._level_j[devices] = state["at_ns"], state["level_j"]
        self._stopped[devices], self._since_ns[devices] = state["stopped"], state["since_ns"]

    def _now(self, device: int) -> Charge:
        return Charge(int(self._at_ns[device]), float(self._level_j[device]), bool(self._stopped[device]))

    def _settle(self, device: int, t_ns: int, extra_w: float) -> Charge:
        """Let a device that draws so much stand at t from now on."""
        if t_ns < self._at_ns[device]:
            raise ValueError(f"device {device} at {t_ns} ns: its last debit ends at {self._at_ns[device]} ns")
        charge, self._since_ns[device], over = self._followed(device, t_ns, extra_w)
        self.stops += over
        return self._enter(device, charge)

    def _enter(self, device: int, charge: Charge) -> Charge:
        self._at_ns[device], self._level_j[device], self._stopped[device] = charge
        return charge

    def _followed(self, device: int, t_ns: int, extra_w: float) -> tuple[Charge, int, list[Stop]]:
        """The battery at t; since when it is stopped, if it is; the stops that were over since the last debit."""
        charge, since_ns, over = self._now(device), int(self._since_ns[device]), list[Stop]()
        for after in self._walk(device, charge, t_ns, extra_w):
            if charge.stopped and not after.stopped:
                over.append((device, since_ns, after.at_ns))
            elif after.stopped and not charge.stopped:
                since_ns = after.at_ns
            charge = after
        return charge, since_ns, over

    def _drop(self, device: int, charge: Charge, joules: float) -> Charge:
        level_j = max(charge.level_j - joules, 0.0)
        return charge._replace(level_j=level_j, stopped=charge.stopped or level_j <= self._figures.stop_j[device])

    def _after(self, device: int, charge: Charge, t_ns: int, extra_w: float) -> Charge:
        last = charge
        for last in self._walk(device, charge, t_ns, extra_w):  # noqa: B007  the last one is wanted
            pass
        return last

    def _walk(self, device: int, charge: Charge, until_ns: int, extra_w: float) -> Iterator[Charge]:
        """The ends of the straight pieces up to `until`: where the rate changes, a threshold is met, or it is over."""
        figures, charging = self._figures, self._charging
        charge_w, drain_w = float(figures.charge_w[device]), float(figures.drain_w[device]) + extra_w
        while charge.at_ns < until_ns:
            rate_w = charge_w * charging.is_on(device, charge.at_ns) - drain_w
            change_ns = charging.next_change_ns(device, charge.at_ns)
            end_ns = until_ns if change_ns is None else min(change_ns, until_ns)
            charge = self._piece(device, charge, end_ns, rate_w)
            yield charge

    def _piece(self, device: int, charge: Charge, end_ns: int, rate_w: float) -> Charge:
        """As far as the charge is a straight line at this rate, at most to `end`."""
        goal_j, turns = self._goal(device, charge.stopped, rate_w)
        if rate_w == 0 or (charge.level_j == goal_j and not turns):
            return charge._replace(at_ns=end_ns)  # nothing flows, no more fits in, or nothing is left
        goal_ns = charge.at_ns + max(ceil(1e9 * (goal_j - charge.level_j) / rate_w), 0)
        if goal_ns <= end_ns:
            return Charge(goal_ns, goal_j, charge.stopped != turns)
        return Charge(end_ns, charge.level_j + rate_w * (end_ns - charge.at_ns) / 1e9, charge.stopped)

    def _goal(self, device: int, stopped: bool, rate_w: float) -> tuple[float, bool]:
        """The level to which the charge moves at this rate, and whether reaching it stops or starts the device."""
        figures = self._figures
        if rate_w > 0:
            return float((figures.resume_j if stopped else figures.capacity_j)[device]), stopped
        return (0.0, False) if stopped else (float(figures.stop_j[device]), True)
