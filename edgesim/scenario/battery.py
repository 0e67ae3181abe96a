"""Batteries of a scenario's devices: what they hold, and when they charge."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from edgesim.devices.arrays import IndexArray, IntArray
from edgesim.devices.availability import FleetAvailability
from edgesim.devices.battery import Batteries, BatteryFigures
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet
from edgesim.engine.power import Charging, Power
from edgesim.explain import wrong
from edgesim.scenario.availability import Always, Availability
from edgesim.scenario.section import Section
from edgesim.scenario.signals import LIST
from edgesim.streams import fold, key, uniforms
from edgesim.units import Joules, Share, Watts

Range: TypeAlias = Annotated[tuple[Share, ...], LIST]


class Battery(Section):
    """The battery of each device of this entry: jobs and idling drain it; an empty one keeps its device from work."""

    capacity: Joules | None = Field(default=None, gt=0)
    """what a full one holds, e.g. 17 Wh; without it, as the device's profile says"""
    start: Share | Range = 1.0
    """how full it is when the run begins; of two shares, each device draws one between them"""
    stop_below: Share = Field(default=0.2, lt=1)
    """falling to this charge the device stops, in the middle of a job, too (`failures` says what becomes of that)"""
    resume_above: Share = Field(default=0.3, gt=0)
    """rising to this charge it may work again"""
    charger: Watts = 0.0
    """power into it while it charges, e.g. 10 W"""
    charging: Availability = Always()
    """when it is on its charger, by the same laws as availability; it is the signal `charging` of availability rules
    that say the same of it"""
    drain: Watts | None = None
    """what the device draws from it without a job; without it, the idle power of its profile"""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.stop_below >= self.resume_above:
            raise wrong("must be above stop_below, or the device would stop and start at once", "resume_above")
        bounds = self.bounds
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise wrong("write one share, or two, the lower one first, e.g. [30 %, 100 %]", "start")
        if self.charging != Always() and not self.charger:
            raise wrong("counts only with a charger; write its power, too, e.g. charger: 10 W", "charging")
        return self

    @property
    def bounds(self) -> tuple[float, ...]:
        """Between which shares a device begins."""
        return self.start if isinstance(self.start, tuple) else (self.start, self.start)


@dataclass(frozen=True)
class Group:
    """The devices of one entry. Attributes: battery, None where they have none."""

    device: Device
    battery: Battery | None


def make_power(
    groups: Sequence[Group], group: IndexArray, fleet: Fleet, folder: Path, seed: int, participants: IntArray
) -> Power:
    """The batteries of a fleet, `group` [device] being the entry of each; one at least has one. Only those
    of `participants` [n] count.

    Raises:
        ValueError: a battery without a capacity.
    """
    capacity_j, low, high, stop, resume, charger_w, drain_w = np.array([_figures(entry) for entry in groups]).T
    drain = np.where(np.isnan(drain_w[group]), fleet.idle_w, drain_w[group])
    has = np.zeros(len(fleet), np.bool_)
    has[participants] = np.array([entry.battery is not None for entry in groups])[group[participants]]
    draws = uniforms(fold(key(seed, "battery"), np.arange(len(fleet))), 1)[:, 0]
    figures = BatteryFigures(
        capacity_j=capacity_j[group],
        start_j=(low[group] + (high - low)[group] * draws) * capacity_j[group],
        charge_w=charger_w[group],
        drain_w=np.where(has, drain, 0.0),
        stop_j=stop[group] * capacity_j[group],
        resume_j=resume[group] * capacity_j[group],
    )
    processes = [(Always() if entry.battery is None else entry.battery.charging).process(folder) for entry in groups]
    charging = FleetAvailability(processes, group, key(seed, "signal/charging"))
    return Power(fleet, Batteries(figures, Charging(charging)), has)


def _figures(entry: Group) -> tuple[float, ...]:
    battery = entry.battery
    if battery is None:
        return (1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0)
    capacity_j = battery.capacity or entry.device.battery_j
    if capacity_j is None:
        raise ValueError(f"battery of {entry.device.name}: no capacity")
    drain_w = float("nan") if battery.drain is None else battery.drain
    return (capacity_j, *battery.bounds, battery.stop_below, battery.resume_above, battery.charger, drain_w)
