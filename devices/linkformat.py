"""The format of a link's file; format.py shows one."""

from pydantic import Field

from edgesim.devices.figures import Bits, Confidence, Delay, Name, Section, Sources, median, sigma
from edgesim.devices.link import Link
from edgesim.units import Seconds, Watts


class Rate(Section):
    """Goodput in each direction."""

    down: Bits = Field(description="to the device")
    up: Bits = Field(description="from the device")
    correlation: float = Field(default=0.0, ge=-1, le=1, description="of the logarithms of both")


class LinkPower(Section):
    """What the radio draws while a transfer is under way, on top of the device's idle power."""

    receive: Watts
    send: Watts


class Tail(Section):
    """How long the radio stays up after a transfer, and what it draws then."""

    time: Seconds = 0.0
    power: Watts = 0.0


class LinkProfile(Section):
    """A link's file."""

    link: Name
    rate: Rate
    latency: Delay = Field(description="paid once a transfer")
    power: LinkPower
    tail: Tail = Tail()
    promotion: Seconds = Field(default=0.0, description="what waking the radio adds to a latency after the tail")
    confidence: Confidence = Field(description="of the least certain figure that matters")
    sources: Sources

    def build(self) -> Link:
        """The link in SI base units."""
        return Link(
            name=self.link,
            down_bps=median(self.rate.down),
            up_bps=median(self.rate.up),
            latency_s=median(self.latency),
            down_sigma=sigma(self.rate.down),
            up_sigma=sigma(self.rate.up),
            correlation=self.rate.correlation,
            latency_sigma=sigma(self.latency),
            receive_w=self.power.receive,
            send_w=self.power.send,
            tail_s=self.tail.time,
            tail_w=self.tail.power,
            promotion_s=self.promotion,
            sources=self.sources,
            confidence=self.confidence,
        )
