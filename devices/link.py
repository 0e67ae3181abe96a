"""Link: how a kind of device reaches the server, in SI base units."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Link:
    """The figures of one kind of access link; a typical one, before variation between users.

    Attributes:
        name: as in the catalogue, e.g. "wifi-home".
        down_bps, up_bps: goodput to and from the device, in bit/s.
        latency_s: paid once a transfer, whatever its size.
        down_sigma, up_sigma, latency_sigma: how much users differ: sigma of the logarithm; where it is above 0,
            the figure above is the median.
        correlation: of the logarithms of both rates.
        receive_w, send_w: the radio while a transfer is under way, on top of the device's idle power.
        tail_s, tail_w: how long the radio stays up after a transfer, and what it draws then.
        promotion_s: how much longer a transfer's latency is where it begins after that, since the radio must wake.
        sources: where each figure comes from.
        confidence: of the least certain figure that matters: high, medium or low.

    Raises:
        ValueError: a figure out of its range.
    """

    name: str
    down_bps: float
    up_bps: float
    latency_s: float
    receive_w: float
    send_w: float
    tail_s: float = 0.0
    tail_w: float = 0.0
    promotion_s: float = 0.0
    down_sigma: float = 0.0
    up_sigma: float = 0.0
    correlation: float = 0.0
    latency_sigma: float = 0.0
    sources: tuple[str, ...] = ()
    confidence: str = "low"

    def __post_init__(self) -> None:
        for name in ("down_bps", "up_bps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"link {self.name}: {name} {getattr(self, name)!r} must be above 0")
        for name in ("latency_s", "receive_w", "send_w", "tail_s", "tail_w", "promotion_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"link {self.name}: {name} {getattr(self, name)!r} must not be negative")
        for name in ("down_sigma", "up_sigma", "latency_sigma"):
            if not 0 <= getattr(self, name) <= 3:
                raise ValueError(f"link {self.name}: {name} {getattr(self, name)!r} must lie in [0, 3]")
        if not -1 <= self.correlation <= 1:
            raise ValueError(f"link {self.name}: correlation {self.correlation!r} must lie in [-1, 1]")

    @property
    def tail_j(self) -> float:
        """Energy of one tail."""
        return self.tail_s * self.tail_w
