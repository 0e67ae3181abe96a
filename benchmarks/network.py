"""`python -m benchmarks.network`: what an event costs while so many transfers share a network.

An event is the start or the end of a transfer; each that ends is followed by a new one, so that their number
stays. Every device has a rate of its own, the hardest case. "plain" works all rates out anew at each event, by
progressive filling with numpy in floats, and does nothing else. CPU time, the least of three runs.
"""

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from edgesim.devices.arrays import FloatArray, IndexArray
from edgesim.devices.network import Direction, Hop, Network
from edgesim.engine.flows import Flows
from edgesim.streams import key, uniforms

FLOWS = (10, 100, 1_000, 10_000)
EVENTS = 4_000
MEAN_BPS = 25e6


def network(devices: int, gateways: int, server_bps: float) -> Network:
    """Devices of 6 to 110 Mbit/s; half of the gateways are bottlenecks themselves, half are not."""
    hops = [Hop(name="server", parent=None, down_bps=server_bps)]
    for number in range(gateways):
        capacity_bps = MEAN_BPS * devices / 2 / gateways * (0.3 if number % 2 else 1.5)
        hops.append(Hop(name=f"gateway-{number}", parent=0, down_bps=capacity_bps))
    rates_bps = MEAN_BPS * np.exp(3.0 * (_draws(devices, "rates") - 0.5))
    hop = 1 + np.arange(devices) % gateways if gateways else np.zeros(devices)
    none = np.zeros(devices)
    return Network(
        hops=tuple(hops), hop=hop.astype(np.int32), down_bps=rates_bps, up_bps=rates_bps, latency_s=none,
        round_trips=none, window_bytes=none,
    )  # fmt: skip


def event_us(flows: int, gateways: int, server_share: float) -> float:
    """Microseconds an event; the server can send `server_share` of what the devices could receive."""
    net = network(2 * flows, gateways, server_share * MEAN_BPS * flows)
    sizes = (1e5 + 1e7 * _draws(2 * flows + EVENTS, "sizes")).astype(int).tolist()
    running, started, ended = Flows(net), 0, 0
    for started in range(flows):
        running.start(0, started, started, Direction.DOWN, sizes[started])
    now_ns, before_s = running.next_ns(), 0.0
    while ended < EVENTS // 2:
        if not before_s and ended >= flows // 50:  # the first steps bring the rates into order
            before_s, ended = time.process_time(), 0
        assert now_ns is not None
        for _ in running.advance(now_ns):
            ended += 1
            started += 1
            running.start(now_ns, started, started % (2 * flows), Direction.DOWN, sizes[started % len(sizes)])
        now_ns = running.next_ns()
    return 1e6 * (time.process_time() - before_s) / (2 * ended)


def plain_us(flows: int, gateways: int) -> float:
    """The same for the plain way: the rates of all flows of a tree anew at each event, by progressive filling."""
    net = network(2 * flows, gateways, 0.5 * MEAN_BPS * flows)
    access, gateway = net.down_bps[:flows], net.hop[:flows] - 1
    capacity = np.array([hop.down_bps for hop in net.hops[1:]])
    before_s, pairs = time.process_time(), max(5, 2_000 // flows)
    for _ in range(pairs):  # an end and a start at the same instant are one filling here, as they are in Flows
        _fill(access, gateway, capacity, net.hops[0].down_bps)
    return 1e6 * (time.process_time() - before_s) / (2 * pairs)


def _fill(access: FloatArray, gateway: IndexArray, capacity: FloatArray, server: float) -> FloatArray:
    """Max-min fair rates [flow]: fix who is slow, or who is at the tightest link, again and again."""
    rates, rising, left = np.zeros(len(access)), np.full(len(access), True), capacity.copy()
    while rising.any():
        count = np.bincount(gateway[rising], minlength=len(capacity))
        levels = np.divide(left, count, out=np.full(len(capacity), np.inf), where=count > 0)
        level = min(levels.min(), server / count.sum())
        fixed = rising & (access <= level)
        if not fixed.any():
            fixed = rising & (levels[gateway] == level) if levels.min() == level else rising.copy()
        rates[fixed] = np.minimum(access[fixed], level)
        left -= np.bincount(gateway[fixed], rates[fixed], len(capacity))
        server -= rates[fixed].sum()
        rising &= ~fixed
    return rates


def _draws(count: int, purpose: str) -> FloatArray:
    draws: FloatArray = uniforms(np.array([key(0, purpose)], np.uint64), count)[0]
    return draws


def main() -> None:
    columns: dict[str, Callable[[int], float]] = {
        "star, no bottleneck": lambda flows: event_us(flows, 0, 10.0),
        "star, server full": lambda flows: event_us(flows, 0, 0.5),
        "10 gateways": lambda flows: event_us(flows, 10, 0.5),
        "100 gateways": lambda flows: event_us(flows, 100, 0.5),
        "10 gateways, plain": lambda flows: plain_us(flows, 10),
        "100 gateways, plain": lambda flows: plain_us(flows, 100),
    }
    table = Table(title="microseconds of CPU an event, and that over the value for ten times fewer transfers")
    for heading in ("transfers", *columns):
        table.add_column(heading, justify="right")
    last = dict.fromkeys(columns, 0.0)
    for flows in FLOWS:
        cells = []
        for name, measure in columns.items():
            cost = min(measure(flows) for _ in range(3))
            cells.append(f"{cost:.1f}" + (f"  ×{cost / last[name]:.1f}" if last[name] else ""))
            last[name] = cost
        table.add_row(f"{flows:,}", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
