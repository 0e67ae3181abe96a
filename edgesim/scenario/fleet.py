"""The fleet of a scenario: which devices, how many of each, how connected and when on line."""

from collections.abc import Callable
from math import fsum, isclose
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from edgesim.devices.levels import choose
from edgesim.devices.profiles import find_device, find_link
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.scenario.availability import Always, Availability, Outages
from edgesim.scenario.choice import folder_of
from edgesim.scenario.section import Section
from edgesim.units import Share


class Variation(Section):
    """How much the devices of one entry differ: standard deviation of the logarithm of each one's factor."""

    compute: float = Field(default=0.0, ge=0, le=3)
    """of computing time; 0.2 makes two thirds of the devices at most about 20 % faster or slower"""
    link: float = Field(default=0.0, ge=0, le=3)
    """of the link's rate, both directions alike"""


class FleetEntry(Section):
    """A part of the fleet: devices of one kind on links of one kind."""

    device: str
    """name in the catalogue (`edgesim devices`) or in `profiles`, or your own file (.yaml, relative to this one)"""
    share: Share = Field(gt=0)
    """which part of the clients it is, e.g. 0.6 or 60 %; all shares add to 1"""
    link: str
    """name in the catalogue (`edgesim devices`) or in `profiles`, or your own file (.yaml, relative to this one)"""
    availability: Availability = Always()
    """when the devices are on line"""
    outages: Outages | None = None
    """failures that take many of them off line at once"""
    variation: Variation = Variation()
    """how much the devices of this entry differ from one another"""
    dvfs: Literal["low", "mid", "max"] | Annotated[Share, Field(gt=0)] = "max"
    """clock of the processor: low, mid or max of the device's levels, or a share of its highest, e.g. 0.7"""
    background: Share = Field(default=0.0, lt=1)
    """which part of the processor other work takes, all the time"""

    @field_validator("device")
    @classmethod
    def _device_exists(cls, text: str, info: ValidationInfo) -> str:
        return _found(find_device, text, info)

    @field_validator("link")
    @classmethod
    def _link_exists(cls, text: str, info: ValidationInfo) -> str:
        return _found(find_link, text, info)

    @field_validator("dvfs")
    @classmethod
    def _level_exists(cls, dvfs: str | float, info: ValidationInfo) -> str | float:
        if "device" in info.data:  # else that is the mistake to tell
            choose(find_device(info.data["device"], folder_of(info), profiles_of(info)).levels, dvfs)
        return dvfs


def profiles_of(info: ValidationInfo) -> Path | None:
    """The folder of the user's own profiles, if the scenario names one that exists."""
    text = (info.context or {}).get("profiles")
    folder = folder_of(info) / text if isinstance(text, str) else None
    return folder if folder is not None and folder.is_dir() else None


def _found(find: Callable[[str, Path, Path | None], object], text: str, info: ValidationInfo) -> str:
    try:
        find(text, folder_of(info), profiles_of(info))
    except ScenarioError as error:  # the file is there, with mistakes of its own
        raise wrong(f"'{text}' has mistakes:\n{error}") from None
    return text


def check_shares(entries: tuple[FleetEntry, ...]) -> tuple[FleetEntry, ...]:
    """Raise ValueError unless there are entries and their shares add to 1."""
    if not entries:
        raise ValueError("there are no devices; write at least one entry, e.g. {device: …, share: 1, link: …}")
    total = fsum(entry.share for entry in entries)
    if not isclose(total, 1, abs_tol=1e-9):
        raise ValueError(f"the shares add to {total:.6g}; they must add to 1")
    return entries
