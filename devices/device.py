"""Device: one model of hardware, in SI base units."""

import math
from dataclasses import dataclass

from edgesim.devices.levels import Level
from edgesim.devices.traits import Traits


@dataclass(frozen=True, kw_only=True)
class Device:
    """The figures of one hardware model; the typical unit, before variation between units.

    Attributes:
        name: as in the catalogue, e.g. "raspberry-pi-4".
        device_class: kind of machine: mcu, sbc, sbc-gpu, phone, tablet, laptop, gateway, server.
        compute_flops: FLOP/s reached while training small networks (not a peak, not GEMM).
        compute_sigma: how much units differ: sigma of a unit's speed factor exp(N(0, sigma)).
        bandwidth_bytes_per_s: between processor and memory.
        step_overhead_s: fixed cost of one optimiser step, whatever the batch.
        sparse_efficiency: eta; a layer of density d runs max(1, eta / d) times faster than dense.
        ram_bytes, usable: memory, and the share of it that a training job may take.
        idle_w: on line and doing nothing.
        training_w: the whole device while it trains (idle included), radio apart.
        traits: finer figures of the processor, if any are known.
        levels: clock frequencies that it can run at, rising up to (1, 1); none: only its usual one.
        battery_j: what a full battery holds; None: on mains, or a battery of the user's own choice.
        year: when it came on the market.
        sources: where each figure comes from.
        confidence: of the least certain figure that matters: high, medium or low.

    Raises:
        ValueError: a figure out of its range.
    """

    name: str
    device_class: str
    compute_flops: float
    bandwidth_bytes_per_s: float
    step_overhead_s: float
    sparse_efficiency: float
    ram_bytes: float
    usable: float
    idle_w: float
    training_w: float
    compute_sigma: float = 0.0
    traits: Traits | None = None
    levels: tuple[Level, ...] = ()
    battery_j: float | None = None
    year: int | None = None
    sources: tuple[str, ...] = ()
    confidence: str = "low"

    def __post_init__(self) -> None:
        for name in ("compute_flops", "bandwidth_bytes_per_s", "ram_bytes"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"device {self.name}: {name} {getattr(self, name)!r} must be above 0")
        for name in ("sparse_efficiency", "usable"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"device {self.name}: {name} {getattr(self, name)!r} must lie in (0, 1]")
        for name in ("step_overhead_s", "idle_w"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"device {self.name}: {name} {getattr(self, name)!r} must not be negative")
        if not 0 <= self.compute_sigma <= 3:
            raise ValueError(f"device {self.name}: compute_sigma {self.compute_sigma!r} must lie in [0, 3]")
        if self.battery_j is not None and not 0 < self.battery_j < math.inf:
            raise ValueError(f"device {self.name}: battery_j {self.battery_j!r} must be above 0")
        if not self.idle_w <= self.training_w < math.inf:
            raise ValueError(
                f"device {self.name}: training_w {self.training_w!r} is below idle_w {self.idle_w!r}; "
                "give the power of the whole device while it trains"
            )

    @property
    def memory_bytes(self) -> int:
        """What a training job may take."""
        return int(self.ram_bytes * self.usable)
