"""Networks: routes and capacities by hand, and files whose every mistake is named with its place."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet, FleetGroup, sample_fleet
from edgesim.devices.graphfile import read_graph
from edgesim.devices.link import Link
from edgesim.devices.network import Direction, Hop, Network, attach
from edgesim.devices.rate_trace import RateTrace, read_trace
from edgesim.devices.topology import route, star, tree
from edgesim.errors import ScenarioError

SECOND_NS = 10**9
INF = float("inf")
LINK = Link(name="wifi", down_bps=8e6, up_bps=4e6, latency_s=0.02, receive_w=0.5, send_w=0.5)


def board(name: str) -> Device:
    return Device(
        name=name, device_class="sbc", compute_flops=1e9, bandwidth_bytes_per_s=1e9, step_overhead_s=0,
        sparse_efficiency=0.5, ram_bytes=1e9, usable=1, idle_w=1, training_w=2,
    )  # fmt: skip


def fleet(count: int) -> Fleet:
    """Half boards, half phones."""
    return sample_fleet([FleetGroup(device=board(name), share=0.5, link=LINK) for name in ("board", "phone")], count, 1)


def edge(latency_ms: float, **more: Any) -> dict[str, Any]:
    return {"down_bps": 1e6, "up_bps": 1e6, "latency_s": latency_ms / 1e3, "loss": 0.0, "trace": None, **more}


# ── routes ──────────────────────────────────────────────────────────────────────────────────────────
def test_the_way_of_a_node_is_the_one_of_least_latency() -> None:
    """a - server takes 9 ms, a - b - server 3 + 2."""
    graph = nx.Graph([("server", "a", edge(9)), ("server", "b", edge(2)), ("a", "b", edge(3, down_bps=5e6))])
    hops = route(graph, Hop(name="server", parent=None))
    assert [(hop.name, hop.parent, hop.latency_s, hop.down_bps) for hop in hops] == [
        ("server", None, 0.0, INF), ("b", 0, 0.002, 1e6), ("a", 1, 0.003, 5e6)
    ]  # fmt: skip


def test_of_equally_long_ways_the_one_of_fewer_edges_wins_and_then_the_first_name() -> None:
    """far: 4 ms over b, over c, and over b and d with an edge of 0 ms. Names are given in no order."""
    edges = [("c", "far", edge(2)), ("d", "far", edge(2)), ("server", "c", edge(2)), ("b", "d", edge(0)),
             ("b", "far", edge(2)), ("server", "b", edge(2))]  # fmt: skip
    for graph in (nx.Graph(edges), nx.Graph(edges[::-1])):
        hops = route(graph, Hop(name="server", parent=None))
        parent = {hop.name: hops[hop.parent].name for hop in hops if hop.parent is not None}
        assert parent == {"b": "server", "c": "server", "d": "b", "far": "b"}


def test_latencies_are_equal_that_are_the_same_number_of_nanoseconds() -> None:
    """1.311 s + 0.7 s are less than 2.011 s in floating point; as long, the way of one edge wins."""
    assert 1e9 * 1.311 + 1e9 * 0.7 < 1e9 * 2.011
    graph = nx.Graph([("server", "b", edge(1311)), ("b", "far", edge(700)), ("server", "far", edge(2011))])
    hops = route(graph, Hop(name="server", parent=None))
    assert {hop.name: hop.parent for hop in hops} == {"server": None, "b": 0, "far": 0}


@given(st.data())
def test_ways_are_as_short_as_those_that_networkx_finds(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 9))
    pairs = [(str(one), str(other)) for one in range(size) for other in range(one)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    graph: nx.Graph[str] = nx.Graph([(*pair, edge(data.draw(st.integers(0, 5)))) for pair in chosen])
    graph.add_node("0")
    hops = route(graph, Hop(name="0", parent=None))
    length = dict(nx.single_source_dijkstra_path_length(graph, "0", weight="latency_s"))
    total: list[float] = []
    for number, hop in enumerate(hops):
        assert hop.parent is None or hop.parent < number
        total.append(hop.latency_s + (0 if hop.parent is None else total[hop.parent]))
    assert {hop.name: total[n] for n, hop in enumerate(hops)} == pytest.approx(length)


def test_a_route_needs_the_server() -> None:
    with pytest.raises(ValueError, match="the graph has no node 'here'"):
        route(star(), Hop(name="here", parent=None))


def test_a_way_of_too_many_links_is_refused() -> None:
    graph = nx.Graph([(str(n), str(n + 1), edge(1)) for n in range(101)])
    with pytest.raises(ValueError, match="the way from '101' to '0' has more than 100 links"):
        route(graph, Hop(name="0", parent=None))


# ── devices on a network ────────────────────────────────────────────────────────────────────────────
def test_devices_are_spread_evenly_where_their_kind_may_join_and_latencies_add_up() -> None:
    """Boards join gateway 0 only, phones any of three; 20 ms of their own, 5 of the backhaul and 1 of the server."""
    hops = route(tree(3, down_bps=1e7, up_bps=1e6, latency_s=0.005), Hop(name="server", parent=None, latency_s=0.001))
    devices = fleet(22)
    network = attach(hops, devices, [[1], [1, 2, 3]], seed=4)
    boards = devices.device_class == 0
    assert set(network.hop[boards].tolist()) == {1}
    assert sorted(np.bincount(network.hop[~boards])[1:].tolist()) == [3, 4, 4]
    assert network.delay_ns(0, Direction.UP, 0) == 26_000_000
    assert attach(hops, devices, [[1], [1, 2, 3]], seed=4).hop.tolist() == network.hop.tolist()
    assert attach(hops, devices, [[1], [1, 2, 3]], seed=5).hop.tolist() != network.hop.tolist()


@pytest.mark.parametrize("count", [3, 10, 14, 21])
def test_devices_of_several_kinds_are_spread_evenly_in_all(count: int) -> None:
    """Five boards and five phones at two gateways are five and five; each kind from the first on they were six and
    four, and ten kinds of one device each all at the first."""
    hops = route(tree(4, down_bps=1e7, up_bps=1e6), Hop(name="server", parent=None))
    devices = fleet(count)
    for among in ([1, 2], [1, 2, 3, 4]):
        network = attach(hops, devices, [among, among], seed=4)
        for chosen in (devices.device_class >= 0, devices.device_class == 0, devices.device_class == 1):
            found = np.bincount(network.hop[chosen], minlength=5)[among]
            assert found.max() - found.min() <= 1


def test_kinds_of_one_device_each_take_turns() -> None:
    """Of four at two gateways two are at each."""
    devices = sample_fleet([FleetGroup(device=board(name), share=0.25, link=LINK) for name in "abcd"], 4, 1)
    hops = route(tree(2, down_bps=1e7, up_bps=1e6), Hop(name="server", parent=None))
    assert np.bincount(attach(hops, devices, [[1, 2]] * 4, seed=4).hop).tolist() == [0, 2, 2]


def test_rates_and_latencies_are_rounded_and_not_cut_off() -> None:
    """1.001 in millionths, or in billionths, is a little less than a whole number in floating point."""
    assert 1.001 * 1e6 < 1_001_000
    one = np.array([1.001])
    network = replace(small([Hop(name="g", parent=None, down_bps=1.001)], 0), down_bps=one, latency_s=one)
    assert network.access(0, Direction.DOWN, 0) == network.hops[0].capacity(Direction.DOWN, 0) == 1_001_000
    assert network.delay_ns(0, Direction.UP, 0) == 1_001_000_000


def test_capacities_are_asymmetric_and_lose_what_is_lost() -> None:
    hop = Hop(name="gateway", parent=None, down_bps=10e6, up_bps=1e6, loss=0.1)
    assert hop.capacity(Direction.DOWN, 0) == 9 * 10**12
    assert hop.capacity(Direction.UP, 0) == 9 * 10**11
    assert Hop(name="gateway", parent=None).capacity(Direction.UP, 0) is None


def test_a_trace_scales_a_capacity_and_stops_even_an_unlimited_one() -> None:
    trace = RateTrace(starts_ns=(0, 10), factors=(0.5, 0.0), period_ns=20)
    hop = Hop(name="server", parent=None, down_bps=1e6, trace=trace)
    assert [hop.capacity(Direction.DOWN, at) for at in (0, 9, 10, 19, 20, 1030)] == [5 * 10**11] * 2 + [0] * 2 + [
        5 * 10**11, 0
    ]  # fmt: skip
    assert [hop.capacity(Direction.UP, at) for at in (0, 10)] == [None, 0]
    assert [hop.next_change_ns(at) for at in (0, 9, 10, 19, 20)] == [10, 10, 20, 20, 30]


def test_every_device_reads_its_trace_from_a_point_of_its_own() -> None:
    trace = RateTrace(starts_ns=(0, 3 * SECOND_NS), factors=(1.0, 0.5), period_ns=4 * SECOND_NS)
    network = attach(route(star(), Hop(name="server", parent=None)), fleet(50), [[0], [0]], 3, device_trace=trace)
    slow = sum(network.access(device, Direction.DOWN, 0) == 4 * 10**12 for device in range(50))
    assert 3 <= slow <= 24  # a quarter of 50 is 12.5
    for device, since_ns in product(range(50), (0, 2 * SECOND_NS, 10**15 + 7)):
        change_ns = network.next_access_change_ns(device, since_ns)
        assert change_ns is not None
        assert 0 < change_ns - since_ns <= 3 * SECOND_NS
        first, before, after = (network.access(device, Direction.UP, at) for at in (since_ns, change_ns - 1, change_ns))
        assert (first, {before, after}) == (before, {4 * 10**12, 2 * 10**12})


def test_without_a_trace_no_rate_changes() -> None:
    network = attach(route(star(), Hop(name="server", parent=None)), fleet(2), [[0], [0]], 3)
    assert network.access(1, Direction.DOWN, 10**15) == network.access(1, Direction.DOWN, 0) == 8 * 10**12
    assert (network.next_access_change_ns(1, 0), network.hops[0].next_change_ns(0)) == (None, None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hop(name="g", parent=None, down_bps=0), "hop g: down_bps 0 must be above 0"),
        (lambda: Hop(name="g", parent=None, loss=1), r"hop g: loss 1 must lie in \[0, 1\)"),
        (lambda: Hop(name="g", parent=None, latency_s=-1), "hop g: latency_s -1 must not be negative"),
        (lambda: RateTrace(starts_ns=(1,), factors=(1,), period_ns=2), "the first at 0"),
        (lambda: RateTrace(starts_ns=(0, 5), factors=(1, 1), period_ns=5), "times must increase"),
        (lambda: RateTrace(starts_ns=(), factors=(), period_ns=5), "one each, the first at 0"),
        (lambda: RateTrace(starts_ns=(0, 1), factors=(1,), period_ns=5), "one each, the first at 0"),
        (lambda: RateTrace(starts_ns=(0, 1), factors=(1, -1), period_ns=5), "each must be 0 or more"),
        (lambda: RateTrace(starts_ns=(0, 1), factors=(1, INF), period_ns=5), "and finite"),
        (lambda: RateTrace(starts_ns=(0, 2), factors=(0, 0), period_ns=5), "factors are 0 throughout"),
        (lambda: small([Hop(name="g", parent=0)], 0), "hop g: parent 0 must be a hop before it"),
        (lambda: small([Hop(name="g", parent=None)], 1, 0), "devices join at hops 0 to 1; there are 1"),
        (lambda: small([Hop(name="g", parent=None)], 0, -1), "devices join at hops -1 to 0; there are 1"),
    ],
)
def test_figures_out_of_their_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def small(hops: list[Hop], *hop: int) -> Network:
    one = np.ones(len(hop))
    return Network(
        hops=tuple(hops), hop=np.array(hop, np.int32), down_bps=one, up_bps=one, latency_s=one, round_trips=0 * one,
        window_bytes=0 * one,
    )  # fmt: skip


# ── trace files ─────────────────────────────────────────────────────────────────────────────────────
def test_a_trace_file_is_read_with_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "lte.csv"
    path.write_text("time_min,factor\n0,1\n0.5,0.25\n\n2,\n")
    expected = RateTrace(starts_ns=(0, 30 * SECOND_NS), factors=(1.0, 0.25), period_ns=120 * SECOND_NS)
    assert read_trace(path) == expected


def test_a_trace_file_may_tell_of_outages_and_end_without_a_comma(tmp_path: Path) -> None:
    """1.001 s are a nanosecond less in floating point, cut off: times are rounded."""
    path = tmp_path / "lte.csv"
    path.write_text("time_s,factor\n0,1\n1.001,0\n2")
    assert read_trace(path) == RateTrace(starts_ns=(0, 1_001_000_000), factors=(1.0, 0.0), period_ns=2 * SECOND_NS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lte.csv:1: got the header ''; write time_s,factor"),
        ("time,factor\n0,1\n9,\n", "lte.csv:1: got the header 'time,factor'; write time_s,factor"),
        ("time_s,rate\n0,1\n9,\n", "lte.csv:1: got the header 'time_s,rate'"),
        ("time_s,factor\n9,\n", "lte.csv: has no factor"),
        ("time_us,factor\n0,1\n5,\n", "lte.csv:3: the trace begins again after 5, which is less than a millis"),
        ("time_s,factor\n0,0\n5,0\n9,\n", "lte.csv: its factors are 0 throughout, so nothing could ever be sent"),
        ("time_s,factor\n1,1\n9,\n", "lte.csv:2: the first time is 1; a trace begins at 0"),
        ("time_s,factor\n0,1\n5,0.5\n5,\n", "lte.csv:4: time 5 is not after the row before"),
        ("time_s,factor\n0,1\n5,-0.5\n6,\n", "lte.csv:3: got the factor '-0.5'; write a number, 0 or more"),
        ("time_s,factor\n0,fast\n6,\n", "lte.csv:2: got the factor 'fast'"),
        ("time_s,factor\n0,1\nnan,1\n6,\n", "lte.csv:3: got the time 'nan'"),
        ("time_s,factor\n0\n6,\n", "lte.csv:2: got 1 columns; write time and factor"),
        ("time_s,factor\n0,1,2\n6,\n", "lte.csv:2: got 3 columns"),
        ("time_s,factor\n0,1\n6,1\n", "lte.csv:3: the last row ends the trace, it has a time and no factor"),
    ],
)
def test_a_bad_trace_file_is_refused_with_its_row(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lte.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_trace(path)
    assert message in str(caught.value)


def test_a_missing_trace_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"lte\.csv: there is no such file"):
        read_trace(tmp_path / "lte.csv")


# ── graph files ─────────────────────────────────────────────────────────────────────────────────────
GOOD: dict[str, Any] = {
    "nodes": [{"id": "cloud", "x": 3}, {"id": 7}, {"id": "hall"}],
    "edges": [
        {"source": "cloud", "target": 7, "down": "1 Gbit/s", "up": "200 Mbit/s", "latency": "2 ms"},
        {"source": "hall", "target": 7, "down": "50 Mbit/s", "up": "5 Mbit/s", "latency": "1 ms", "loss": "10 %"},
    ],
}
HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">' + "".join(
    f'<key id="{name}" for="edge" attr.name="{name}" attr.type="string"/>' for name in ("down", "up", "latency")
)
EDGE = '<edge source="a" target="b"><data key="down">9 Mbit/s</data><data key="up">1 Mbit/s</data>{}</edge>'
GRAPH = HEAD + '<graph edgedefault="{}"><node id="a"/><node id="b"/>' + EDGE + "</graph></graphml>"
LATENCY = '<data key="latency">3 ms</data>'


def test_a_json_graph_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    for form in (GOOD, {"nodes": GOOD["nodes"], "links": GOOD["edges"], "directed": False, "multigraph": False}):
        path.write_text(json.dumps(form))
        graph = read_graph(path)
        assert sorted(graph) == ["7", "cloud", "hall"]
        assert graph.edges["hall", "7"] == edge(1, down_bps=50e6, up_bps=5e6, loss=0.1)


def test_a_graphml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.graphml"
    path.write_text(GRAPH.format("undirected", LATENCY))
    assert list(read_graph(path).edges(data=True)) == [("a", "b", edge(3, down_bps=9e6, up_bps=1e6))]


def test_what_networkx_writes_is_read_back(tmp_path: Path) -> None:
    graph: nx.Graph[str] = nx.Graph([("a", "b", {"down": "9 Mbit/s", "up": "1 Mbit/s", "latency": "3 ms"})])
    nx.write_graphml(graph, tmp_path / "net.graphml")
    (tmp_path / "net.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    for name in ("net.graphml", "net.json"):
        assert read_graph(tmp_path / name).edges["a", "b"] == edge(3, down_bps=9e6, up_bps=1e6)


def test_the_trace_of_an_edge_lies_beside_the_graph(tmp_path: Path) -> None:
    (tmp_path / "busy.csv").write_text("time_s,factor\n0,1\n1,0.5\n2,\n")
    text = json.dumps({**GOOD, "edges": [{**GOOD["edges"][0], "trace": "busy.csv"}]})
    (tmp_path / "net.json").write_text(text)
    trace = read_graph(tmp_path / "net.json").edges["cloud", "7"]["trace"]
    assert trace.factors == (1.0, 0.5)


def bent(**change: Any) -> str:
    """The good file with its second edge changed; None takes an attribute out."""
    changed = {name: value for name, value in {**GOOD["edges"][1], **change}.items() if value is not None}
    return json.dumps({**GOOD, "edges": [GOOD["edges"][0], changed]}, indent=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bent(target="hal"), "edge hall–hal: unknown node 'hal'; did you mean hall?"),
        (bent(latency=None), "net.json:22:3: edges.1.latency: missing"),
        (bent(down="5 Mb/s"), "edges.1.down: '5 Mb/s': unknown unit 'Mb/s'"),
        (bent(up="0 bit/s"), "edges.1.up: got '0 bit/s'; should be greater than 0"),
        (bent(loss=1), "edges.1.loss: got 1; should be less than 1"),
        (bent(latncy="1 ms"), "edges.1.latncy: unknown key; did you mean latency?"),
        (bent(target="hall"), "edge hall–hall leads back to its own node"),
        (bent(source="cloud"), "edge cloud–7 is there twice"),
        (bent(trace="no.csv"), "no.csv: there is no such file"),
        (json.dumps({**GOOD, "nodes": [*GOOD["nodes"], {"id": "7"}]}), "two nodes are named '7'"),
        (json.dumps({**GOOD, "directed": True}), "directed: got true"),
        ('{"nodes": [', "net.json:"),
    ],
)
def test_a_bad_json_graph_is_refused_with_its_element(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_graph(path)
    assert str(path.parent) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GRAPH.format("undirected", ""), "net.graphml: edge a–b: latency: missing (of this link alone, e.g. 5 ms)"),
        (GRAPH.format("undirected", LATENCY.replace("ms", "")), "edge a–b: latency: missing unit in '3 '"),
        (GRAPH.format("directed", LATENCY), "the graph is directed or has parallel edges"),
        (GRAPH.replace('<node id="b"/>', "").format("undirected", LATENCY), "edge a–b: unknown node 'b'"),
        ("<graphml>", "not a GraphML file: no element found: line 1"),
        ("<other/>", "not a GraphML file"),
    ],
)
def test_a_bad_graphml_file_is_refused_with_its_element(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "net.graphml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_graph(path)
    assert message in str(caught.value)


def test_a_graph_file_is_known_by_its_ending(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"net\.gml: a network is a \.graphml or a \.json file"):
        read_graph(tmp_path / "net.gml")
