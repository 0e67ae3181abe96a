"""Traces: devices that come and go as recorded users did, user by user, over and over or once."""

from dataclasses import dataclass

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.devices.cells import Cells
from edgesim.devices.trajectories import BoolArray
from edgesim.devices.windows import intervals
from edgesim.streams import fold, key, uniforms


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """When each recorded user was on line: intervals [start, end) in µs, ascending, disjoint, within the period.

    Attributes: users, their names; first [user + 1], where each one's intervals begin; starts_us, ends_us
    [interval]; period_us [user], how long each was recorded.
    """

    users: tuple[str, ...]
    first: IntArray
    starts_us: IntArray
    ends_us: IntArray
    period_us: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Each device follows one recorded user, drawn by the seed; many devices may follow one.

    Attributes: recording; loop, whether what was recorded begins anew when it is over (else: off for ever).
    """

    recording: Recording
    loop: bool = True

    def start(self, seed: int) -> "TraceTrajectories":
        """The trajectories under this seed."""
        return TraceTrajectories(self, seed)


class TraceTrajectories(Cells):
    """What `Trace` promises, under one seed. A cell is one recorded period; nothing is kept for a device."""

    patience = 2

    def __init__(self, law: Trace, seed: int) -> None:
        super().__init__()
        self._recording, self._loop = law.recording, law.loop
        self._base = key(seed, "availability")
        counts = np.diff(law.recording.first)
        self.columns = 2 * max(1, int(counts.max()))
        self.pace_ns = max(1, 1000 * int(law.recording.period_us.min()) // self.columns)

    def user(self, devices: IntArray) -> IntArray:
        """Which user each of `devices` follows [n]."""
        return (uniforms(fold(self._base, devices), 1)[:, 0] * len(self._recording.users)).astype(np.int64)

    def grid(self, devices: IntArray) -> tuple[IntArray, IntArray]:
        """Cells of the period of the device's user."""
        return np.zeros(len(devices), np.int64), self._recording.period_us[self.user(devices)]

    def cell(self, devices: IntArray, cells: IntArray) -> tuple[BoolArray, IntArray]:
        """The user's intervals; in cells after the first, none unless the trace loops."""
        recording, user = self._recording, self.user(devices)
        first = recording.first[user]
        count = recording.first[user + 1] - first
        if not self._loop:
            count = np.where(cells == 0, count, 0)
        places = first[:, None] + np.arange(max(1, int(count.max(initial=0))))
        real = places < (first + count)[:, None]
        # an empty interval at the period's end stands for none
        end_us = recording.period_us[user][:, None]
        places = np.minimum(places, len(recording.starts_us) - 1)
        return intervals(
            *(np.where(real, bounds[places], end_us) for bounds in (recording.starts_us, recording.ends_us))
        )
