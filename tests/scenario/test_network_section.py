"""The network of a scenario: what may be written, what is wrong with the rest, and the network it makes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesim.devices.fleet import Fleet, FleetGroup, sample_fleet
from edgesim.devices.network import Direction
from edgesim.devices.profiles import find_device, find_link
from edgesim.document import Document, check
from edgesim.errors import ScenarioError
from edgesim.scenario.network import Network, Star, make_network

TREE = "sharing: max-min\ntopology: {kind: tree, gateways: 3, gateway_down: 10 Mbit/s, gateway_up: 1 Mbit/s%s}\n"
FILE = "sharing: max-min\ntopology: {kind: file, path: net.json, server: %s, gateways: [%s]}\n"


def read(text: str, folder: Path) -> Network:
    return check(Document.parse(text, "x.yaml"), Network, {"folder": folder})


def fleet(count: int = 9) -> Fleet:
    device, link = find_device("raspberry-pi-4", Path()), find_link("wifi-home", Path())
    return sample_fleet([FleetGroup(device=device, share=1, link=link)], count, 0)


def graph(folder: Path) -> None:
    """server - a - b, and an island."""
    edges = [("server", "a"), ("a", "b")]
    links = [{"source": s, "target": t, "down": "5 Mbit/s", "up": "1 Mbit/s", "latency": "4 ms"} for s, t in edges]
    nodes: list[Any] = [{"id": name} for name in ("server", "a", "b", "island")]
    (folder / "net.json").write_text(json.dumps({"nodes": nodes, "edges": links}))


def test_nothing_is_shared_by_default(tmp_path: Path) -> None:
    assert make_network(Network(), fleet(), tmp_path, 0) is None
    assert read("sharing: none\n", tmp_path) == Network()


def test_a_star_shares_the_server(tmp_path: Path) -> None:
    network = make_network(read("{sharing: max-min, server_down: 1 Gbit/s}", tmp_path), fleet(), tmp_path, 0)
    assert network is not None
    assert [(hop.name, hop.down_bps, hop.up_bps) for hop in network.hops] == [("server", 1e9, float("inf"))]
    assert set(network.hop.tolist()) == {0}
    assert network.delay_ns(0, Direction.UP, 0) == round(1e9 * fleet().latency_s[0])


def test_a_tree_has_gateways_with_backhauls(tmp_path: Path) -> None:
    (tmp_path / "busy.csv").write_text("time_h,factor\n0,1\n8,0.5\n24,\n")
    text = TREE % ", gateway_latency: 5 ms, gateway_loss: 10 %%, gateway_trace: busy.csv" % ()
    network = make_network(read(text, tmp_path), fleet(), tmp_path, 0)
    assert network is not None
    assert np.bincount(network.hop).tolist() == [0, 3, 3, 3]
    assert network.delay_ns(0, Direction.UP, 0) == round(1e9 * (fleet().latency_s[0] + 0.005))
    noon_ns = 12 * 3600 * 10**9
    assert network.hops[2].capacity(Direction.DOWN, noon_ns) == round(10e6 * 0.9 * 0.5 * 1e6)


def test_a_file_brings_its_own_network(tmp_path: Path) -> None:
    graph(tmp_path)
    network = make_network(read(FILE % ("server", "b"), tmp_path), fleet(), tmp_path, 0)
    assert network is not None
    assert {network.hops[hop].name for hop in network.hop} == {"b"}
    assert network.delay_ns(0, Direction.UP, 0) == round(1e9 * (fleet().latency_s[0] + 0.008))


def test_kinds_of_devices_can_be_placed(tmp_path: Path) -> None:
    text = TREE % ", placement: {raspberry-pi-4: [gateway-2]}"
    network = make_network(read(text, tmp_path), fleet(), tmp_path, 0)
    assert network is not None
    assert {network.hops[hop].name for hop in network.hop} == {"gateway-2"}


def test_what_was_read_is_written_and_read_again(tmp_path: Path) -> None:
    graph(tmp_path)
    for text in ("{}", TREE % "", FILE % ("server", "b"), "{sharing: max-min, server_up: 2 Mbit/s, topology: star}"):
        choice = read(text, tmp_path)
        assert read(json.dumps(choice.model_dump(mode="json")), tmp_path) == choice


def test_a_bare_word_is_a_star(tmp_path: Path) -> None:
    assert read("{sharing: max-min, topology: star}", tmp_path).topology == Star()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server_down: 1 Gbit/s\n", "x.yaml:1:14: server_down: server_down has no effect with sharing: none"),
        ("topology: {kind: ring}\n", "topology: unknown kind 'ring'; choose one of file, star, tree"),
        ("{sharing: max-min, server_down: 0 bit/s}\n", "server_down: got '0 bit/s'; should be greater than 0"),
        ("{sharing: max-min, server_down: 3 Mb/s}\n", "unknown unit 'Mb/s'"),
        ("{sharing: max-min, server_trace: no.csv}\n", "no.csv: there is no such file"),
        ("{sharing: fair}\n", "sharing: got 'fair'; choose one of max-min, none"),
        (TREE % ", gateway_loss: 1", "gateway_loss: got 1.0; should be less than 1"),
        (TREE % ", placement: {pi: [gateway-3]}", "placement.pi: unknown gateway 'gateway-3'; did you mean gateway-"),
        (TREE % ", placement: {pi: []}", "placement.pi: no gateway; name at least one"),
        (FILE % ("servr", "b"), "topology.server: net.json has no node 'servr'; did you mean server?"),
        (FILE % ("server", "c"), "topology.gateways: net.json has no node 'c'"),
        (FILE % ("server", "island"), "topology.gateways: in net.json no path leads from 'island' to 'server'"),
        (FILE % ("server", "a, a"), "topology.gateways: a gateway is named twice"),
        (FILE % ("server", ""), "topology.gateways: no gateway; name the nodes that devices join"),
        (FILE.replace("net.json", "no.json") % ("server", "a"), "topology.path: "),
    ],
)
def test_a_bad_network_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    graph(tmp_path)
    with pytest.raises(ScenarioError) as caught:
        read(text, tmp_path)
    assert "x.yaml:" in str(caught.value)
    assert message in str(caught.value)
