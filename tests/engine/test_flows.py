"""Flows: closed forms worked by hand, and random networks against progressive filling in exact fractions."""

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from filling import SECOND_NS, Slow
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.cost import transfer_ns
from edgesim.devices.network import Direction, Hop, Network
from edgesim.devices.rate_trace import RateTrace
from edgesim.engine.flows import Flows

DOWN, UP = Direction.DOWN, Direction.UP
MB = 10**6
MBPS = 8 * 10**6  # 1 MB a second


def network(
    access_mb: Sequence[float],
    *,
    server_mb: float = 1e6,
    gateways_mb: Sequence[float] = (),
    hop: Sequence[int] | None = None,
    **more: Any,
) -> Network:
    """Devices of so many MB/s, on gateways 1, 2, … of so many MB/s, before a server (0) of so many MB/s; both ways."""
    hops = [Hop(name="server", parent=None, down_bps=server_mb * MBPS, up_bps=server_mb * MBPS)]
    hops += [
        Hop(name=f"gateway-{n}", parent=0, down_bps=rate * MBPS, up_bps=rate * MBPS)
        for n, rate in enumerate(gateways_mb, 1)
    ]
    return build(hops, access_mb, hop or [0] * len(access_mb), **more)


def build(hops: Sequence[Hop], access_mb: Sequence[float], hop: Sequence[int], **more: Any) -> Network:
    rates = np.array(access_mb, float) * MBPS
    none = np.zeros(len(rates))
    return Network(
        hops=tuple(hops), hop=np.array(hop, np.int32), down_bps=rates, up_bps=rates, latency_s=none, round_trips=none,
        window_bytes=none, **more,
    )  # fmt: skip


def run(flows: Flows) -> dict[int, float]:
    """When each flow completes, in s; to the nearest 10 ns, for a level is rounded down to a whole microbit/s."""
    ends = {}
    while (now_ns := flows.next_ns()) is not None:
        for flow in flows.advance(now_ns):
            ends[flow] = round(now_ns / SECOND_NS, 8)
    return ends


# ── closed forms ────────────────────────────────────────────────────────────────────────────────────
def test_a_flow_alone_takes_its_size_over_its_rate() -> None:
    flows = Flows(network([2.0]))
    flows.start(0, 7, 0, DOWN, 3 * MB)
    assert flows.next_ns() == 1_500_000_000
    assert flows.advance(1_500_000_000) == [7]
    assert flows.next_ns() is None


def test_two_flows_on_one_link_share_it_by_half() -> None:
    """1 MB/s for 1 MB each: both end after 2 s, whatever more their own links could carry."""
    flows = Flows(network([5.0, 7.0], server_mb=1.0))
    flows.start(0, 0, 0, DOWN, MB)
    flows.start(0, 1, 1, DOWN, MB)
    assert flows.rate_bps(0) == flows.rate_bps(1) == MBPS / 2
    assert flows.next_ns() == 2 * SECOND_NS
    assert flows.advance(2 * SECOND_NS) == [0, 1]


def test_a_third_flow_that_arrives_midway_takes_its_third_from_then_on() -> None:
    """1 MB/s; two of 1 MB from 0 s, a third of 1 MB from 1 s.

    At 1 s the two have 0.5 MB left; at 1/3 MB/s each they end at 2.5 s, where the third has 0.5 MB left; alone it
    ends at 3 s.
    """
    flows = Flows(network([9.0] * 3, server_mb=1.0))
    flows.start(0, 0, 0, DOWN, MB)
    flows.start(0, 1, 1, DOWN, MB)
    flows.start(SECOND_NS, 2, 2, DOWN, MB)
    assert run(flows) == {0: 2.5, 1: 2.5, 2: 3.0}


def test_up_and_down_do_not_slow_each_other() -> None:
    flows = Flows(network([1.0], server_mb=1.0))
    flows.start(0, 0, 0, DOWN, MB)
    flows.start(0, 1, 0, UP, MB)
    assert run(flows) == {0: 1.0, 1: 1.0}


def test_rates_are_asymmetric_where_the_link_is() -> None:
    hops = [Hop(name="server", parent=None, down_bps=4 * MBPS, up_bps=MBPS)]
    flows = Flows(build(hops, [9.0, 9.0], [0, 0]))
    for device in (0, 1):
        flows.start(0, device, device, DOWN, 2 * MB)
        flows.start(0, 10 + device, device, UP, 2 * MB)
    assert run(flows) == {0: 1.0, 1: 1.0, 10: 4.0, 11: 4.0}


