"""The fleet of a scenario: which devices, how many of each, how connected and when on line."""

from collections.abc import Callable
from math import fsum, isclose
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from edgesim.devices.profiles import find_device, find_link
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.scenario.choice import folder_of
from edgesim.scenario.section import OrWord, Section
from edgesim.units import Seconds, Share


class Always(Section):
    """On line for ever."""

    kind: Literal["always"] = "always"


class Markov(Section):
    """On and off line in turn, each for an exponentially distributed time; stationary from the start."""

    kind: Literal["markov"]
    on: Seconds = Field(ge=1e-3, le=3.2e9)
    """mean time on line"""
    off: Seconds = Field(ge=1e-3, le=3.2e9)
    """mean time off line"""


Availability: TypeAlias = Annotated[Always | Markov, Field(discriminator="kind"), OrWord("always")]


class Variation(Section):
    """How much the devices of one entry differ: standard deviation of the logarithm of each one's factor."""

    compute: float = Field(default=0.0, ge=0, le=3)
    """of computing time; 0.2 makes two thirds of the devices at most about 20 % faster or slower"""
    link: float = Field(default=0.0, ge=0, le=3)
    """of the link's rate, both directions alike"""


class FleetEntry(Section):
    """A part of the fleet: devices of one kind on links of one kind."""

    device: str
    """name in the catalogue (`edgesim devices`), or a profile of your own (.yaml, relative to this file)"""
    share: Share = Field(gt=0)
    """which part of the clients it is, e.g. 0.6 or 60 %; all shares add to 1"""
    link: str
    """name in the catalogue (`edgesim devices`), or a profile of your own (.yaml, relative to this file)"""
    availability: Availability = Always()
    """when the devices are on line"""
    variation: Variation = Variation()
    """how much the devices of this entry differ from one another"""

    @field_validator("device")
    @classmethod
    def _device_exists(cls, text: str, info: ValidationInfo) -> str:
        return _found(find_device, text, info)

    @field_validator("link")
    @classmethod
    def _link_exists(cls, text: str, info: ValidationInfo) -> str:
        return _found(find_link, text, info)


def _found(find: Callable[[str, Path], object], text: str, info: ValidationInfo) -> str:
    try:
        find(text, folder_of(info))
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
