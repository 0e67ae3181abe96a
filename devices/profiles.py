"""Profiles: devices and links as YAML files; the catalogue that ships with edgesim, and the user's own.

device: raspberry-pi-4                       link: lte
family: sbc                                  rate: {down: 36 Mbit/s, up: 11 Mbit/s}
processor:                                   latency: 40 ms
  training: 9 GFLOP/s                        power: {receive: 0.94 W, send: 1.44 W}
  bandwidth: 12.8 GB/s                       tail: {time: 10 s, power: 0.12 W}
  step_overhead: 2 ms                        confidence: medium
  sparse_efficiency: 0.45                    sources: [...]
memory: {ram: 4 GB, usable: 0.6}
power: {idle: 3.1 W, training: 6.6 W}
confidence: high
sources: [...]
"""

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Gt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgesim.devices.device import Device
from edgesim.devices.link import Link
from edgesim.document import Document, check
from edgesim.errors import ScenarioError
from edgesim.spelling import advice
from edgesim.units import BitsPerSecond, Bytes, BytesPerSecond, FlopsPerSecond, Seconds, Share, Watts

__all__ = ["Device", "Link", "devices", "links", "find_device", "find_link", "DeviceProfile", "LinkProfile"]

Confidence = Literal["high", "medium", "low"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Sources = Annotated[tuple[str, ...], Field(min_length=1, description="where each figure comes from")]


# Gt stands beside the type, not in Field: there a quantity's own validator would put it aside unread.
class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Processor(_Section):
    """How fast the device trains."""

    training: Annotated[FlopsPerSecond, Gt(0)] = Field(description="rate reached while training small networks")
    bandwidth: Annotated[BytesPerSecond, Gt(0)] = Field(description="between processor and memory")
    step_overhead: Seconds = Field(description="fixed cost of one optimiser step")
    sparse_efficiency: Annotated[Share, Gt(0)] = Field(
        description="eta: a layer of density d runs eta / d times faster"
    )


class Memory(_Section):
    """How much a training job may take."""

    ram: Annotated[Bytes, Gt(0)] = Field(description="memory of the whole device")
    usable: Annotated[Share, Gt(0)] = Field(description="share of it that a training job may take")


class DevicePower(_Section):
    """What the whole device draws, radio apart."""

    idle: Watts = Field(description="on line and doing nothing")
    training: Watts = Field(description="the whole device while it trains")

    @model_validator(mode="after")
    def _training_includes_idle(self) -> Self:
        if self.training < self.idle:
            raise ValueError(
                f"training {self.training:g} W is below idle {self.idle:g} W; "
                "give the power of the whole device while it trains"
            )
        return self


class DeviceProfile(_Section):
    """A device's file."""

    device: Name
    family: Literal["mcu", "sbc", "sbc-gpu", "phone", "laptop", "gateway", "server"]
    processor: Processor
    memory: Memory
    power: DevicePower
    confidence: Confidence = Field(description="of the least certain figure that matters")
    sources: Sources

    def build(self) -> Device:
        """The device in SI base units."""
        return Device(
            name=self.device,
            device_class=self.family,
            compute_flops=self.processor.training,
            bandwidth_bytes_per_s=self.processor.bandwidth,
            step_overhead_s=self.processor.step_overhead,
            sparse_efficiency=self.processor.sparse_efficiency,
            ram_bytes=self.memory.ram,
            usable=self.memory.usable,
            idle_w=self.power.idle,
            training_w=self.power.training,
            sources=self.sources,
            confidence=self.confidence,
        )


class Rate(_Section):
    """Goodput in each direction."""

    down: Annotated[BitsPerSecond, Gt(0)] = Field(description="to the device")
    up: Annotated[BitsPerSecond, Gt(0)] = Field(description="from the device")


class LinkPower(_Section):
    """What the radio draws while a transfer is under way, on top of the device's idle power."""

    receive: Watts
    send: Watts


class Tail(_Section):
    """How long the radio stays up after a transfer, and what it draws then."""

    time: Seconds = 0.0
    power: Watts = 0.0


class LinkProfile(_Section):
    """A link's file."""

    link: Name
    rate: Rate
    latency: Seconds = Field(description="paid once a transfer")
    power: LinkPower
    tail: Tail = Tail()
    confidence: Confidence = Field(description="of the least certain figure that matters")
    sources: Sources

    def build(self) -> Link:
        """The link in SI base units."""
        return Link(
            name=self.link,
            down_bps=self.rate.down,
            up_bps=self.rate.up,
            latency_s=self.latency,
            receive_w=self.power.receive,
            send_w=self.power.send,
            tail_s=self.tail.time,
            tail_w=self.tail.power,
            sources=self.sources,
            confidence=self.confidence,
        )


def devices() -> dict[str, Device]:
    """The catalogue's devices by name, slowest first."""
    return dict(sorted(_catalogue()[0].items(), key=lambda item: item[1].compute_flops))


def links() -> dict[str, Link]:
    """The catalogue's links by name, slowest first."""
    return dict(sorted(_catalogue()[1].items(), key=lambda item: item[1].down_bps))


def find_device(name_or_path: str, folder: Path) -> Device:
    """A device of the catalogue, or one read from a .yaml file named relative to `folder`.

    Raises:
        ValueError: no such name or file; the message has the nearest name and all of them.
        ScenarioError: the file is there but is not a device profile.
    """
    path = _path(name_or_path, folder, "device")
    if path is not None:
        return check(_read(path, "device"), DeviceProfile).build()
    known = devices()
    if name_or_path not in known:
        raise ValueError(_unknown("device", name_or_path, list(known)))
    return known[name_or_path]


def find_link(name_or_path: str, folder: Path) -> Link:
    """A link of the catalogue, or one read from a .yaml file named relative to `folder`.

    Raises:
        ValueError: no such name or file; the message has the nearest name and all of them.
        ScenarioError: the file is there but is not a link profile.
    """
    path = _path(name_or_path, folder, "link")
    if path is not None:
        return check(_read(path, "link"), LinkProfile).build()
    known = links()
    if name_or_path not in known:
        raise ValueError(_unknown("link", name_or_path, list(known)))
    return known[name_or_path]


def _path(text: str, folder: Path, kind: str) -> Path | None:
    """The file that `text` names; None where it names an entry of the catalogue."""
    if not text.endswith((".yaml", ".yml")):
        return None
    path = folder / text
    if not path.is_file():
        raise ValueError(f"no {kind} profile at {path}; a path is relative to the scenario's folder")
    return path


def _read(path: Path, kind: str) -> Document:
    """The file, unless it is a profile of the other kind, where each key would be a problem of its own."""
    document, other = Document.read(path), {"device": "link", "link": "device"}[kind]
    if isinstance(document.data, dict) and other in document.data and kind not in document.data:
        raise ScenarioError(f"{path}: this is a {other} profile; a {kind} profile is wanted")
    return document


def _unknown(kind: str, text: str, known: list[str]) -> str:
    return f"unknown {kind} {text!r}; {advice(text, known)}; or give the path of your own {kind} profile (.yaml)"


@cache
def _catalogue() -> tuple[dict[str, Device], dict[str, Link]]:
    found_devices: dict[str, Device] = {}
    found_links: dict[str, Link] = {}
    for entry in sorted(files("edgesim.devices").iterdir(), key=lambda entry: entry.name):
        if not entry.name.endswith(".yaml"):
            continue
        with as_file(entry) as path:
            document = Document.read(path)
        if isinstance(document.data, dict) and "link" in document.data:
            link = check(document, LinkProfile).build()
            found_links[link.name] = link
        else:
            device = check(document, DeviceProfile).build()
            found_devices[device.name] = device
        if entry.name.removesuffix(".yaml") not in {**found_devices, **found_links}:
            raise ScenarioError(f"{entry.name}: the name inside must be the file's, as it is looked up by it")
    return found_devices, found_links
