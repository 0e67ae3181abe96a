"""The fleet of a scenario: which devices, how many of each, how connected and when on line."""

from collections.abc import Callable
from dataclasses import replace
from math import fsum, isclose
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from edgesim.devices.device import Device
from edgesim.devices.figures import Name
from edgesim.devices.levels import choose
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.scenario.availability import Always, Availability, Outages
from edgesim.scenario.battery import Battery
from edgesim.scenario.fitted import DeviceChoice, DeviceTrace, LinkChoice, LinkTrace, device_of, link_of
from edgesim.scenario.paths import folder_of, profiles_of
from edgesim.scenario.section import Section
from edgesim.units import Bytes, Share

T = TypeVar("T")


class Variation(Section):
    """How much the devices of one entry differ: standard deviation of the logarithm of each one's factor."""

    compute: float = Field(default=0.0, ge=0, le=3)
    """of computing time; 0.2 makes two thirds of the devices at most about 20 % faster or slower"""
    link: float = Field(default=0.0, ge=0, le=3)
    """of the link's rate, both directions alike"""


class Jitter(Section):
    """How much one device's jobs differ: standard deviation of the logarithm of each job's factor."""

    compute: float = Field(default=0.0, ge=0, le=3)
    """of computing time; 0.1 to 0.2 is a usual assumption"""
    link: float = Field(default=0.0, ge=0, le=3)
    """of the link's rate, in both transfers of a job alike; not with network.sharing: max-min, see its device_trace"""


class Connection(Section):
    """What a transfer pays for a connection; without it connections stay open and at their full rate."""

    round_trips: float = Field(default=0.0, ge=0, le=20)
    """until it is open, each as long as the latency: 2 for TCP and TLS 1.3, 3 for TCP and TLS 1.2, 1 for QUIC; 0 where
    it stays open"""
    window: Bytes | None = Field(default=None, gt=0)
    """how much TCP's slow start sends at first, before it waits for an answer: mostly 14.6 kB, ten segments; also
    where a connection has rested. Without it there is no slow start"""


class FleetEntry(Section):
    """A part of the fleet: devices of one kind on links of one kind."""

    name: Name | None = None
    """what results and network.topology.placement call its devices (lower-case letters, digits and -); by default
    what their profile does. Entries of one name count as one class"""
    device: DeviceChoice
    """name in the catalogue (`edgesim devices`) or in `profiles`, or your own file (.yaml, relative to this one); or
    figures drawn from a trace, {kind: trace, name: …} or {kind: trace, path: …, base: …}"""
    share: Share = Field(gt=0)
    """which part of the clients it is, e.g. 0.6 or 60 %; all shares add to 1"""
    link: LinkChoice
    """name in the catalogue (`edgesim devices`) or in `profiles`, or your own file (.yaml, relative to this one); or
    figures drawn from a trace, {kind: trace, name: …} or {kind: trace, path: …, base: …}"""
    availability: Availability = Always()
    """when the devices are on line"""
    outages: Outages | None = None
    """failures that take many of them off line at once"""
    battery: Battery | None = None
    """without it the devices are on mains, or their batteries never run out"""
    region: str | None = None
    """where the devices are, for costs.carbon"""
    variation: Variation = Variation()
    """how much the devices of this entry differ from one another"""
    connection: Connection = Connection()
    """what each transfer pays for opening a connection and for slow start"""
    jitter: Jitter = Jitter()
    """how much the jobs of one device differ from one another"""
    dvfs: Literal["low", "mid", "max"] | Annotated[Share, Field(gt=0)] = "max"
    """clock of the processor: low, mid or max of the device's levels, or a share of its highest, e.g. 0.7"""
    background: Share = Field(default=0.0, lt=1)
    """which part of the processor other work takes, all the time"""

    @field_validator("device")
    @classmethod
    def _device_exists(cls, choice: str | DeviceTrace, info: ValidationInfo) -> str | DeviceTrace:
        return _found(device_of, choice, info)

    @field_validator("link")
    @classmethod
    def _link_exists(cls, choice: str | LinkTrace, info: ValidationInfo) -> str | LinkTrace:
        return _found(link_of, choice, info)

    @field_validator("battery")
    @classmethod
    def _capacity_is_known(cls, battery: Battery | None, info: ValidationInfo) -> Battery | None:
        if battery is not None and battery.capacity is None and "device" in info.data:
            device = _profile(info.data["device"], info)
            if device.battery_j is None:
                raise wrong(f"the profile of {device.name} has no battery; write its capacity, e.g. 17 Wh", "capacity")
        return battery

    @field_validator("dvfs")
    @classmethod
    def _level_exists(cls, dvfs: str | float, info: ValidationInfo) -> str | float:
        if "device" in info.data:  # else that is the mistake to tell
            choose(_profile(info.data["device"], info).levels, dvfs)
        return dvfs

    def profile(self, info: ValidationInfo) -> Device:
        """Its device, or the base of a trace, by the name that it has here; `info` says whose folders count."""
        return self.called(_profile(self.device, info))

    def called(self, device: Device) -> Device:
        """The same by the name that this entry gives it, if it does."""
        return device if self.name is None else replace(device, name=self.name)


def _profile(choice: str | DeviceTrace, info: ValidationInfo) -> Device:
    return device_of(choice, folder_of(info), profiles_of(info))


def _found(find: Callable[[Any, Path, Path | None], object], choice: T, info: ValidationInfo) -> T:
    try:
        find(choice, folder_of(info), profiles_of(info))
    except ScenarioError as error:  # the file is there, with mistakes of its own
        name = choice if isinstance(choice, str) else getattr(choice, "base", None)
        raise wrong(f"'{name}' has mistakes:\n{error}") from None
    return choice


def check_shares(entries: tuple[FleetEntry, ...]) -> tuple[FleetEntry, ...]:
    """Raise ValueError unless there are entries and their shares add to 1."""
    if not entries:
        raise ValueError("there are no devices; write at least one entry, e.g. {device: …, share: 1, link: …}")
    total = fsum(entry.share for entry in entries)
    if not isclose(total, 1, abs_tol=1e-9):
        raise ValueError(f"the shares add to {total:.6g}; they must add to 1")
    return entries
