"""A hierarchy of schedules: devices, edge aggregators, cloud."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from edgesim.explain import wrong
from edgesim.scenario.schedule import Async, Buffered, Deadline, Periodic, Sync
from edgesim.scenario.section import Count, OrWord, Section
from edgesim.scenario.staleness import Constant, Hinge, Polynomial, Threshold
from edgesim.units import BitsPerSecond, Seconds, Watts


class _AtEdge(Section):
    rounds: Count = 1
    """aggregations at an edge, after which its model goes to the cloud"""


class EdgeSync(_AtEdge, Sync):
    """Rounds: a cohort of the edge's devices is dispatched, and all of it that survives is waited for."""


class EdgeDeadline(_AtEdge, Deadline):
    """Rounds that end with enough updates, or when their time is over."""


class EdgeAsync(_AtEdge, Async):
    """Fully asynchronous: so many of the edge's devices always work; each update is merged when it arrives."""


class EdgeBuffered(_AtEdge, Buffered):
    """FedBuff: so many of the edge's devices always work; every so many updates are aggregated."""


class EdgePeriodic(_AtEdge, Periodic):
    """So many of the edge's devices work; whatever has arrived is aggregated every so many seconds."""


Edge: TypeAlias = Annotated[
    EdgeSync | EdgeDeadline | EdgeAsync | EdgeBuffered | EdgePeriodic, Field(discriminator="kind"), OrWord()
]
CloudStaleness: TypeAlias = Annotated[
    Constant | Polynomial | Hinge | Threshold,
    Field(discriminator="kind"),
    OrWord("constant", "polynomial", "hinge"),
]


class CloudSync(Section):
    """The cloud waits for the models of all edges."""

    kind: Literal["sync"] = "sync"


class CloudAsync(Section):
    """Each edge's model is merged when it arrives."""

    kind: Literal["async"]
    staleness: CloudStaleness = Constant()
    """the weight of a model by how many versions of the cloud it is behind"""


class CloudBuffered(Section):
    """Every so many models are merged; an edge waits for the cloud's answer."""

    kind: Literal["buffered"]
    buffer: Count
    """models in a step of the cloud"""
    staleness: CloudStaleness = Constant()
    """the weight of a model by how many versions of the cloud it is behind"""


Cloud: TypeAlias = Annotated[
    CloudSync | CloudAsync | CloudBuffered, Field(discriminator="kind"), OrWord("sync", "async")
]


class Backhaul(Section):
    """The link that each edge has to the cloud, to itself."""

    down: BitsPerSecond = Field(gt=0)
    """towards the edge"""
    up: BitsPerSecond = Field(gt=0)
    """towards the cloud"""
    latency: Seconds = Field(default=0.0, ge=0)
    """of a message either way"""
    power: Watts = Field(default=0.0, ge=0)
    """drawn by its two ends together while a message is sent"""


class Hierarchical(Section):
    """Devices → edges → cloud: each edge runs a schedule over its own devices and merges their updates into a model of
    its own; the cloud merges the edges' models, each by the samples behind it, and sends the result back down.

    The run's version and its stop.aggregations count steps of the cloud, whose model is the one that is tested.
    The rule under `server` works at the edges.
    """

    kind: Literal["hierarchical"]
    edges: Count
    """how many; the seed deals the devices out to them evenly"""
    edge: Edge
    """the schedule of each edge"""
    cloud: Cloud = CloudSync()
    """when the cloud merges"""
    link: Backhaul
    """between each edge and the cloud; its time, bytes and energy are columns of their own"""

    @property
    def busiest(self) -> tuple[str, int]:
        """The key that says how many clients work at once, and its value."""
        return "edges", self.edges * self.edge.busiest[1]

    @property
    def reckoned(self) -> str:
        """How many clients work at once, and why so many."""
        return f"{self.edges} edges × {self.edge.busiest[1]} = {self.edges * self.edge.busiest[1]}"

    @model_validator(mode="after")
    def _buffer_fills(self) -> Self:
        if isinstance(self.cloud, CloudBuffered) and self.cloud.buffer > self.edges:
            what = f"a buffer of {self.cloud.buffer} models with {self.edges} edges; write at most {self.edges}"
            raise wrong(what, "cloud", "buffer")
        return self
