"""Outages: groups of devices that go off line together, as when a region or a gateway fails."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.devices.trajectories import NEVER, BoolArray, Flips, Instant, Trajectories, check_time, ordered
from edgesim.streams import first, fold, fold_one, key, uniforms

_CHUNK = 64  # outages
_NEAR = 4  # outages that are looked at one by one, before chunks are


@dataclass(frozen=True, kw_only=True)
class Outages:
    """Off line during outages that strike a group of devices at once; on line between them.

    From the end of one outage to the beginning of the next is an exponential time, so they come as a Poisson
    process while there is none; stationary from the start.

    Attributes:
        every_s: mean time from the end of an outage to the next.
        lasts_s: mean length of one, exponential.
        share: which part of the group an outage strikes, drawn anew each time.
        groups: how many groups the devices fall into, at random; each has outages of its own.
        name: processes of one name and seed have the same outages.

    Raises:
        ValueError: a figure out of its range.
    """

    every_s: float
    lasts_s: float
    share: float = 1.0
    groups: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("every_s", "lasts_s"):
            if not 1e-3 <= getattr(self, name) <= 3.2e9:
                raise ValueError(f"{name} {getattr(self, name)!r} s: must lie between 1 ms and 100 years")
        if not 0 < self.share <= 1:
            raise ValueError(f"share {self.share!r}: must lie in (0, 1]")
        if not 1 <= self.groups <= 10_000:
            raise ValueError(f"groups {self.groups!r}: must lie in [1, 10000]")

    def start(self, seed: int) -> "OutageTrajectories":
        """The trajectories under this seed."""
        return OutageTrajectories(self, seed)


class _Timeline:
    """One group's outages one after the other, made as far as a query reaches: it is shared by all its devices."""

    def __init__(self, law: Outages, base: int) -> None:
        self._means_us = np.array([1e6 * law.every_s, 1e6 * law.lasts_s])
        self._base, self._chunks, self._reached_us = base, 0, 0
        self.starts_us, self.ends_us = list[int](), list[int]()
        self._arrays = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def arrays(self) -> tuple[IntArray, IntArray]:
        """Beginnings and ends of all outages made so far."""
        if len(self._arrays[0]) != len(self.starts_us):
            self._arrays = np.array(self.starts_us), np.array(self.ends_us)
        return self._arrays

    def beyond(self, t_us: int) -> None:
        """Make outages until one begins after t."""
        while not self.starts_us or self.starts_us[-1] <= t_us:
            self._extend()

    def _extend(self) -> None:
        draws = uniforms(fold(self._base, np.array([self._chunks])), 2 * _CHUNK + 1)[0]
        unit: FloatArray = -np.log(1.0 - draws[1:].reshape(_CHUNK, 2))
        periods_us = np.maximum(1, np.rint(unit * self._means_us)).astype(np.int64)
        if not self._chunks and draws[0] < self._means_us[1] / self._means_us.sum():
            periods_us[0, 0] = 0  # an outage is under way when time begins
        bounds_us = (self._reached_us + np.cumsum(periods_us)).reshape(_CHUNK, 2)
        self.starts_us += bounds_us[:, 0].tolist()
        self.ends_us += bounds_us[:, 1].tolist()
        self._reached_us, self._chunks = self.ends_us[-1], self._chunks + 1


