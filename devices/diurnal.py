"""Diurnal: on line once a day around a habitual hour, as phones that charge at night."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import IntArray
from edgesim.devices.cells import Cells
from edgesim.devices.segments import normals
from edgesim.devices.trajectories import BoolArray
from edgesim.devices.windows import intervals
from edgesim.streams import fold, key, uniforms

HOUR_S = 3600.0
LONGEST_S = 23 * HOUR_S
"""A session; so each device goes off line some time."""
_DAY_US = 86_400_000_000
_ZONE, _HABIT, _LENGTH = -1, -2, -3  # what the draws of a device that are not those of a day are for
_SHIFT, _CHANCE = 0, 1  # what the draws of one day are for


@dataclass(frozen=True, kw_only=True)
class Diurnal:
    """One session a day, centred on a peak hour of local time. Simulated time begins on a Monday at 00:00 UTC.

    A session never reaches beyond 12 h from the device's weekday peak: what would is cut off.

    Attributes:
        peak_s, weekend_peak_s: the middle of the session, as seconds after local midnight, Monday to Friday
            and on Saturday and Sunday.
        hours_s, weekend_hours_s: how long it lasts.
        zones_s: local time less UTC, one for each of equally likely time zones.
        habit_s: sigma of a device's own shift of the peak, the same each day.
        daily_s: sigma of a day's own shift of it.
        variation: sigma of the factor exp(N(0, sigma)) of a device's session length, which is 23 h at most.
        chance: probability that the device comes on line on a day at all.

    Raises:
        ValueError: a figure out of its range, or weekend sessions that do not fit around the weekday peak.
    """

    peak_s: float
    hours_s: float
    weekend_peak_s: float
    weekend_hours_s: float
    zones_s: tuple[float, ...] = (0.0,)
    habit_s: float = 0.0
    daily_s: float = 0.0
    variation: float = 0.0
    chance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("peak_s", "weekend_peak_s"):
            _within(name, getattr(self, name), 0, 24 * HOUR_S)
        for name in ("hours_s", "weekend_hours_s"):
            _within(name, getattr(self, name), 0, LONGEST_S)
        for name in ("habit_s", "daily_s"):
            _within(name, getattr(self, name), 0, 6 * HOUR_S)
        _within("variation", self.variation, 0, 3)
        if not 0 < self.chance <= 1:
            raise ValueError(f"chance {self.chance!r}: must lie in (0, 1]")
        if not self.zones_s or not all(abs(zone) <= 14 * HOUR_S for zone in self.zones_s):
            raise ValueError(f"zones {self.zones_s!r}: there must be one, and each within 14 h of UTC")
        if not self.hours_s and not self.weekend_hours_s:
            raise ValueError("hours 0 s all week: such a device is never on line")
        if abs(self.weekend_shift_s) + self.weekend_hours_s / 2 > 12 * HOUR_S:
            raise ValueError(
                f"weekend sessions of {self.weekend_hours_s / HOUR_S:g} h whose peak is "
                f"{abs(self.weekend_shift_s) / HOUR_S:g} h from the weekday's: "
                "the shift and half the length may be 12 h together"
            )

    @property
    def weekend_shift_s(self) -> float:
        """Weekend peak less weekday peak, in [-12 h, 12 h)."""
        return (self.weekend_peak_s - self.peak_s + 12 * HOUR_S) % (24 * HOUR_S) - 12 * HOUR_S

    def start(self, seed: int) -> "DiurnalTrajectories":
        """The trajectories under this seed."""
        return DiurnalTrajectories(self, seed)


class DiurnalTrajectories(Cells):
    """What `Diurnal` promises, under one seed. A cell is a day of the device, cut 12 h from its peak."""

    columns = 2

    def __init__(self, law: Diurnal, seed: int) -> None:
        super().__init__()
        self._law, self._base = law, key(seed, "availability")
        self._zones_s = np.array(law.zones_s)

    def grid(self, devices: IntArray) -> tuple[IntArray, IntArray]:
        """Days that begin 12 h before the device's peak."""
        keys = fold(self._base, devices)
        zone = (uniforms(fold(keys, _ZONE), 1)[:, 0] * len(self._zones_s)).astype(np.int64)
        origin_s = self._law.peak_s - self._zones_s[zone] - 12 * HOUR_S
        if self._law.habit_s:
            origin_s = origin_s + self._law.habit_s * normals(fold(keys, _HABIT))
        return _us(origin_s), np.full(len(devices), _DAY_US)

    def cell(self, devices: IntArray, cells: IntArray) -> tuple[BoolArray, IntArray]:
        """The session of one day."""
        law, keys = self._law, fold(self._base, devices)
        days, weekend = fold(keys, cells), cells % 7 >= 5
        half_s = np.where(weekend, law.weekend_hours_s / 2, law.hours_s / 2)
        middle_s = 12 * HOUR_S + weekend * law.weekend_shift_s
        if law.variation:
            half_s = np.minimum(half_s * np.exp(law.variation * normals(fold(keys, _LENGTH))), LONGEST_S / 2)
        if law.daily_s:
            middle_s = middle_s + law.daily_s * normals(fold(days, _SHIFT))
        if law.chance < 1:
            half_s = half_s * (uniforms(fold(days, _CHANCE), 1)[:, 0] < law.chance)
        bounds_us = np.clip(np.stack([_us(middle_s - half_s), _us(middle_s + half_s)], axis=1), 0, _DAY_US)
        return intervals(bounds_us[:, :1], bounds_us[:, 1:])


def _us(seconds: NDArray[np.floating]) -> IntArray:
    whole: IntArray = np.rint(1e6 * seconds).astype(np.int64)
    return whole


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} {value!r}: must lie in [{low:g}, {high:g}]")