def test_a_slow_device_leaves_the_rest_of_the_link_to_the_others() -> None:
    """10 MB/s for devices of 1, 20 and 20: 1, and half of the remaining 9 each."""
    flows = Flows(network([1.0, 20.0, 20.0], server_mb=10.0))
    for device in range(3):
        flows.start(0, device, device, DOWN, MB)
    assert [flows.rate_bps(device) / MBPS for device in range(3)] == [1.0, 4.5, 4.5]


@pytest.mark.parametrize("direction", [DOWN, UP])
def test_water_fills_a_tree_of_two_bottlenecks(direction: Direction) -> None:
    """Server 12; gateway 1 of 4 with three devices of 9, 9, 1; gateway 2 of 50 with devices of 2, 9 and 9.

    All rise to 1: device 2 is full. To 1.5: gateway 1 carries 1.5 + 1.5 + 1 = 4, full. To 2: device 3 is full.
    The server has 12 - 4 - 2 = 6 left for devices 4 and 5: 3 each. What goes the other way makes no difference.
    """
    flows = Flows(network([9, 9, 1, 2, 9, 9], server_mb=12, gateways_mb=[4, 50], hop=[1, 1, 1, 2, 2, 2]))
    for device in range(6):
        flows.start(0, device, device, direction, MB)
    flows.start(0, 6, 0, Direction(1 - direction), MB)
    assert [flows.rate_bps(device) / MBPS for device in range(6)] == [1.5, 1.5, 1.0, 2.0, 3.0, 3.0]
    flows.stop(0, 0)  # gateway 1 is full at 3 for device 1; the server has 12 - 4 - 2 for the same two
    assert [flows.rate_bps(device) / MBPS for device in range(6)] == [0.0, 3.0, 1.0, 2.0, 3.0, 3.0]


def test_loss_takes_its_share_of_the_capacity() -> None:
    hops = [Hop(name="server", parent=None, down_bps=MBPS, loss=0.2)]
    flows = Flows(build(hops, [9.0], [0]))
    flows.start(0, 0, 0, DOWN, 4 * MB)
    assert run(flows) == {0: 5.0}


