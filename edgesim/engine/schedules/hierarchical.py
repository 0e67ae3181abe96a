"""Devices → edge aggregators → cloud."""

from collections.abc import Callable, Sequence
from typing import Any

from edgesim.engine.backhaul import Link
from edgesim.engine.edge import Edge
from edgesim.engine.learning import Join, Merging, Received
from edgesim.engine.schedules.schedule import Schedule, Server
from edgesim.engine.schedules.staleness import Weight, constant


class Hierarchical(Schedule):
    """Each edge runs a schedule of its own over its own devices, with a model of its own (Liu et al. 2020,
    arXiv:1905.06641).

    After every `rounds` aggregations an edge sends its model to the cloud, and goes on when the cloud's has come. The
    cloud merges as soon as it has `quota` models, each by the samples behind it and by the `weight` of its staleness,
    and sends the result to these edges: a quota of all edges is synchronous, one of 1 asynchronous. The run's version
    counts what the cloud does; a job's, the aggregations at its edge.

    Attributes: edges; waiting, numbers of those whose models are at the cloud; server, the run's.
    """

    def __init__(
        self,
        edge_of: Sequence[int],
        make: Callable[[], Schedule],
        *,
        link: Link,
        rounds: int = 1,
        quota: int | None = None,
        weight: Weight = constant,
    ) -> None:
        """edge_of: each client's edge, 0 to n − 1, or −1; make: an edge's schedule; quota: by default all edges."""
        super().__init__()
        self.edges = [Edge(number, make(), edge_of, rounds, self._send_up) for number in range(max(edge_of) + 1)]
        self.waiting: list[int] = []
        self._edge_of, self._link, self._weight = edge_of, link, weight
        self._quota = len(self.edges) if quota is None else quota
        self._moving = 0  # models under way
        self._acting = -1  # the edge whose turn it is
        self._woken: list[int] = []  # edges that a model has come to since the schedule began to act

    # ── what it is told ─────────────────────────────────────────────────────────────────────────────
    def version_of(self, server: Server, client: int) -> int:
        return self._edge(client).version

    def discount(self, staleness: int) -> float | None:
        return self.edges[0].schedule.discount(staleness)

    def receive(self, server: Server, update: Received) -> None:
        self._edge(update.client).receive(server, update)

    def proceed(self, server: Server) -> None:
        todo = [edge.number for edge in self.edges]
        while todo:
            self._woken = []
            for number in todo:
                if server.is_over:
                    return
                self._acting = number
                self.edges[number].proceed(server)
            self._acting = -1
            todo = self._woken
        if all(edge.waits for edge in self.edges):
            server.wait_for_client(patient=self._moving > 0)

    def on_timer(self, server: Server, name: str) -> None:
        what, _, rest = name.partition(" ")
        if what not in _WAYS:
            self.edges[int(what)].on_timer(server, rest)
            return
        self._moving -= 1
        self._came(server, self.edges[int(rest)], is_up=what == "up")

    def state(self) -> dict[str, Any]:
        edges = [edge.state() for edge in self.edges]
        return {**super().state(), "edges": edges, "waiting": list(self.waiting), "moving": self._moving}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.waiting, self._moving = list(state["waiting"]), state["moving"]
        for edge, own in zip(self.edges, state["edges"], strict=True):
            edge.restore(own)

    # ── models on their way ─────────────────────────────────────────────────────────────────────────
    def _edge(self, client: int) -> Edge:
        return self.edges[self._edge_of[client]]

    def _send_up(self, edge: Edge) -> None:
        self._move(edge.server, edge, is_up=True)

    def _move(self, server: Server, edge: Edge, *, is_up: bool) -> None:
        size, now_ns = server.model_bytes, server.now_ns
        due_ns = now_ns + self._link.ns(size, is_up=is_up)
        server.backhaul.begin(edge.number, now_ns, due_ns, size, is_up=is_up, power_w=self._link.power_w)
        if due_ns == now_ns:
            self._came(server, edge, is_up=is_up)
        else:
            self._moving += 1
            server.set_timer(f"{_WAYS[is_up]} {edge.number}", due_ns)

    def _came(self, server: Server, edge: Edge, *, is_up: bool) -> None:
        server.backhaul.end(edge.number)
        if not is_up:
            if edge.number != self._acting:
                self._woken.append(edge.number)
            edge.take(server)
            return
        self.waiting.append(edge.number)
        if len(self.waiting) == self._quota:
            self._merge(server)

    def _merge(self, server: Server) -> None:
        merged, self.waiting = [self.edges[number] for number in self.waiting], []
        joins = [Join(edge.number, self._weight(server.version - edge.taken) or 0.0, edge.updates) for edge in merged]
        server.aggregate([], Merging(joins=tuple(joins)))
        for edge in merged:
            edge.taken = server.version
            self._move(server, edge, is_up=False)


_WAYS = ("down", "up")
