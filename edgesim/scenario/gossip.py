"""Gossip: a schedule without a server, and the graph of who exchanges with whom.

What needs networkx is imported where it is used: it takes a tenth of a second.
"""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from edgesim import streams
from edgesim.devices.arrays import IntArray
from edgesim.errors import ScenarioError
from edgesim.scenario.paths import FilePath
from edgesim.scenario.section import Count, OrWord, Section
from edgesim.units import Share

if TYPE_CHECKING:
    import networkx as nx


class Ring(Section):
    """Each client exchanges with the one before and the one after it."""

    kind: Literal["ring"] = "ring"


class Complete(Section):
    """Each client exchanges with all others."""

    kind: Literal["complete"] = "complete"


class Grid(Section):
    """Clients in rows and columns, as square as their number allows; each exchanges with up to four others."""

    kind: Literal["grid"] = "grid"


class Regular(Section):
    """A random graph in which every client has the same number of neighbours."""

    kind: Literal["regular"]
    degree: Count
    """neighbours of each client"""


class ErdosRenyi(Section):
    """A random graph in which each pair of clients are neighbours with the same probability."""

    kind: Literal["erdos-renyi"]
    probability: Share = Field(gt=0, le=1)
    """of each pair"""


class File(Section):
    """Your own graph."""

    kind: Literal["file"]
    path: FilePath
    """a GraphML file, relative to this one; its nodes are the clients' numbers 0, 1, …, its edges have no direction"""


Graph: TypeAlias = Annotated[
    Ring | Complete | Grid | Regular | ErdosRenyi | File,
    Field(discriminator="kind"),
    OrWord("ring", "complete", "grid"),
]


class Gossip(Section):
    """Peer to peer: no server; clients train and exchange models with their neighbours in a graph.

    An exchange is two transfers, one after the other, each at the lesser of one device's up and the other's down
    rate, after the latencies of both. stop.aggregations counts rounds, or under `async` exchanges.
    """

    kind: Literal["gossip"]
    graph: Graph = Ring()
    """who exchanges with whom"""
    mode: Literal["sync", "async"] = "sync"
    """sync: rounds, in which every client on line trains and then exchanges with all its neighbours; async: a client
    that has trained exchanges with one neighbour that has trained as well, and trains on"""

    @property
    def busiest(self) -> tuple[str, int]:
        """All clients work, however many there are."""
        return "kind", 0


def neighbours(
    graph: Graph, clients: int, seed: int, folder: Path, unseen: Sequence[int] | IntArray = ()
) -> list[list[int]]:
    """Of each client, in order of number. Who is `unseen` has none: the graph is one of the others, or a file's without
    them.

    Raises:
        ScenarioError: a graph that there is not, or that falls into parts, whose clients never hear of each other.
    """
    import networkx as nx

    members = np.setdiff1d(np.arange(clients), unseen).tolist()
    if isinstance(graph, File):
        made = _read(folder / graph.path, clients).subgraph(members)
    else:
        made = _graph(graph, len(members), streams.key(seed, "gossip graph") % 2**32)
        made = nx.relabel_nodes(made, dict(enumerate(members)))
    parts = nx.number_connected_components(made)
    if parts > 1:
        raise ScenarioError(
            f"schedule.graph: it falls into {parts} parts that never exchange anything; write a larger degree or "
            "probability, another seed, or graph: ring"
        )
    return [sorted(made[client]) if client in made else [] for client in range(clients)]


def _graph(graph: Ring | Complete | Grid | Regular | ErdosRenyi, clients: int, seed: int) -> "nx.Graph[int]":
    import networkx as nx

    made: nx.Graph[int]
    match graph:
        case Ring():
            made = nx.path_graph(clients) if clients < 3 else nx.cycle_graph(clients)
        case Complete():
            made = nx.complete_graph(clients)
        case Grid():
            made = _grid(clients)
        case Regular():
            if graph.degree >= clients or graph.degree * clients % 2:
                raise ScenarioError(
                    f"schedule.graph.degree: no graph of {clients} clients has {graph.degree} neighbours for each; "
                    "write fewer than there are clients, and an even number if the number of clients is odd"
                )
            made = nx.random_regular_graph(graph.degree, clients, seed=seed)
        case ErdosRenyi():
            made = nx.gnp_random_graph(clients, graph.probability, seed=seed)
    return made


def _grid(clients: int) -> "nx.Graph[int]":
    import networkx as nx

    rows = next(rows for rows in range(isqrt(clients), 0, -1) if clients % rows == 0)
    if rows == 1 and clients > 3:
        raise ScenarioError(
            f"schedule.graph: a grid of {clients} clients would be a single row; "
            "write another task.clients, or graph: ring"
        )
    columns = clients // rows
    return nx.relabel_nodes(nx.grid_2d_graph(rows, columns), lambda place: columns * place[0] + place[1])


def _read(path: Path, clients: int) -> "nx.Graph[int]":
    import networkx as nx

    try:
        read: Any = nx.read_graphml(path)
    except Exception as error:  # whatever its parser raises
        raise ScenarioError(f"schedule.graph.path: {path}: not a GraphML file: {error}") from None
    if read.is_directed() or read.is_multigraph():
        raise ScenarioError(f"schedule.graph.path: {path}: the graph is directed or has parallel edges; write neither")
    expected = [str(client) for client in range(clients)]
    wrong = sorted(set(map(str, read)) ^ set(expected))
    if wrong:
        raise ScenarioError(
            f"schedule.graph.path: {path}: its nodes must be the clients 0 to {clients - 1}; "
            f"{_named(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or too many"
        )
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(clients))
    graph.add_edges_from((int(one), int(other)) for one, other in read.edges if one != other)
    return graph


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" and more" if len(names) > 5 else "")