def test_no_byte_moves_and_no_rate_is_taken_while_the_latency_lasts() -> None:
    """1 MB/s; one flow from 0 s, the other from 1 s on: 1 MB is through, then they share."""
    flows = Flows(network([9.0, 9.0], server_mb=1.0))
    flows.start(0, 0, 0, DOWN, 2 * MB)
    flows.start(0, 1, 1, DOWN, MB, delay_ns=SECOND_NS)
    assert (flows.rate_bps(0), flows.rate_bps(1)) == (MBPS, 0.0)
    assert flows.moved(SECOND_NS // 2, 1) == 0
    assert run(flows) == {0: 3.0, 1: 3.0}


def test_an_empty_transfer_still_pays_the_latency() -> None:
    flows = Flows(network([1.0]))
    flows.start(0, 0, 0, DOWN, 0, delay_ns=5)
    flows.start(0, 1, 0, DOWN, 0)
    assert flows.advance(0) == [1]
    assert flows.next_ns() == 5
    assert flows.advance(5) == [0]


def test_a_flow_that_is_stopped_has_moved_whole_bytes_and_frees_its_share() -> None:
    """1 MB/s shared by two: after 1.0000015 s each has moved 500,000.75 B."""
    flows = Flows(network([9.0, 9.0], server_mb=1.0))
    flows.start(0, 0, 0, DOWN, MB)
    flows.start(0, 1, 1, DOWN, MB)
    assert flows.stop(1_000_001_500, 0) == 500_000
    assert flows.rate_bps(1) == MBPS
    # 499,999.25 B are left at 1 MB/s
    assert flows.next_ns() == 1_000_001_500 + 499_999_250


def test_a_flow_stopped_at_the_instant_of_its_end_has_moved_its_size() -> None:
    flows = Flows(network([1.0]))
    flows.start(0, 0, 0, DOWN, MB)
    assert flows.stop(SECOND_NS, 0) == MB
    assert flows.advance(SECOND_NS) == []
    assert flows.next_ns() is None


def test_time_may_leap_over_what_happens() -> None:
    """1 MB/s for 1 MB and 3 MB: the one ends at 2 s, the other has moved 1 MB then, and 2 MB at 3 s."""
    flows = Flows(network([9.0, 9.0], server_mb=1.0))
    flows.start(0, 0, 0, DOWN, MB)
    flows.start(0, 1, 1, DOWN, 3 * MB)
    assert flows.moved(3 * SECOND_NS, 1) == 2 * MB


def test_completed_flows_come_in_the_order_of_their_instants_then_of_their_numbers() -> None:
    """Flow 9 ends at 0.5 s, flows 5 and 3 at 1 s; none of them is lost by a question or a restart before it is told."""
    net = network([1.0, 2.0])
    flows = Flows(net)
    flows.start(0, 5, 0, DOWN, MB)
    flows.start(0, 3, 1, DOWN, 2 * MB)
    flows.start(0, 9, 1, DOWN, MB)
    assert flows.moved(2 * SECOND_NS, 5) == MB
    with pytest.raises(ValueError, match="flow 5 is already under way"):
        flows.start(2 * SECOND_NS, 5, 0, DOWN, MB)
    assert flows.next_ns() == 2 * SECOND_NS
    assert Flows.restored(net, flows.state()).advance(2 * SECOND_NS) == [9, 3, 5]
    assert flows.advance(2 * SECOND_NS) == [9, 3, 5]


@pytest.mark.parametrize(("delay_ns", "end_s"), [(SECOND_NS // 2, 2.0), (2 * SECOND_NS, 3.5)])
def test_a_flow_started_anew_within_its_latency_waits_for_its_new_one(delay_ns: int, end_s: float) -> None:
    """Broken off at 0.5 s of 1 s, then begun again with a latency that ends at the same instant, or later;
    alone on its link it has all of it."""
    flows = Flows(network([9.0], server_mb=1.0))
    flows.start(0, 0, 0, DOWN, MB, delay_ns=SECOND_NS)
    assert flows.stop(SECOND_NS // 2, 0) == 0
    flows.start(SECOND_NS // 2, 0, 0, DOWN, MB, delay_ns=delay_ns)
    assert run(flows) == {0: end_s}


def test_an_empty_transfer_needs_no_rate() -> None:
    flows = Flows(network([0.0]))
    flows.start(0, 0, 0, DOWN, 0)
    assert flows.advance(0) == [0]


def test_a_stopped_flow_resumes_with_what_is_left() -> None:
    flows = Flows(network([1.0]))
    flows.start(0, 0, 0, DOWN, MB)
    moved = flows.stop(SECOND_NS // 4, 0)
    flows.start(3 * SECOND_NS, 0, 0, DOWN, MB - moved)
    assert run(flows) == {0: 3.75}


def test_a_trace_changes_the_rate_at_its_instants() -> None:
    """1 MB/s for 2 s, nothing for 1 s, half for 1 s, and again: 5 MB take 2 + 0.5 + 2 MB in 7 s, and 1 s more."""
    trace = RateTrace(starts_ns=(0, 2 * SECOND_NS, 3 * SECOND_NS), factors=(1, 0, 0.5), period_ns=4 * SECOND_NS)
    hops = [Hop(name="server", parent=None, down_bps=MBPS, trace=trace)]
    flows = Flows(build(hops, [9.0], [0]))
    flows.start(0, 0, 0, DOWN, 5 * MB)
    seen = []
    while (now_ns := flows.next_ns()) is not None:
        done = flows.advance(now_ns)
        seen.append((now_ns // SECOND_NS, done, flows.rate_bps(0) / MBPS))
    assert seen == [
        (2, [], 0.0), (3, [], 0.5), (4, [], 1.0), (6, [], 0.0), (7, [], 0.5), (8, [0], 0.0)
    ]  # fmt: skip


def test_the_server_and_all_devices_slow_down_at_one_instant() -> None:
    """1.5 MB/s for two of 1 MB/s, all a tenth of that from 1 s on: 0.75 MB are through, and the rest goes at 0.075 MB/s
    each. What limited them before is more than any of them can send now."""
    trace = RateTrace(starts_ns=(0, SECOND_NS), factors=(1, 0.1), period_ns=100 * SECOND_NS)
    hops = [Hop(name="server", parent=None, down_bps=1.5 * MBPS, trace=trace)]
    flows = Flows(build(hops, [1.0, 1.0], [0, 0], device_trace=trace))
    for device in (0, 1):
        flows.start(0, device, device, DOWN, MB)
    assert run(flows) == {0: pytest.approx(1 + 0.25 / 0.075), 1: pytest.approx(1 + 0.25 / 0.075)}


def test_a_trace_is_no_event_while_nothing_flows() -> None:
    trace = RateTrace(starts_ns=(0, 1), factors=(1, 0.5), period_ns=2)
    hops = [Hop(name="server", parent=None, down_bps=MBPS, trace=trace)]
    flows = Flows(build(hops, [1.0], [0]))
    assert flows.next_ns() is None
    assert flows.advance(10**15) == []


def test_devices_read_their_trace_from_points_of_their_own() -> None:
    """1 MB/s for 1 s, then 0.5 MB/s for 1 s; device 1 is half a period ahead: 2 MB take 1 + 1 + 0.5 s either way.

    Device 0 moves 1 + 0.5 + 0.5 MB by 2.5 s; device 1 moves 0.5 + 1 + 0.5 MB by 3 s.
    """
    trace = RateTrace(starts_ns=(0, SECOND_NS), factors=(1, 0.5), period_ns=2 * SECOND_NS)
    offset_ns = np.array([0, SECOND_NS])
    flows = Flows(network([1.0, 1.0], device_trace=trace, trace_offset_ns=offset_ns))
    flows.start(0, 0, 0, DOWN, 2 * MB)
    flows.start(0, 1, 1, DOWN, 2 * MB)
    assert run(flows) == {0: 2.5, 1: 3.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flows: flows.start(5, 0, 0, DOWN, 1), "flow 0 is already under way"),
        (lambda flows: flows.start(5, 1, 0, DOWN, -1), "neither may be negative"),
        (lambda flows: flows.start(5, 1, 0, DOWN, 1, -1), "neither may be negative"),
        (lambda flows: flows.start(4, 1, 0, DOWN, 1), "time 4 ns is before 5 ns"),
        (lambda flows: flows.moved(5, 9), "flow 9 is not under way"),
        (lambda flows: flows.stop(5, 9), "flow 9 is not under way"),
    ],
)
def test_calls_that_cannot_be_are_refused(call: Any, message: str) -> None:
    flows = Flows(network([1.0]))
    flows.start(0, 0, 0, DOWN, MB)
    flows.advance(5)
    with pytest.raises(ValueError, match=message):
        call(flows)


@given(rate_bps=st.floats(100, 1e10), size=st.integers(0, 10**9))
def test_on_an_unlimited_star_a_transfer_takes_what_it_takes_alone(rate_bps: float, size: int) -> None:
    """Its rate is rounded to whole microbit/s, its end up to the next ns."""
    flows = Flows(network([rate_bps / MBPS]))
    flows.start(0, 0, 0, DOWN, size, delay_ns=20_000_000)
    alone_ns = transfer_ns(size, rate_bps, 0.02)
    while not flows.advance(flows.next_ns() or 0):
        pass
    assert abs(flows.state()["now_ns"] - alone_ns) <= 2 + alone_ns * 1e-6 / rate_bps


# ── random networks ─────────────────────────────────────────────────────────────────────────────────
traces = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4).map(
    lambda factors: RateTrace(
        starts_ns=tuple(n * SECOND_NS // 3 for n in range(len(factors) + 1)),
        factors=(*factors, 1.0),
        period_ns=2 * SECOND_NS,
    )
)


@st.composite
def worlds(draw: st.DrawFn, *, traced: bool = False) -> Network:
    """A tree of up to 6 hops of few distinct capacities, so that ties and equal devices are common."""
    trace = st.none() | traces if traced else st.none()
    rate = st.sampled_from([1.0, 2.0, 3.0, 7.0, 20.0])
    hops = [
        Hop(
            name=str(number),
            parent=draw(st.integers(0, number - 1)) if number else None,
            down_bps=draw(rate) * MBPS if draw(st.booleans()) else float("inf"),
            trace=draw(trace),
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    access = draw(st.lists(st.sampled_from([0.5, 1.0, 1.0, 2.5, 9.0]), min_size=1, max_size=8))
    hop = [draw(st.integers(0, len(hops) - 1)) for _ in access]
    return build(hops, access, hop, device_trace=draw(trace), trace_offset_ns=np.arange(len(access)) * 10**8)


arrivals = st.lists(
    st.tuples(
        st.integers(0, 3 * SECOND_NS),
        st.integers(0, 7),
        st.integers(1, 3 * MB),
        st.none() | st.integers(0, 3 * SECOND_NS),
    ),
    min_size=1,
    max_size=12,
)
"""(when, device, size, after how long it is stopped if it still flows)"""


def path(net: Network, device: int) -> list[str]:
    """The names of the links that a download crosses."""
    names, hop = [f"device-{device}"], int(net.hop[device])
    while True:
        names.append(net.hops[hop].name)
        parent = net.hops[hop].parent
        if parent is None:
            return names
        hop = parent


def calls(jobs: list[Any], devices: int) -> list[tuple[int, str, int, int, int]]:
    """(when, start or stop, flow, device, size), in time; at one instant starts in reverse order."""
    found = []
    for flow, (at_ns, device, size, after_ns) in enumerate(jobs):
        found.append((at_ns, "start", flow, device % devices, size))
        if after_ns is not None:
            found.append((at_ns + after_ns + 1, "stop", flow, 0, 0))
    return sorted(found, key=lambda call: (call[0], -call[2]))


@given(net=worlds(), jobs=arrivals)
def test_random_trees_agree_with_progressive_filling(net: Network, jobs: list[Any]) -> None:
    slow, flows, ends = Slow(), Flows(net), dict[int, int]()
    for hop in net.hops:
        if hop.down_bps < float("inf"):
            slow.capacity[hop.name] = Fraction(hop.down_bps)
    for device, rate in enumerate(net.down_bps):
        slow.capacity[f"device-{device}"] = Fraction(float(rate))

    def advance(now_ns: int) -> None:
        while (next_ns := flows.next_ns()) is not None and next_ns <= now_ns:
            ends.update(dict.fromkeys(flows.advance(next_ns), next_ns))
        ends.update(dict.fromkeys(flows.advance(now_ns), now_ns))

    for at_ns, what, flow, device, size in calls(jobs, len(net)):
        slow.advance(at_ns)
        advance(at_ns)
        if what == "start":
            # several flows of a device share its access link in the reference; here each has it to itself
            slow.capacity[f"access-{flow}"] = slow.capacity[f"device-{device}"]
            slow.start(flow, size, [f"access-{flow}", *path(net, device)[1:]])
            flows.start(at_ns, flow, device, DOWN, size)
        elif flow in slow.left and flow not in ends:
            expected = (8 * size - slow.left[flow]) / 8
            moved = flows.stop(at_ns, flow)
            assert abs(jobs[flow][2] + expected - moved) <= 2
            slow.stop(flow)
    slow.advance(10**15)
    advance(10**15)
    assert ends.keys() == slow.done.keys()
    # each end is rounded up, and levels down, to whole units; a flow that ends late by 1 ns delays those that follow
    assert all(abs(ends[flow] - slow.done[flow]) <= 20 for flow in ends)


@given(net=worlds(traced=True), jobs=arrivals, seed=st.integers(0, 99))
def test_looking_and_restoring_midway_change_nothing(net: Network, jobs: list[Any], seed: int) -> None:
    """One run is left alone; in the other, at random instants, all is asked for and the state is restored."""
    plain, chance = Flows(net), random.Random(seed)
    watched = Flows(net)
    logs: tuple[list[Any], list[Any]] = ([], [])
    for at_ns, what, flow, device, size in [*calls(jobs, len(net)), (10**15, "end", 0, 0, 0)]:
        for flows, log in ((plain, logs[0]), (watched, logs[1])):
            while (next_ns := flows.next_ns()) is not None and next_ns <= at_ns:
                if flows is watched and chance.random() < 0.5:
                    flows = watched = look(watched, next_ns, chance)
                log += [(next_ns, done) for done in flows.advance(next_ns)]
            log += flows.advance(at_ns)
            if what == "start":
                flows.start(at_ns, flow, device, DOWN, size, delay_ns=size % 1000)
            elif what == "stop" and all(flow != done for _, done in log):
                log.append((-1, -flows.stop(at_ns, flow)))
    assert logs[0] == logs[1]
    assert len(logs[0]) == len(jobs)


def look(flows: Flows, before_ns: int, chance: random.Random) -> Flows:
    """Ask the rates and bytes of all at some instants before the next event, then restore the state."""
    now_ns = flows.state()["now_ns"]
    for at_ns in sorted(chance.randrange(now_ns, before_ns + 1) for _ in range(2)):
        if at_ns < before_ns:
            for number, *_ in flows.state()["flows"]:
                flows.rate_bps(number)
                flows.moved(at_ns, number)
    return Flows.restored(flows._network, flows.state())


@given(net=worlds(), jobs=arrivals)
def test_no_link_carries_more_than_its_capacity_and_no_flow_could_have_more(net: Network, jobs: list[Any]) -> None:
    """The two sides of max-min fairness: every flow crosses a full link on which none is faster (to 12 microbit/s)."""
    flows = Flows(net)
    devices = [device % len(net) for _, device, _, _ in jobs]
    for flow, device in enumerate(devices):
        flows.start(0, flow, device, DOWN, MB)
    rates = {flow: flows.rate_bps(flow) for flow in range(len(jobs))}
    crossing = {
        hop.name: [flow for flow, device in enumerate(devices) if hop.name in path(net, device)] for hop in net.hops
    }
    for hop in net.hops:
        assert sum(rates[flow] for flow in crossing[hop.name]) <= hop.down_bps + 1e-5
    for flow, device in enumerate(devices):
        full = [
            hop.name
            for hop in net.hops
            if flow in crossing[hop.name]
            and sum(rates[other] for other in crossing[hop.name]) >= hop.down_bps - 2e-5
            and rates[flow] >= max(rates[other] for other in crossing[hop.name]) - 2e-5
        ]
        assert full or rates[flow] == net.down_bps[device]


@pytest.mark.parametrize("distinct", [1, 10_000])
def test_a_full_server_delivers_its_capacity_whatever_comes_and_goes(distinct: int) -> None:
    """3 MB/s for devices of 1 MB/s and more: at any time 3 bytes a µs have got through, to one byte a flow."""
    chance = random.Random(distinct)
    access = [1 + chance.randrange(distinct) / distinct for _ in range(150)]
    net = network(access, server_mb=3, gateways_mb=[2, 2, 2, 9], hop=[1 + n % 4 for n in range(150)])
    flows, sizes, past = Flows(net), dict[int, int](), 0
    now_ns = number = 0
    for _ in range(3000):
        for flow in flows.advance(now_ns):
            past += sizes.pop(flow)
        while len(sizes) < 100 or chance.random() < 0.3:
            number += 1
            sizes[number] = chance.randrange(100, 50_000)
            flows.start(now_ns, number, chance.randrange(150), DOWN, sizes[number])
        if chance.random() < 0.5:
            flow = chance.choice(list(sizes))
            past += flows.stop(now_ns, flow)
            del sizes[flow]
        next_ns = flows.next_ns()
        assert next_ns is not None
        now_ns = next_ns if chance.random() < 0.8 else chance.randrange(now_ns, next_ns + 1)
    through = past + sum(flows.moved(now_ns, flow) for flow in sizes)
    assert 0 <= 3 * now_ns / 1000 - through <= number + 1


def test_a_thousand_flows_with_rates_of_their_own_agree_with_progressive_filling() -> None:
    """More distinct rates than a block holds; 40 gateways, of which some are full and some are not."""
    chance = random.Random(5)
    access = [chance.lognormvariate(0, 1) for _ in range(1000)]
    hop = [1 + device % 40 for device in range(1000)]
    net = network(access, server_mb=500, gateways_mb=[5 + n for n in range(40)], hop=hop)
    flows = Flows(net)
    for device in range(1000):
        flows.start(0, device, device, DOWN, 10**12)
    order = list(range(1000))
    chance.shuffle(order)
    for device in order[:300]:
        flows.stop(0, device)
    staying = order[300:]
    expected = {}
    level = _server_level(net, staying)
    for device in staying:
        own = _level([net.down_bps[d] for d in staying if hop[d] == hop[device]], net.hops[hop[device]].down_bps)
        expected[device] = min(float(net.down_bps[device]), level, own)
    got = [flows.rate_bps(device) for device in staying]
    assert got == pytest.approx([expected[device] for device in staying], rel=1e-9)


def _level(rates: Sequence[float], capacity: float) -> float:
    """The level at which flows of these access rates fill a link."""
    left, remaining = capacity, sorted(rates)
    while remaining and remaining[0] * len(remaining) <= left:
        left -= remaining.pop(0)
    return left / len(remaining) if remaining else float("inf")


def _server_level(net: Network, devices: Sequence[int]) -> float:
    low, high = 0.0, 1e12
    for _ in range(100):
        middle = (low + high) / 2
        carried = 0.0
        for number, hop in enumerate(net.hops[1:], 1):
            carried += min(hop.down_bps, sum(min(net.down_bps[d], middle) for d in devices if net.hop[d] == number))
        low, high = (middle, high) if carried <= net.hops[0].down_bps else (low, middle)
    return low
