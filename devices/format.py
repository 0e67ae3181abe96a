"""The format of profile files: what a device's or a link's YAML may say.

device: raspberry-pi-4                       link: lte
family: sbc                                  rate: {down: 36 Mbit/s, up: 11 Mbit/s}
processor:                                   latency: 40 ms
  training: 9 GFLOP/s                        power: {receive: 0.94 W, send: 1.44 W}
  bandwidth: 12.8 GB/s                       tail: {time: 10 s, power: 0.12 W}
  step_overhead: 2 ms                        promotion: 0.8 s
  sparse_efficiency: 0.45                    confidence: medium
memory: {ram: 4 GiB, usable: 0.6}            sources: [...]
power: {idle: 3.1 W, training: 6.6 W}
confidence: high
sources: [...]

Rates and latency may differ between units: `{median: 36 Mbit/s, sigma: 0.5}` is lognormal, sigma being the
standard deviation of the logarithm.
"""

from typing import Annotated, Literal, Self, TypeAlias

from annotated_types import Gt
from pydantic import Field, model_validator

from edgesim.devices.device import Device
from edgesim.devices.figures import Confidence, Flops, Name, Section, Sources, median, sigma
from edgesim.devices.levels import Level
from edgesim.devices.traits import Traits
from edgesim.units import Bytes, BytesPerSecond, FlopsPerSecond, Joules, Seconds, Share, Watts

Family: TypeAlias = Literal["mcu", "sbc", "sbc-gpu", "phone", "tablet", "laptop", "gateway", "server"]


class Burst(Section):
    """A device that slows down when hot: how much faster each job runs at first, and for how long."""

    speed: Annotated[float, Field(ge=1, le=10)] = Field(description="as many times as fast as when hot")
    time: Seconds = Field(description="from the start of a job")


class LevelEntry(Section):
    """A clock frequency, and the voltage that it needs, as shares of the fastest level's."""

    frequency: Annotated[Share, Gt(0)]
    voltage: Annotated[Share, Gt(0)]


class SparsePoint(Section):
    """How many times as fast as a dense layer one of this density trains."""

    density: Annotated[Share, Gt(0)]
    speedup: Annotated[float, Field(gt=0)]


class Processor(Section):
    """How fast the device trains."""

    training: Flops = Field(description="rate reached while training small networks")
    bandwidth: Annotated[BytesPerSecond, Gt(0)] = Field(description="between processor and memory")
    step_overhead: Seconds = Field(description="fixed cost of one optimiser step")
    sparse_efficiency: Annotated[Share, Gt(0)] = Field(
        description="eta: a layer of density d runs eta / d times faster"
    )
    convolution: Annotated[FlopsPerSecond, Gt(0)] | None = Field(
        default=None, description="rate in convolutions, where it is another"
    )
    layer_overhead: Seconds = Field(default=0.0, description="fixed cost of one layer in one step")
    activation_bandwidth: Annotated[BytesPerSecond, Gt(0)] | None = Field(
        default=None, description="of activations, where it is another"
    )
    convolution_bandwidth: Annotated[BytesPerSecond, Gt(0)] | None = Field(
        default=None, description="of convolutions' weights, where it is another"
    )
    overlap: bool = Field(default=True, description="whether memory traffic hides behind arithmetic")
    sparse_curve: tuple[SparsePoint, ...] = Field(
        default=(), description="measured, by rising density; instead of eta / d"
    )
    levels: tuple[LevelEntry, ...] = Field(default=(), description="by rising frequency, the last one {1, 1}")
    burst: Burst | None = None

    @model_validator(mode="after")
    def _levels_rise(self) -> Self:
        known = [level.frequency for level in self.levels]
        if self.levels and (known != sorted(set(known)) or self.levels[-1] != LevelEntry(frequency=1, voltage=1)):
            raise ValueError(
                "levels must rise in frequency, and the last must be the fastest, {frequency: 1, voltage: 1}"
            )
        return self

    def traits(self) -> Traits | None:
        """The finer figures; None where there are none. Raises ValueError for a curve that does not rise."""
        found = Traits(
            compute_flops=median(self.training),
            bandwidth=self.bandwidth,
            convolution_flops=self.convolution,
            layer_overhead_s=self.layer_overhead,
            activation_bandwidth=self.activation_bandwidth,
            convolution_bandwidth=self.convolution_bandwidth,
            overlap=self.overlap,
            sparse_curve=tuple((point.density, point.speedup) for point in self.sparse_curve),
            burst=self.burst.speed if self.burst else 1.0,
            burst_s=self.burst.time if self.burst else 0.0,
        )
        return None if found.plain else found

    @model_validator(mode="after")
    def _traits_are_possible(self) -> Self:
        self.traits()
        return self


class Memory(Section):
    """How much a training job may take."""

    ram: Annotated[Bytes, Gt(0)] = Field(description="memory of the whole device")
    usable: Annotated[Share, Gt(0)] = Field(description="share of it that a training job may take")


class DevicePower(Section):
    """What the whole device draws, radio apart."""

    idle: Watts = Field(description="on line and doing nothing")
    training: Watts = Field(description="the whole device while it trains")
    battery: Joules | None = Field(default=None, description="what a full battery holds; none: on mains")

    @model_validator(mode="after")
    def _training_includes_idle(self) -> Self:
        if self.training < self.idle:
            raise ValueError(
                f"training {self.training:g} W is below idle {self.idle:g} W; "
                "give the power of the whole device while it trains"
            )
        return self


class DeviceProfile(Section):
    """A device's file."""

    device: Name
    family: Family
    year: int | None = Field(default=None, ge=1980, le=2100, description="when it came on the market")
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
            compute_flops=median(self.processor.training),
            compute_sigma=sigma(self.processor.training),
            bandwidth_bytes_per_s=self.processor.bandwidth,
            step_overhead_s=self.processor.step_overhead,
            sparse_efficiency=self.processor.sparse_efficiency,
            traits=self.processor.traits(),
            levels=tuple(Level(frequency=at.frequency, voltage=at.voltage) for at in self.processor.levels),
            ram_bytes=self.memory.ram,
            usable=self.memory.usable,
            idle_w=self.power.idle,
            training_w=self.power.training,
            battery_j=self.power.battery,
            year=self.year,
            sources=self.sources,
            confidence=self.confidence,
        )
