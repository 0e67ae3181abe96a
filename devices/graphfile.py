"""Graph files: a user's network as GraphML, or as node-link JSON (the form of networkx.node_link_data).

Both hold undirected edges with these attributes, quantities as text with units:

    {"nodes": [{"id": "server"}, {"id": "hall"}],
     "edges": [{"source": "server", "target": "hall", "down": "1 Gbit/s", "up": "200 Mbit/s", "latency": "2 ms"}]}

`loss` (a share) and `trace` (a CSV file beside the graph's, devices/rate_trace.py) may follow. Nodes may have any
attributes; of edges an unknown one is a mistake.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from xml.etree import ElementTree

import networkx as nx
from annotated_types import Gt, Lt
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from edgesim.devices.rate_trace import RateTrace, read_trace
from edgesim.document import Document, check
from edgesim.errors import ScenarioError
from edgesim.explain import complaints
from edgesim.spelling import advice
from edgesim.units import BitsPerSecond, Seconds, Share


class Edge(BaseModel):
    """A shared link of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str | int
    target: str | int
    down: Annotated[BitsPerSecond, Gt(0)] = Field(description="capacity towards the devices, e.g. 100 Mbit/s")
    up: Annotated[BitsPerSecond, Gt(0)] = Field(description="capacity towards the server, e.g. 20 Mbit/s")
    latency: Seconds = Field(description="of this link alone, e.g. 5 ms")
    loss: Annotated[Share, Lt(1)] = 0.0
    trace: str | None = None


class _Node(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    id: str | int


class _NodeLink(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    directed: Literal[False] = False
    multigraph: Literal[False] = False
    graph: dict[str, Any] = {}
    nodes: tuple[_Node, ...]
    edges: tuple[Edge, ...] = Field(validation_alias=AliasChoices("edges", "links"))


def read_graph(path: Path) -> "nx.Graph[str]":
    """The graph in a .graphml or .json file, with the attributes that `topology.route` wants.

    Raises:
        ScenarioError: a file that cannot be read, or whatever in it cannot be: unknown nodes, missing or
            misspelt attributes, missing units, parallel or directed edges; with file and element.
    """
    readers = {".graphml": _read_graphml, ".json": _read_json}
    if path.suffix not in readers:
        raise ScenarioError(f"{path}: a network is a .graphml or a .json file (node-link form)")
    if not path.is_file():
        raise ScenarioError(f"{path}: there is no such file")
    nodes, edges = readers[path.suffix](path)
    return _graph(path, nodes, edges)


def _read_json(path: Path) -> tuple[list[str], list[Edge]]:
    read = check(Document.read(path), _NodeLink)
    return [str(node.id) for node in read.nodes], list(read.edges)


def _read_graphml(path: Path) -> tuple[list[str], list[Edge]]:
    try:
        declared = [node.get("id", "") for node in ElementTree.parse(path).iter() if node.tag.endswith("}node")]
        graph = nx.read_graphml(path)
    except (ElementTree.ParseError, nx.NetworkXError, KeyError, ValueError) as error:
        raise ScenarioError(f"{path}: not a GraphML file: {error}") from None
    if graph.is_directed() or graph.is_multigraph():
        raise ScenarioError(
            f"{path}: the graph is directed or has parallel edges; write one undirected edge a link, with down and up"
        )
    return declared, list(_edges(path, graph.edges(data=True)))


def _edges(path: Path, edges: Iterable[tuple[str, str, dict[str, Any]]]) -> Iterable[Edge]:
    problems = []
    for source, target, figures in edges:
        known = {name: value for name, value in figures.items() if name != "id"}
        try:
            yield Edge(source=source, target=target, **known)
        except ValidationError as error:
            found = complaints(error, Edge, lambda place: place)
            problems += [f"{path}: edge {source}–{target}: {at[-1]}: {text}" for at, _, text in found]
    if problems:
        raise ScenarioError("\n".join(problems))


def _graph(path: Path, nodes: list[str], edges: list[Edge]) -> "nx.Graph[str]":
    graph: nx.Graph[str] = nx.Graph()
    for name in nodes:
        if name in graph:
            raise ScenarioError(f"{path}: two nodes are named {name!r}")
        graph.add_node(name)
    for edge in edges:
        ends = str(edge.source), str(edge.target)
        for name in ends:
            if name not in nodes:
                raise ScenarioError(f"{path}: edge {'–'.join(ends)}: unknown node {name!r}; {advice(name, nodes)}")
        if ends[0] == ends[1] or graph.has_edge(*ends):
            what = "leads back to its own node" if ends[0] == ends[1] else "is there twice"
            raise ScenarioError(f"{path}: edge {'–'.join(ends)} {what}")
        graph.add_edge(*ends, **_figures(path, edge))
    return graph


def _figures(path: Path, edge: Edge) -> dict[str, Any]:
    trace: RateTrace | None = None if edge.trace is None else read_trace(path.parent / edge.trace)
    return {
        "down_bps": edge.down, "up_bps": edge.up, "latency_s": edge.latency, "loss": edge.loss, "trace": trace,
    }  # fmt: skip
