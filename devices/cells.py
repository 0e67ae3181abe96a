"""Cells: time cut into equal lengths, each made on its own, so that a query far from the last costs no more."""

from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.devices.segments import LastSegments, blocks, compact, segments
from edgesim.devices.trajectories import NEVER, BoolArray, Flips, Instant, Trajectories, check_time

KEPT = 1 << 20  # flips in a cache, over all devices: 8 MiB
_ENTRY = 24  # what an entry takes beside its flips, in flips
_AHEAD = 64  # cells made at once for who goes through time in order
_END_US = NEVER // 1000


Grid: TypeAlias = tuple[IntArray, IntArray]
"""origin and length of the cells of some devices, in µs"""


class _Stretch(NamedTuple):
    """One device's flips in [from, until), in µs."""

    from_us: int
    until_us: int
    starts_on: bool
    flips_us: "array[int]"
    cells: int


class Cells(Trajectories):
    """Trajectories made cell by cell; flips fall on whole µs.

    A kind says where the cells of a device lie (`grid`) and what happens in one (`cell`). A bounded cache holds
    the two cells around the last query of the devices asked about one at a time.

    Attributes: columns, about how many flips a cell has; patience, after so many cells without a flip there
    is none for ever (None: there always is one).
    """

    columns: int
    patience: int | None = None

    def __init__(self, kept: int = KEPT) -> None:
        self._kept, self._held = kept, 0
        self._cache: OrderedDict[int, _Stretch] = OrderedDict()
        self._segments = LastSegments()

    @abstractmethod
    def grid(self, devices: IntArray) -> Grid:
        """Where cell 0 of each of `devices` [n] begins and how long its cells are, in µs [n]."""

    @abstractmethod
    def cell(self, devices: IntArray, cells: IntArray) -> tuple[BoolArray, IntArray]:
        """Of one cell of each of `devices` [n]: the state before, flips in µs since the cell's start [n, any].

        Flips ascend within 0 … the cell's length; two at one instant undo each other.
        """

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device is on line at t."""
        t_us = t_ns // 1000
        stretch = self._around(device, t_us)
        return stretch.starts_on == (bisect_right(stretch.flips_us, t_us) % 2 == 0)

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t; None if there is none."""
        # flips fall on whole µs, so the first one after t is the first one after t rounded down to µs
        t_us = t_ns // 1000
        while True:
            stretch = self._around(device, t_us)
            place = bisect_right(stretch.flips_us, t_us)
            if place < len(stretch.flips_us):
                change_us = stretch.flips_us[place]
                return 1000 * change_us if change_us <= _END_US else None
            if stretch.until_us > _END_US:
                return None
            was_on, t_us = stretch.starts_on == (len(stretch.flips_us) % 2 == 0), stretch.until_us
            if self.patience is not None or self.is_on(device, 1000 * t_us) != was_on:
                change_ns = int(self.next_change_many(np.array([device]), 1000 * (t_us - 1))[0])
                return None if change_ns == NEVER else change_ns

    def is_on_many(self, devices: IntArray, t_ns: Instant) -> BoolArray:
        """`is_on` of each of `devices` [n] → [n]."""
        check_time(t_ns)
        t_us = np.broadcast_to(np.asarray(t_ns) // 1000, devices.shape)
        if not self._segments.reach(devices):
            return self._states(devices, t_us)
        found, unknown = self._segments.on[devices], np.flatnonzero(~self._segments.hold(devices, t_us))
        if unknown.size:
            made = self._at(devices[unknown], t_us[unknown])
            self._segments.note(devices[unknown], *made)
            found[unknown] = made[2]
        return found

    def next_change_many(self, devices: IntArray, t_ns: Instant) -> IntArray:
        """`next_change_ns` of each of `devices` [n] → [n]; NEVER where there is none."""
        check_time(t_ns)
        t_us = np.broadcast_to(np.asarray(t_ns) // 1000, devices.shape)
        known = self._segments.reach(devices)
        found_us = np.full(len(devices), NEVER)
        todo = np.arange(len(devices))
        if known:
            told = self._segments.hold(devices, t_us) & self._segments.flips[devices]
            found_us[told], todo = self._segments.until[devices[told]], np.flatnonzero(~told)
        for part in blocks(len(todo), self.columns):
            rows = todo[part]
            found_us[rows] = self._next(devices[rows], t_us[rows])
            if known:
                self._segments.end(devices[rows], t_us[rows], found_us[rows])
        return np.where(found_us <= _END_US, 1000 * np.minimum(found_us, _END_US), NEVER)

    def _states(self, devices: IntArray, t_us: IntArray) -> BoolArray:
        """The state of each of `devices` at t [n]: of `_at`, for who needs no more, in less time."""
        found = np.zeros(len(devices), np.bool_)
        for part in blocks(len(devices), self.columns):
            cells, since_us, _ = self._place(devices[part], t_us[part])
            before_on, flips_us = self.cell(devices[part], cells)
            found[part] = before_on ^ ((flips_us <= (t_us[part] - since_us)[:, None]).sum(axis=1) % 2 == 1)
        return found

    def _at(self, devices: IntArray, t_us: IntArray) -> tuple[IntArray, IntArray, BoolArray, BoolArray]:
        """Of each of `devices` [n] a stretch around t in one state: from, until, whether on, and whether until is a
        flip."""
        parts = []
        for part in blocks(len(devices), self.columns):
            cells, since_us, length_us = self._place(devices[part], t_us[part])
            before_on, flips_us = self.cell(devices[part], cells)
            row, past = np.arange(len(cells)), (flips_us <= (t_us[part] - since_us)[:, None]).sum(axis=1)
            bounds_us = np.concatenate(
                [np.zeros_like(length_us)[:, None], flips_us, length_us[:, None], length_us[:, None]], axis=1
            )
            until_us, next_us = bounds_us[row, past + 1], bounds_us[row, past + 2]
            flips = (until_us < length_us) & (until_us < next_us)  # two at one instant undo each other
            parts.append((since_us + bounds_us[row, past], since_us + until_us, before_on ^ (past % 2 == 1), flips))
        none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        from_us, until_us, on, flips = (np.concatenate(column) for column in zip(none, *parts, strict=True))
        return from_us, until_us, on, flips

    def _next(self, devices: IntArray, t_us: IntArray) -> IntArray:
        """The first flip after t, in µs; NEVER where there is none."""
        change_us, is_on = np.full(len(devices), NEVER), self.is_on_many(devices, 1000 * t_us)
        todo, at_us, rounds = np.arange(len(devices)), t_us, 0
        while todo.size and (self.patience is None or rounds <= self.patience):
            cells, since_us, length_us = self._place(devices[todo], at_us)
            starts_us, ends_us, on = segments(*self.cell(devices[todo], cells), length_us)
            # the segment around t has the old state, so any with the other one begins after t
            other = (on != is_on[todo, None]) & (ends_us > starts_us) & (starts_us >= (at_us - since_us)[:, None])
            there, first = other.any(axis=1), other.argmax(axis=1)
            found_us = since_us + starts_us[np.arange(len(todo)), first]
            change_us[todo[there]] = found_us[there]
            at_us, there = since_us + length_us, there | (since_us + length_us > _END_US)
            todo, at_us, rounds = todo[~there], at_us[~there], rounds + 1
        return change_us

    def on_ns_many(self, devices: IntArray, t_ns: int, since_ns: int = 0) -> IntArray:
        """`on_ns` of each of `devices` [n] → [n]; keeps nothing."""
        check_time(since_ns)
        on_us, (since_us, t_us) = np.zeros(len(devices), np.int64), (since_ns // 1000, t_ns // 1000)
        for row, starts_us, ends_us, on in self._stretches(devices, since_us, t_us):
            np.add.at(on_us, row, (on * (ends_us - starts_us)).sum(axis=1))
        # what is left over of a µs at either end
        late_ns = self.is_on_many(devices, t_ns) * (t_ns - 1000 * t_us)
        early_ns = self.is_on_many(devices, since_ns) * (since_ns - 1000 * since_us)
        total_ns: IntArray = 1000 * on_us + late_ns - early_ns
        return total_ns

    def flips(self, devices: IntArray, since_ns: int, until_ns: int) -> Flips:
        """All flips of `devices` in (since, until]."""
        check_time(since_ns)
        starts_on, row, at_us = self._flips(devices, since_ns // 1000, until_ns // 1000 + 1)
        return Flips(starts_on=starts_on, row=row, at_ns=1000 * at_us)

    def _flips(
        self, devices: IntArray, from_us: int, until_us: int, grid: Grid | None = None
    ) -> tuple[BoolArray, IntArray, IntArray]:
        """The states at `from` [device], and row and time in µs of the flips in (from, until)."""
        none, found = np.zeros(0, np.int64), self._stretches(devices, from_us, until_us, grid)
        parts = [(none, none, none), *(compact(*stretches) for stretches in found)]
        row, at_us, on = (np.concatenate(column) for column in zip(*parts, strict=True))
        opens = np.diff(row, prepend=-1) > 0
        flip = ~opens & (np.diff(on, prepend=0) != 0)
        return on[opens] == 1, row[flip], at_us[flip]

    def _stretches(
        self, devices: IntArray, from_us: int, until_us: int, grid: Grid | None = None
    ) -> Iterator[tuple[IntArray, IntArray, IntArray, BoolArray]]:
        """Segments of all cells that reach into [from, until), clipped to it: row [n], start, end, on [n, segment]."""
        origin_us, length_us = grid or self.grid(devices)
        first = (from_us - origin_us) // length_us
        counts = (until_us - 1 - origin_us) // length_us - first + 1
        counts[counts < 1] = 1
        ends = np.cumsum(counts)
        for part in blocks(int(ends[-1]) if len(ends) else 0, self.columns):
            pair = np.arange(part.start, min(part.stop, int(ends[-1])))
            row = np.searchsorted(ends, pair, side="right")
            cells = first[row] + pair - (ends - counts)[row]
            starts_us, ends_us, on = segments(*self.cell(devices[row], cells), length_us[row])
            since_us = (origin_us[row] + cells * length_us[row])[:, None]
            yield (
                row,
                np.clip(starts_us + since_us, from_us, until_us),
                np.clip(ends_us + since_us, from_us, until_us),
                on,
            )

    def _place(self, devices: IntArray, t_us: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """The cell around t, its beginning and its length, in µs."""
        origin_us, length_us = self.grid(devices)
        cells = (t_us - origin_us) // length_us
        return cells, origin_us + cells * length_us, length_us

    def _around(self, device: int, t_us: int) -> _Stretch:
        stretch = self._cache.get(device)
        if stretch is not None and stretch.from_us <= t_us < stretch.until_us:
            self._cache.move_to_end(device)
            return stretch
        check_time(t_us)
        if stretch is None:
            return self._keep(device, self._make(device, t_us, 2))
        self._held -= len(self._cache.pop(device).flips_us) + _ENTRY
        if stretch.until_us != t_us:
            return self._keep(device, self._make(device, t_us, 2))
        # who asks on from where the last stretch ended goes through time in order, and may look back a little
        more = self._make(device, t_us, min(2 * stretch.cells, _AHEAD))
        return self._keep(device, _joined(stretch, more) if stretch.cells < _AHEAD else more)

    def _make(self, device: int, t_us: int, cells: int) -> _Stretch:
        devices = np.array([device])
        grid = self.grid(devices)
        origin_us, length_us = int(grid[0][0]), int(grid[1][0])
        from_us = t_us - (t_us - origin_us) % length_us
        until_us = from_us + cells * length_us
        starts_on, _, at_us = self._flips(devices, from_us, until_us, grid)
        flips_us = array("q")
        flips_us.frombytes(at_us.tobytes())
        return _Stretch(from_us, until_us, bool(starts_on[0]), flips_us, cells)

    def _keep(self, device: int, stretch: _Stretch) -> _Stretch:
        self._cache[device] = stretch
        self._held += len(stretch.flips_us) + _ENTRY
        while self._held > self._kept and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._held -= len(dropped.flips_us) + _ENTRY
        return stretch


def _joined(one: _Stretch, more: _Stretch) -> _Stretch:
    """Two stretches, one after the other, as one."""
    ended_on = one.starts_on == (len(one.flips_us) % 2 == 0)
    between = array("q", [one.until_us] if ended_on != more.starts_on else [])
    return _Stretch(one.from_us, more.until_us, one.starts_on, one.flips_us + between + more.flips_us, more.cells)
