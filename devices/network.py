"""Network: the links that transfers share on their way to the server, and where each device joins them.

All ways lead to one server by the shortest path, so the shared links form a tree of hops. Links are full
duplex: what goes down never slows what goes up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from edgesim.devices import cost
from edgesim.devices.arrays import FloatArray, IndexArray, IntArray
from edgesim.devices.fleet import Fleet
from edgesim.devices.rate_trace import RateTrace
from edgesim.streams import fold, key, uniforms

_MICRO = 1_000_000  # rates are whole microbit/s where they are shared


class Direction(IntEnum):
    """Which way a transfer goes."""

    DOWN = 0
    UP = 1


@dataclass(frozen=True, kw_only=True)
class Hop:
    """A shared link, from a node towards the server.

    Loss costs goodput on this link alone, since radio links repeat what is lost themselves: a byte crosses a
    link with loss p on average 1 / (1 - p) times, so capacity · (1 - p) is what gets through.

    Attributes:
        name: of the node at its far end, e.g. "gateway-0"; "server" is the server's own connection.
        parent: number of the next hop towards the server; None for the last one.
        down_bps, up_bps: capacity, in bit/s; infinite where it is no limit.
        latency_s: of this hop alone.
        loss: share of what is sent that is lost and sent again.
        trace: a factor of both capacities over time.

    Raises:
        ValueError: a figure out of its range.
    """

    name: str
    parent: int | None
    down_bps: float = math.inf
    up_bps: float = math.inf
    latency_s: float = 0.0
    loss: float = 0.0
    trace: RateTrace | None = None

    def __post_init__(self) -> None:
        for name in ("down_bps", "up_bps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"hop {self.name}: {name} {getattr(self, name)!r} must be above 0")
        if not 0 <= self.latency_s < math.inf:
            raise ValueError(f"hop {self.name}: latency_s {self.latency_s!r} must not be negative")
        if not 0 <= self.loss < 1:
            raise ValueError(f"hop {self.name}: loss {self.loss!r} must lie in [0, 1)")

    def capacity(self, direction: Direction, t_ns: int) -> int | None:
        """Goodput at t in whole microbit/s; None where it is no limit."""
        rate_bps = self.down_bps if direction == Direction.DOWN else self.up_bps
        factor = 1.0 if self.trace is None else self.trace.factor(t_ns)
        if rate_bps == math.inf:
            return 0 if factor == 0 else None
        return round(rate_bps * (1 - self.loss) * factor * _MICRO)

    def next_change_ns(self, t_ns: int) -> int | None:
        """When the capacity changes next, strictly after t; None if it never does."""
        return None if self.trace is None else self.trace.next_change_ns(t_ns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The shared links, and every device's way to them.

    Attributes:
        hops: each after its parent.
        hop: number of the hop at which a device joins [device].
        down_bps, up_bps: of its own access link [device].
        latency_s: of its access link and all hops [device].
        round_trips, window_bytes: of connections [device]: `cost.delay_s`.
        device_trace: a factor of the access rates over time, read by each device from a point of its own.
        trace_offset_ns: where in the trace a device is at time 0 [device].

    Raises:
        ValueError: no hop, a hop before its parent, or a device that joins at none.
    """

    hops: tuple[Hop, ...]
    hop: IndexArray
    down_bps: FloatArray
    up_bps: FloatArray
    latency_s: FloatArray
    round_trips: FloatArray
    window_bytes: FloatArray
    device_trace: RateTrace | None = None
    trace_offset_ns: IntArray | None = None

    def __post_init__(self) -> None:
        for number, hop in enumerate(self.hops):
            if hop.parent is not None and not 0 <= hop.parent < number:
                raise ValueError(f"hop {hop.name}: parent {hop.parent} must be a hop before it")
        if self.hop.size and not 0 <= int(self.hop.min()) <= int(self.hop.max()) < len(self.hops):
            raise ValueError(f"devices join at hops {self.hop.min()} to {self.hop.max()}; there are {len(self.hops)}")

    def __len__(self) -> int:
        return len(self.hop)

    def hop_of(self, device: int) -> int:
        """The number of the hop at which a device joins."""
        return self.hop.data[device]

    def access(self, device: int, direction: Direction, t_ns: int) -> int:
        """A device's own rate at t, in whole microbit/s."""
        rate_bps: float = (self.down_bps if direction == Direction.DOWN else self.up_bps).data[device]
        if self.device_trace is not None:
            rate_bps *= self.device_trace.factor(t_ns + self._offset_ns(device))
        return round(rate_bps * _MICRO)

    def next_access_change_ns(self, device: int, t_ns: int) -> int | None:
        """When a device's own rate changes next, strictly after t; None if it never does."""
        if self.device_trace is None:
            return None
        offset_ns = self._offset_ns(device)
        return self.device_trace.next_change_ns(t_ns + offset_ns) - offset_ns

    def delay_ns(self, device: int, direction: Direction, size_bytes: int) -> int:
        """Until the bytes of a message flow, rounded once; slow start as on an access link that it has to itself."""
        rate_bps = self.down_bps if direction == Direction.DOWN else self.up_bps
        figures = rate_bps, self.latency_s, self.round_trips, self.window_bytes
        return round(1e9 * cost.delay_s(size_bytes, *(column.data[device] for column in figures)))

    def _offset_ns(self, device: int) -> int:
        return 0 if self.trace_offset_ns is None else self.trace_offset_ns.data[device]


def attach(
    hops: Sequence[Hop],
    fleet: Fleet,
    gateways: Sequence[Sequence[int]],
    seed: int,
    *,
    device_trace: RateTrace | None = None,
) -> Network:
    """The devices of a fleet on a network; a pure function of its arguments.

    `gateways` lists for each of `fleet.class_names` the hops at which its devices join: in an order of the
    seed's they are dealt out in turn, a class going on where the last one of the same hops ended. So the numbers
    at two hops differ by one at most, of each class and of all classes of the same hops.
    """
    count = len(fleet)
    hop, given = np.zeros(count, np.int32), dict[tuple[int, ...], int]()
    draws = uniforms(fold(key(seed, "network-attach"), np.arange(count)), 2)
    for number, among in enumerate(gateways):
        members = np.flatnonzero(fleet.device_class == number)
        dealt = members[np.argsort(draws[members, 0], kind="stable")]
        first = given.get(tuple(among), 0)
        hop[dealt] = np.asarray(among, np.int32)[(first + np.arange(len(dealt))) % len(among)]
        given[tuple(among)] = first + len(dealt)
    offset_ns = None
    if device_trace is not None:
        offset_ns = (draws[:, 1] * device_trace.period_ns).astype(np.int64)
    return Network(
        hops=tuple(hops),
        hop=hop,
        down_bps=fleet.down_bps,
        up_bps=fleet.up_bps,
        latency_s=fleet.latency_s + _latency_s(hops)[hop],
        round_trips=fleet.round_trips,
        window_bytes=fleet.window_bytes,
        device_trace=device_trace,
        trace_offset_ns=offset_ns,
    )


def _latency_s(hops: Sequence[Hop]) -> FloatArray:
    """Latency from each hop to the server, its own included [hop]."""
    total = np.zeros(len(hops))
    for number, hop in enumerate(hops):
        total[number] = hop.latency_s + (0.0 if hop.parent is None else total[hop.parent])
    return total
