"""The network of a scenario: which links transfers share on their way to the server.

What needs networkx is imported where it is used: it takes a tenth of a second, and most scenarios share nothing.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from edgesim.devices import network
from edgesim.devices.fleet import Fleet
from edgesim.devices.network import Hop
from edgesim.devices.rate_trace import read_trace
from edgesim.errors import ScenarioError
from edgesim.explain import wrong
from edgesim.scenario.paths import folder_of
from edgesim.scenario.section import Count, OrWord, Section
from edgesim.spelling import advice
from edgesim.units import BitsPerSecond, Seconds, Share

# Lists in a part that a bare word may stand for have been made Python's before they are checked.
Names: TypeAlias = Annotated[tuple[str, ...], Field(strict=False)]
Placement: TypeAlias = dict[str, Names]


def _is_trace(text: str, info: ValidationInfo) -> str:
    try:
        read_trace(folder_of(info) / text)
    except ScenarioError as error:
        raise wrong(str(error)) from None
    return text


RateTrace: TypeAlias = Annotated[str, AfterValidator(_is_trace)]


class Star(Section):
    """Every device reaches the server over its own link."""

    kind: Literal["star"] = "star"


class Tree(Section):
    """Devices reach the server through edge gateways, each behind a backhaul that its devices share."""

    kind: Literal["tree"]
    gateways: Count
    """how many; they are named gateway-0, gateway-1, …; devices are spread evenly"""
    gateway_down: BitsPerSecond = Field(gt=0)
    """capacity of each backhaul towards the devices"""
    gateway_up: BitsPerSecond = Field(gt=0)
    """capacity of each backhaul towards the server"""
    gateway_latency: Seconds = 0.0
    """of each backhaul, on top of the device's own link"""
    gateway_loss: Share = Field(default=0.0, lt=1)
    """share of what a backhaul sends that is lost and sent again by it; its goodput is capacity · (1 − loss)"""
    gateway_trace: RateTrace | None = None
    """CSV file of factors of the backhauls' capacities over time: time_s,factor (relative to this file)"""
    placement: Placement = Field(default={})
    """devices by the name of their entry or, if it has none, of their profile → the gateways that they join, e.g.
    {pixel-6: [gateway-0]}; others join any"""

    @model_validator(mode="after")
    def _gateways_exist(self) -> Self:
        _check_placement(self.placement, self.gateway_names)
        return self

    @property
    def gateway_names(self) -> list[str]:
        """Where devices join."""
        return [f"gateway-{number}" for number in range(self.gateways)]


class File(Section):
    """A network of your own: a GraphML file, or JSON in node-link form."""

    kind: Literal["file"]
    path: str
    """.graphml or .json (relative to this file); its edges have down, up and latency, as text with units"""
    server: str
    """the node that is the server"""
    gateways: Names
    """the nodes that devices join; they are spread evenly"""
    placement: Placement = Field(default={})
    """devices by the name of their entry or, if it has none, of their profile → the gateways that they join; others
    join any"""

    @model_validator(mode="after")
    def _can_be_built(self, info: ValidationInfo) -> Self:
        from edgesim.devices.graphfile import read_graph
        from edgesim.devices.topology import route

        try:
            graph = read_graph(folder_of(info) / self.path)
        except ScenarioError as error:
            raise wrong(str(error), "path") from None
        for key, names in (("server", (self.server,)), ("gateways", self.gateways)):
            for name in names:
                if name not in graph:
                    raise wrong(f"{self.path} has no node '{name}'; {advice(name, graph)}", key)
        if not self.gateways:
            raise wrong("no gateway; name the nodes that devices join, at least one", "gateways")
        try:
            reached = {hop.name for hop in route(graph, Hop(name=self.server, parent=None))}
        except ValueError as error:
            raise wrong(f"{self.path}: {error}", "path") from None
        for name in self.gateways:
            if name not in reached:
                raise wrong(f"in {self.path} no path leads from '{name}' to '{self.server}'", "gateways")
        if len(set(self.gateways)) < len(self.gateways):
            raise wrong("a gateway is named twice", "gateways")
        _check_placement(self.placement, self.gateways)
        return self

    @property
    def gateway_names(self) -> list[str]:
        """Where devices join."""
        return list(self.gateways)


def _check_placement(placement: Placement, gateways: Sequence[str]) -> None:
    for device, names in placement.items():
        if not names:
            raise wrong("no gateway; name at least one, or leave the device out", "placement", device)
        for name in names:
            if name not in gateways:
                raise wrong(f"unknown gateway '{name}'; {advice(name, gateways)}", "placement", device)


Topology: TypeAlias = Annotated[Star | Tree | File, Field(discriminator="kind"), OrWord("star")]


class Network(Section):
    """How transfers share the network."""

    sharing: Literal["none", "max-min"] = "none"
    """none: each transfer has its device's own link to itself; max-min: transfers under way share every link that
    they cross, as fairly as can be"""
    server_down: BitsPerSecond | None = Field(default=None, gt=0)
    """what the server can send, to all devices together; without it, no limit"""
    server_up: BitsPerSecond | None = Field(default=None, gt=0)
    """what the server can receive; without it, no limit"""
    server_trace: RateTrace | None = None
    """CSV file of factors of the server's capacities over time; a factor of 0 is an outage"""
    device_trace: RateTrace | None = None
    """CSV file of factors of every device's own rates over time; each device begins at a point of its own"""
    topology: Topology = Star()
    """what is between the devices and the server"""

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        for name in type(self).model_fields if self.sharing == "none" else ():
            if name != "sharing" and getattr(self, name) not in (None, Star()):
                raise wrong(f"{name} has no effect with sharing: none; write sharing: max-min", name)
        return self


def make_network(choice: Network, fleet: Fleet, folder: Path, seed: int) -> network.Network | None:
    """The network that a fleet's transfers share; None where they share nothing."""
    if choice.sharing == "none":
        return None
    hops = _hops(choice, folder)
    numbers = {hop.name: number for number, hop in enumerate(hops)}
    placement: Mapping[str, Sequence[str]] = {}
    gateways: Sequence[str] = [hops[0].name]
    if not isinstance(choice.topology, Star):
        placement, gateways = choice.topology.placement, choice.topology.gateway_names
    return network.attach(
        hops,
        fleet,
        [[numbers[name] for name in placement.get(device, gateways)] for device in fleet.class_names],
        seed,
        device_trace=None if choice.device_trace is None else read_trace(folder / choice.device_trace),
    )


def _hops(choice: Network, folder: Path) -> tuple[Hop, ...]:
    from edgesim.devices import graphfile, topology

    server = partial(
        Hop,
        parent=None,
        down_bps=choice.server_down or float("inf"),
        up_bps=choice.server_up or float("inf"),
        trace=None if choice.server_trace is None else read_trace(folder / choice.server_trace),
    )
    shape = choice.topology
    if isinstance(shape, File):
        return topology.route(graphfile.read_graph(folder / shape.path), server(name=shape.server))
    if isinstance(shape, Star):
        return topology.route(topology.star(), server(name=topology.SERVER))
    graph = topology.tree(
        shape.gateways,
        down_bps=shape.gateway_down,
        up_bps=shape.gateway_up,
        latency_s=shape.gateway_latency,
        loss=shape.gateway_loss,
        trace=None if shape.gateway_trace is None else read_trace(folder / shape.gateway_trace),
    )
    return topology.route(graph, server(name=topology.SERVER))