class OutageTrajectories(Trajectories):
    """What `Outages` promises, under one seed: 16 bytes for each outage of a group, nothing for a device."""

    def __init__(self, law: Outages, seed: int) -> None:
        base = key(seed, f"outages/{law.name}")
        self._law, self._groups, self._struck = law, key(base, "group"), key(base, "struck")
        self._lines = [_Timeline(law, key(base, "timeline", group)) for group in range(law.groups)]
        self.pace_ns = round(1e9 * min(law.every_s, law.lasts_s))

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether no outage holds the device at t."""
        line, t_us = self._line(device, t_ns), t_ns // 1000
        place = bisect_right(line.starts_us, t_us) - 1
        return place < 0 or line.ends_us[place] <= t_us or not self._strikes_one(device, place)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The beginning of the next outage that strikes the device, or the end of the one that holds it."""
        line, t_us = self._line(device, t_ns), t_ns // 1000
        place = bisect_right(line.starts_us, t_us) - 1
        if place >= 0 and t_us < line.ends_us[place] and self._strikes_one(device, place):
            return _ns(line.ends_us[place])
        for near in range(place + 1, min(place + 1 + _NEAR, len(line.starts_us))):
            if self._strikes_one(device, near):
                return _ns(line.starts_us[near])
            place = near
        while True:
            ahead = np.arange(place + 1, min(place + 1 + _CHUNK, len(line.starts_us)))
            struck = self._strikes(np.full(len(ahead), device), ahead)
            if struck.any():
                return _ns(line.starts_us[int(ahead[struck.argmax()])])
            place = len(line.starts_us) - 1 if not ahead.size else int(ahead[-1])
            if line.starts_us[place] > NEVER // 1000:
                return None
            line.beyond(line.starts_us[place])

    def next_change_many(self, devices: IntArray, t_ns: Instant) -> IntArray:
        """`next_change_ns` of each of `devices` [n] → [n]; NEVER where there is none."""
        t_us = np.broadcast_to(np.asarray(t_ns) // 1000, devices.shape)
        found_us, held = np.full(len(devices), NEVER), ~self.is_on_many(devices, t_ns)
        for line, rows in self._parts(devices, int(t_us.max(initial=0))):
            starts_us, ends_us = line.arrays()
            place = np.searchsorted(starts_us, t_us[rows], side="right")
            found_us[rows] = np.where(held[rows], ends_us[place - 1], NEVER)
            rows, place = rows[~held[rows]], place[~held[rows]]
            while rows.size and starts_us[place.min()] <= NEVER // 1000:
                struck = self._strikes(devices[rows], place)
                found_us[rows[struck]] = starts_us[place[struck]]
                rows, place = rows[~struck], place[~struck] + 1
                line.beyond(int(starts_us[place.max(initial=1) - 1]))
                starts_us, ends_us = line.arrays()
        return np.where(found_us <= NEVER // 1000, 1000 * np.minimum(found_us, NEVER // 1000), NEVER)

    def is_on_many(self, devices: IntArray, t_ns: Instant) -> BoolArray:
        """`is_on` of each of `devices` [n] → [n]."""
        t_us = np.broadcast_to(np.asarray(t_ns) // 1000, devices.shape)
        on = np.ones(len(devices), np.bool_)
        for line, rows in self._parts(devices, int(t_us.max(initial=0))):
            starts_us, ends_us = line.arrays()
            place = np.searchsorted(starts_us, t_us[rows], side="right") - 1
            rows, place = rows[place >= 0], place[place >= 0]
            held = (t_us[rows] < ends_us[place]) & self._strikes(devices[rows], place)
            on[rows[held]] = False
        return on

    def flips(self, devices: IntArray, since_ns: int, until_ns: int) -> Flips:
        """All flips of `devices` in (since, until]: beginnings and ends of the outages that strike them."""
        check_time(since_ns)
        row, at_us = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        since_us, until_us = since_ns // 1000, until_ns // 1000
        for line, rows in self._parts(devices, until_us):
            first = bisect_right(line.ends_us, since_us)
            place = np.arange(first, bisect_right(line.starts_us, until_us))
            strikes = self._strikes(np.repeat(devices[rows], len(place)), np.tile(place, len(rows)))
            which, outage = np.nonzero(strikes.reshape(len(rows), len(place)))
            for bounds_us in line.arrays():
                found_us = bounds_us[place[outage]]
                inside = (found_us > since_us) & (found_us <= until_us)
                row.append(rows[which[inside]])
                at_us.append(found_us[inside])
        return ordered(self.is_on_many(devices, since_ns), np.concatenate(row), 1000 * np.concatenate(at_us))

    def _strikes(self, devices: IntArray, places: IntArray) -> BoolArray:
        """Whether the outage of that number in its group's timeline strikes each of `devices` [n]."""
        if self._law.share == 1:
            return np.ones(len(devices), np.bool_)
        struck: BoolArray = uniforms(fold(fold(self._struck, devices), places), 1)[:, 0] < self._law.share
        return struck

    def _strikes_one(self, device: int, place: int) -> bool:
        return self._law.share == 1 or first(fold_one(fold_one(self._struck, device), place)) < self._law.share

    def _line(self, device: int, t_ns: int) -> _Timeline:
        check_time(t_ns)
        groups = self._law.groups
        line = self._lines[int(first(fold_one(self._groups, device)) * groups) if groups > 1 else 0]
        line.beyond(t_ns // 1000)
        return line

    def _group(self, devices: IntArray) -> IntArray:
        return (uniforms(fold(self._groups, devices), 1)[:, 0] * self._law.groups).astype(np.int64)

    def _parts(self, devices: IntArray, t_us: int) -> Iterator[tuple[_Timeline, IntArray]]:
        """The timeline of each group, made beyond t, and which places of `devices` are in the group."""
        group = self._group(devices)
        order = np.argsort(group, kind="stable")
        found, first = np.unique(group[order], return_index=True)
        for index, rows in zip(found.tolist(), np.split(order, first)[1:], strict=True):
            self._lines[index].beyond(t_us)
            yield self._lines[index], rows


def _ns(t_us: int) -> int | None:
    return 1000 * t_us if t_us <= NEVER // 1000 else None
