"""Levels: clock frequencies that a processor can run at, and what they save (DVFS)."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Level:
    """An operating point. Attributes: frequency, voltage, as shares of those of the fastest level.

    Raises:
        ValueError: a share outside (0, 1].
    """

    frequency: float
    voltage: float

    def __post_init__(self) -> None:
        for name in ("frequency", "voltage"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"level: {name} {getattr(self, name)!r} must lie in (0, 1], a share of the fastest's")


def choose(levels: Sequence[Level], dvfs: str | float) -> Level:
    """The level called low, mid or max, or one of that relative frequency, its voltage between the neighbours'.

    `levels` rise in frequency, up to (1, 1). Without any, only "max" can be had.

    Raises:
        ValueError: no such level; a frequency below the lowest level's or above 1.
    """
    if dvfs == "max":
        return Level(frequency=1.0, voltage=1.0)
    if not levels:
        raise ValueError(f"dvfs {dvfs}: the device has no levels; write max, or give its profile processor.levels")
    if isinstance(dvfs, str):
        if dvfs not in ("low", "mid"):
            raise ValueError(f"dvfs {dvfs!r}: must be low, mid, max or a share of the highest frequency")
        return levels[0] if dvfs == "low" else levels[(len(levels) - 1) // 2]
    return _between(levels, dvfs)


def _between(levels: Sequence[Level], frequency: float) -> Level:
    known = [level.frequency for level in levels]
    if not known[0] <= frequency <= known[-1]:
        raise ValueError(f"dvfs {frequency:g}: must lie between {known[0]:g}, the lowest level, and {known[-1]:g}")
    at = bisect_left(known, frequency)
    if known[at] == frequency:
        return levels[at]
    below, above = levels[at - 1], levels[at]
    weight = (frequency - below.frequency) / (above.frequency - below.frequency)
    return Level(frequency=frequency, voltage=below.voltage + weight * (above.voltage - below.voltage))


def power_w(static_w: float, full_w: float, level: Level) -> float:
    """Power at a level: static + dynamic · f · V², dynamic being what is not static at the fastest level.

    The switching power of CMOS circuits (Chandrakasan, Sheng, Brodersen 1992, IEEE JSSC 27(4), eq. 1).
    """
    saved = 1 - level.frequency * level.voltage**2  # nothing at the fastest level: its power stays as it was given
    return full_w - (full_w - static_w) * saved
