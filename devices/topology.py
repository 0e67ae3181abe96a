"""Topology: the graph of shared links, and the hops that its shortest paths to the server make.

An edge of the graph has `down_bps` and `up_bps` (down is towards the devices, up towards the server),
`latency_s`, `loss` and `trace` (devices/network.py says what they mean). Devices are no nodes of it, so a
graph is as small as what is shared.
"""

from heapq import heappop, heappush

import networkx as nx

from edgesim.devices.network import Hop
from edgesim.devices.rate_trace import RateTrace

SERVER = "server"
_LONGEST = 100  # links on a way: rates are worked out link by link, each calling the one behind it


def star() -> "nx.Graph[str]":
    """Only the server; devices reach it over their own links."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_node(SERVER)
    return graph


def tree(
    gateways: int,
    *,
    down_bps: float,
    up_bps: float,
    latency_s: float = 0.0,
    loss: float = 0.0,
    trace: RateTrace | None = None,
) -> "nx.Graph[str]":
    """The server and so many edge gateways, gateway-0 and on, each behind a backhaul of these figures."""
    graph = star()
    for number in range(gateways):
        figures = {"down_bps": down_bps, "up_bps": up_bps, "latency_s": latency_s, "loss": loss, "trace": trace}
        graph.add_edge(SERVER, f"gateway-{number}", **figures)
    return graph


def route(graph: "nx.Graph[str]", server: Hop) -> tuple[Hop, ...]:
    """The hops of all nodes from which the server can be reached, each after its parent.

    The first is the server's own connection, `server`, at the node of that name; a node's hop is the edge by
    which its shortest path begins. Shortest is by latency, then by number of edges, then by the next node's
    name. (Dijkstra 1959; latencies in whole ns, so that equal ones are equal.)

    Raises:
        ValueError: a graph without that node, a way of more than 100 links, or an edge whose figures are out of
            their range.
    """
    if server.name not in graph:
        raise ValueError(f"the graph has no node {server.name!r}")
    hops, numbers = list[Hop](), dict[str, int]()
    queue = [(0, 0, "", server.name)]
    while queue:
        distance_ns, edges, towards, name = heappop(queue)
        if name in numbers:
            continue
        if edges > _LONGEST:
            raise ValueError(f"the way from {name!r} to {server.name!r} has more than {_LONGEST} links")
        numbers[name] = len(hops)
        hops.append(Hop(name=name, parent=numbers[towards], **graph.edges[name, towards]) if hops else server)
        for neighbour, figures in graph.adj[name].items():
            if neighbour not in numbers:
                further_ns = distance_ns + round(1e9 * figures["latency_s"])
                heappush(queue, (further_ns, edges + 1, name, neighbour))
    return tuple(hops)
