"""Group: a share of a fleet, all of whose devices are drawn alike."""

import math
from dataclasses import dataclass, field

from edgesim.devices.availability import AlwaysOn, Process
from edgesim.devices.device import Device
from edgesim.devices.levels import choose
from edgesim.devices.link import Link
from edgesim.devices.traceset import TraceSet


@dataclass(frozen=True, kw_only=True)
class FleetGroup:
    """A share of the fleet: devices of one model, on one kind of link, that come and go alike.

    Attributes:
        share: of the fleet, in (0, 1].
        compute_variation: sigma of a unit's speed factor exp(N(0, sigma)); it scales every part of the
            compute time, and no power.
        link_variation: the same for the rates of a unit's link, one factor for both directions.
        round_trips, window_bytes: of the connection that each transfer opens: round trips until it is open, and slow
            start's first window; 0: it is open already, and at its full rate.
        compute_jitter, link_jitter: sigma of factors of the same kind, drawn anew for each job of a device.
        dvfs: the clock: low, mid or max of the device's levels, or a share of the highest frequency.
        background: share of the processor that other work takes, always.
        device_trace, link_trace: trace sets that speeds and memory, or rates and latencies, are drawn from, in place
            of the figures of `device` and `link` and their spread; None: those count.

    Raises:
        ValueError: a share or a sigma out of its range, a negative figure, or a level that the device has not.
    """

    device: Device
    share: float
    link: Link
    availability: Process = field(default_factory=AlwaysOn)
    compute_variation: float = 0.0
    link_variation: float = 0.0
    round_trips: float = 0.0
    window_bytes: float = 0.0
    compute_jitter: float = 0.0
    link_jitter: float = 0.0
    dvfs: str | float = "max"
    background: float = 0.0
    device_trace: TraceSet | None = None
    link_trace: TraceSet | None = None

    def __post_init__(self) -> None:
        choose(self.device.levels, self.dvfs)
        if not 0 <= self.background < 1:
            raise ValueError(f"background {self.background!r} of {self.device.name}: must lie in [0, 1)")
        if not 0 < self.share <= 1:
            raise ValueError(f"share {self.share!r} of {self.device.name}: must lie in (0, 1]")
        for name in ("round_trips", "window_bytes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)!r} of {self.device.name}: must not be negative")
        for name in ("compute_variation", "link_variation", "compute_jitter", "link_jitter"):
            # beyond 3 a fleet spans five orders of magnitude: a percent typed as a number
            if not 0 <= getattr(self, name) <= 3:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} of {self.device.name}: must lie in [0, 3]; "
                    "0.5 makes one unit in six more than 1.6 times as fast as the typical one"
                )
