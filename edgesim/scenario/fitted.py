"""Fitted: devices or links whose figures are drawn from a trace of many real ones."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import Discriminator, Tag, ValidationInfo, model_validator

from edgesim.devices.device import Device
from edgesim.devices.link import Link
from edgesim.devices.profiles import find_device, find_link
from edgesim.devices.profiles import links as catalogue_links
from edgesim.devices.traceset import TraceSet
from edgesim.devices.tracesetfiles import Subject, find_trace_set, read_trace_set
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.scenario.paths import folder_of, stamp
from edgesim.scenario.section import Section


class _Fitted(Section):
    subject: ClassVar[Subject]

    kind: Literal["trace"]
    name: str | None = None
    """a trace that comes with edgesim: docs/fleets.md lists them"""
    path: str | None = None
    """your own, a CSV file, relative to this one: docs/fleets.md says what is in it"""
    base: str | None = None
    """what all other figures are of: a device or link by its name or file; default: the one that the trace names"""

    @model_validator(mode="after")
    def _one_of_them(self, info: ValidationInfo) -> Self:
        if (self.name is None) == (self.path is None):
            what = "got both" if self.name is not None else "got neither"
            raise ValueError(f"{what}; write exactly one of name and path")
        try:
            self.trace_set(folder_of(info))
        except ScenarioError as error:
            raise wrong(str(error), "path") from None
        except ValueError as error:
            raise wrong(_of_catalogue(self.name or "") or str(error), "name") from None
        return self

    def trace_set(self, folder: Path) -> TraceSet:
        """What the figures are drawn from; paths count from `folder`."""
        if self.name is not None:
            return find_trace_set(self.name, self.subject)
        path = folder / (self.path or "")
        return _read(path, self.subject, stamp(path))


class DeviceTrace(_Fitted):
    """Devices whose speed and memory are drawn from a trace; results call them by the name of their base."""

    subject: ClassVar[Subject] = "device"


class LinkTrace(_Fitted):
    """Links whose rates and latencies are drawn from a trace."""

    subject: ClassVar[Subject] = "link"


def _kind(value: object) -> str:
    return "name" if isinstance(value, str) else "trace"


_BY_NAME = Annotated[str, Tag("name")]
DeviceChoice: TypeAlias = Annotated[_BY_NAME | Annotated[DeviceTrace, Tag("trace")], Discriminator(_kind)]
LinkChoice: TypeAlias = Annotated[_BY_NAME | Annotated[LinkTrace, Tag("trace")], Discriminator(_kind)]


def device_of(choice: str | DeviceTrace, folder: Path, profiles: Path | None) -> Device:
    """The device named, or the base of a trace.

    Raises ValueError for an unknown one or none, ScenarioError for one with mistakes.
    """
    return find_device(choice if isinstance(choice, str) else _base(choice, folder), folder, profiles)


def link_of(choice: str | LinkTrace, folder: Path, profiles: Path | None) -> Link:
    """The link named, or the base of a trace; raises as `device_of`."""
    return find_link(choice if isinstance(choice, str) else _base(choice, folder), folder, profiles)


def trace_of(choice: str | _Fitted, folder: Path) -> TraceSet | None:
    """What figures are drawn from, if from a trace."""
    return None if isinstance(choice, str) else choice.trace_set(folder)


def _base(choice: _Fitted, folder: Path) -> str:
    found = choice.base or choice.trace_set(folder).base
    if found is None:
        raise ValueError(f"this trace names no base; write base: NAME, a {choice.subject} of the catalogue or your own")
    return found


def _of_catalogue(name: str) -> str | None:
    if name not in catalogue_links():
        return None
    return f"'{name}' is a link of the catalogue, with a distribution of its own; write link: {name}"


@lru_cache(maxsize=8)
def _read(path: Path, subject: Subject, stamped: int) -> TraceSet:
    return read_trace_set(path, subject)
