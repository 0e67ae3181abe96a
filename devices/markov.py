"""Trajectories of alternating exponential periods, made chunk by chunk as far as a query reaches."""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray, IntArray
from edgesim.streams import fold, key, uniforms

_FIRST_CHUNK = 16  # periods; later chunks double, so a trajectory costs a constant per period
_LARGEST_CHUNK = 1024
_KEPT_FLIPS = 1 << 20  # in the cache, over all devices: 16 MiB
_ROWS = 1024  # devices walked at once by on_ns_many


@dataclass(slots=True)
class _Trajectory:
    """Flips of one device in whole µs, and the time on line before each."""

    starts_on: bool
    chunks: int = 0
    flips_us: "array[int]" = field(default_factory=lambda: array("q"))
    on_before_us: "array[int]" = field(default_factory=lambda: array("q"))

    def flips_until(self, t_us: int) -> int:
        return bisect_right(self.flips_us, t_us)

    def is_on_after(self, flips: int) -> bool:
        return self.starts_on == (flips % 2 == 0)


class MarkovTrajectories:
    """What `Markov` promises, under one seed. A bounded cache holds the devices last asked about."""

    def __init__(self, *, mean_on_s: float, mean_off_s: float, seed: int, kept_flips: int = _KEPT_FLIPS) -> None:
        self._mean_us = (1e6 * mean_on_s, 1e6 * mean_off_s)
        self._on_share = mean_on_s / (mean_on_s + mean_off_s)
        self._base = key(seed, "availability")
        self._kept_flips = kept_flips
        self._flips = 0
        self._cache: OrderedDict[int, _Trajectory] = OrderedDict()

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the device is on line at t."""
        t_us = t_ns // 1000
        trajectory = self._reaching(device, t_us)
        return trajectory.is_on_after(trajectory.flips_until(t_us))

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t."""
        # flips fall on whole µs, so the first one after t is the first one after t rounded down to µs
        t_us = t_ns // 1000
        trajectory = self._reaching(device, t_us)
        return 1000 * trajectory.flips_us[trajectory.flips_until(t_us)]

    def on_ns(self, device: int, t_ns: int) -> int:
        """Time on line in [0, t)."""
        t_us = t_ns // 1000
        trajectory = self._reaching(device, t_us)
        flips = trajectory.flips_until(t_us)
        past_ns = 1000 * trajectory.on_before_us[flips - 1] if flips else 0
        since_ns = 1000 * trajectory.flips_us[flips - 1] if flips else 0
        return past_ns + (t_ns - since_ns if trajectory.is_on_after(flips) else 0)

    def on_ns_many(self, devices: IntArray, t_ns: int) -> IntArray:
        """`on_ns` of each of `devices` [n] → [n]; leaves the cache alone."""
        blocks = [self._walk(devices[row : row + _ROWS], t_ns) for row in range(0, len(devices), _ROWS)]
        return np.concatenate([np.zeros(0, np.int64), *blocks])

    def _walk(self, devices: IntArray, t_ns: int) -> IntArray:
        keys = fold(self._base, devices)
        starts_on = self._starts_on(keys)
        t_us, on_us = t_ns // 1000, np.zeros(len(devices), np.int64)
        on_at_t = np.zeros(len(devices), np.bool_)
        reached_us = np.zeros(len(devices), np.int64)
        todo, chunk = np.arange(len(devices)), 0
        while todo.size:
            ends_us = reached_us[todo, None] + np.cumsum(self._periods_us(keys[todo], starts_on[todo], chunk), axis=1)
            starts_us = np.concatenate([reached_us[todo, None], ends_us[:, :-1]], axis=1)
            on = _on_periods(starts_on[todo], ends_us.shape[1])
            on_us[todo] += (on * (np.minimum(ends_us, t_us) - np.minimum(starts_us, t_us))).sum(axis=1)
            on_at_t[todo] = (on & (starts_us <= t_us) & (t_us < ends_us)).any(axis=1)
            reached_us[todo] = ends_us[:, -1]
            todo, chunk = todo[ends_us[:, -1] <= t_us], chunk + 1
        return 1000 * on_us + on_at_t * (t_ns - 1000 * t_us)

    def _reaching(self, device: int, t_us: int) -> _Trajectory:
        """The device's trajectory, with at least one flip after t."""
        if t_us < 0:
            raise ValueError(f"time {t_us} us: must not be negative")
        trajectory = self._cache.get(device)
        if trajectory is None:
            starts_on = bool(self._starts_on(fold(self._base, np.array([device])))[0])
            trajectory = self._cache[device] = _Trajectory(starts_on)
        else:
            self._cache.move_to_end(device)
        if not trajectory.chunks or trajectory.flips_us[-1] <= t_us:
            self._extend(device, trajectory, t_us)
        return trajectory

    def _extend(self, device: int, trajectory: _Trajectory, t_us: int) -> None:
        keys, starts_on = fold(self._base, np.array([device])), np.array([trajectory.starts_on])
        before = len(trajectory.flips_us)
        while not trajectory.chunks or trajectory.flips_us[-1] <= t_us:
            reached_us = trajectory.flips_us[-1] if trajectory.chunks else 0
            on_us = trajectory.on_before_us[-1] if trajectory.chunks else 0
            periods_us = self._periods_us(keys, starts_on, trajectory.chunks)
            on = _on_periods(starts_on, periods_us.shape[1])
            trajectory.flips_us.frombytes((reached_us + np.cumsum(periods_us[0])).tobytes())
            trajectory.on_before_us.frombytes((on_us + np.cumsum(on[0] * periods_us[0])).tobytes())
            trajectory.chunks += 1
        self._flips += len(trajectory.flips_us) - before
        while self._flips > self._kept_flips and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._flips -= len(dropped.flips_us)

    def _starts_on(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return uniforms(fold(keys, 0), 1)[:, 0] < self._on_share

    def _periods_us(self, keys: NDArray[np.uint64], starts_on: NDArray[np.bool_], chunk: int) -> IntArray:
        """Periods of one chunk [device, period], each ≥ 1 µs; an even number, so chunks start alike."""
        size = min(_FIRST_CHUNK << min(chunk, 16), _LARGEST_CHUNK)
        # 1 - u lies in (0, 1], so the logarithm is finite
        unit: FloatArray = -np.log(1.0 - uniforms(fold(keys, chunk + 1), size))
        mean_us = np.where(_on_periods(starts_on, size), *self._mean_us)
        return np.maximum(1, np.rint(unit * mean_us)).astype(np.int64)


def _on_periods(starts_on: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Which of `count` alternating periods are on line [device, period]."""
    even = np.arange(count) % 2 == 0
    on: NDArray[np.bool_] = starts_on[:, None] == even[None, :]
    return on
