"""Signals: what comes and goes by a law of its own, alone as a device's availability or as a part of a rule."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, ValidationInfo, model_validator

from edgesim.devices import availability as devices
from edgesim.devices import diurnal, tracefiles, traces, windows
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.scenario.hours import ClockTime, TimeZone
from edgesim.scenario.paths import folder_of, stamp
from edgesim.scenario.section import Section
from edgesim.units import Seconds, Share

LIST = Field(min_length=1, strict=False)  # a kind is told from Python's values, which have lists and no tuples


class Bernoulli(Section):
    """On line or not in each window of time, by chance, whatever the device did before."""

    kind: Literal["bernoulli"]
    window: Seconds = Field(ge=1e-3, le=3.2e7)
    """how long a window is"""
    chance: Share = Field(gt=0, lt=1)
    """probability that a device is on line in a window"""

    def process(self, folder: Path) -> devices.Process:
        """The process that is meant."""
        return windows.Bernoulli(window_s=self.window, chance=self.chance)


class Markov(Section):
    """On and off line in turn, each for an exponentially distributed time; stationary from the start."""

    kind: Literal["markov"]
    on: Seconds = Field(ge=1e-3, le=3.2e9)
    """mean time on line"""
    off: Seconds = Field(ge=1e-3, le=3.2e9)
    """mean time off line"""
    variation: float = Field(default=0.0, ge=0, le=3)
    """how much devices differ: standard deviation of the logarithm of each one's factors on the two means"""

    def process(self, folder: Path) -> devices.Process:
        """The process that is meant."""
        return devices.Markov(mean_on_s=self.on, mean_off_s=self.off, variation=self.variation)


class Weekend(Section):
    """What is different on Saturday and Sunday."""

    peak: ClockTime | None = None
    """the middle of the session; default: as on other days"""
    hours: Annotated[Seconds, Field(le=23 * 3600)] | None = None
    """how long it lasts; default: as on other days"""


class Diurnal(Section):
    """On line once a day, around a habitual hour, as phones that charge at night. Time begins on Monday, 00:00 UTC."""

    kind: Literal["diurnal"]
    peak: ClockTime
    """the middle of the session in local time, e.g. 02:00"""
    hours: Seconds = Field(le=23 * 3600)
    """how long it lasts, e.g. 8 h"""
    timezone: TimeZone | Annotated[tuple[TimeZone, ...], LIST] = 0.0
    """local time ahead of UTC, e.g. +01:00; of a list, each device has one of them, all equally likely"""
    weekend: Weekend = Weekend()
    """what is different on Saturday and Sunday"""
    jitter: Seconds = Field(default=0.0, le=6 * 3600)
    """standard deviation of each device's own shift of the peak, the same every day"""
    daily: Seconds = Field(default=0.0, le=6 * 3600)
    """standard deviation of a shift that is new every day"""
    variation: float = Field(default=0.0, ge=0, le=3)
    """how much session lengths differ: standard deviation of the logarithm of each device's factor; 23 h at most"""
    chance: Share = Field(default=1.0, gt=0)
    """probability that a device comes on line on a day at all"""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.process(Path())
        return self

    def process(self, folder: Path) -> devices.Process:
        """The process that is meant."""
        weekend = self.weekend
        return diurnal.Diurnal(
            peak_s=self.peak,
            hours_s=self.hours,
            weekend_peak_s=self.peak if weekend.peak is None else weekend.peak,
            weekend_hours_s=self.hours if weekend.hours is None else weekend.hours,
            zones_s=self.timezone if isinstance(self.timezone, tuple) else (self.timezone,),
            habit_s=self.jitter,
            daily_s=self.daily,
            variation=self.variation,
            chance=self.chance,
        )


class Trace(Section):
    """As recorded users came and went; each device follows one of them, drawn by the seed."""

    kind: Literal["trace"]
    path: str
    """the recording, relative to this file"""
    format: tracefiles.Format = "csv"
    """csv: header device,start_s,end_s and one interval a row; fedscale: its pickle; flash: its state_traces.json"""
    period: Annotated[Seconds, Field(gt=0, le=3.2e9)] | None = None
    """how long was recorded; default: up to the last end in the file, or as the file says for each user"""
    loop: bool = True
    """whether the recording begins anew when it is over; else the devices are off line for ever"""

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        try:
            self.process(folder_of(info))
        except ScenarioError as error:
            raise wrong(str(error), "path") from None
        return self

    def process(self, folder: Path) -> devices.Process:
        """The process that is meant."""
        path = folder / self.path
        return traces.Trace(recording=_read(path, self.format, self.period, stamp(path)), loop=self.loop)


Signal: TypeAlias = Annotated[Bernoulli | Markov | Diurnal | Trace, Field(discriminator="kind")]


@lru_cache(maxsize=4)
def _read(path: Path, form: tracefiles.Format, period_s: float | None, stamped: int) -> traces.Recording:
    return tracefiles.read_trace(path, form, period_s)
