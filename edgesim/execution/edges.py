"""Edges: a model of each edge aggregator, between the clients' and the cloud's."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from edgesim.devices.workload import Workload
from edgesim.engine.learning import Join, Merging, Received
from edgesim.execution.federation import Federation
from edgesim.execution.groups import Groups
from edgesim.learning.tree import Params, State


class Edges(Groups):
    """The edges' states, for algorithms whose server keeps nothing but `params` and its rule's memory.

    That rule works at the edges, each with a memory of its own. The cloud's step is Σ_e p_e s(τ_e) (w_e − w_0e), w_0e
    what it had sent to edge e and p_e the edge's share of the samples behind the updates merged there since. Running
    statistics are averaged: theirs is Σ_e p_e s(τ_e) (w_e − w).
    """

    def __init__(self, start: State) -> None:
        super().__init__(start)
        self._base: dict[int, Params] = {}
        self._samples: dict[int, int] = {}

    def count(self, edge: int, samples: int) -> None:
        """Updates with so many samples behind them are merged at an edge."""
        self._samples[edge] = self._samples.get(edge, 0) + samples

    def send(self, group: int, server: State) -> State:
        return self._own.get(group, self._start)

    def stepped(self, merging: Merging, server: State) -> State:
        assert merging.group is not None
        return self.send(merging.group, server)

    def blended(self, merging: Merging, merged: State, server: State) -> State:
        assert merging.group is not None
        self._own[merging.group] = merged
        return server

    def joined(self, joins: Sequence[Join], server: State, statistics: Collection[str]) -> State:
        """The cloud's next state; these edges go on from it. statistics: names of running means and variances."""
        whole = sum(self._samples[join.group] for join in joins)
        params = server["params"]
        # Differences of float32 numbers are exact in float64: one edge's model alone becomes the cloud's to the bit.
        total = {name: tensor.double() for name, tensor in params.items()}
        for join in joins:
            own, base = self._of(join.group), self._base.get(join.group, self._start["params"])
            base = {name: params[name] if name in statistics else sent for name, sent in base.items()}
            factor = self._samples[join.group] / whole * join.discount
            total = {name: t + factor * (own[name].double() - base[name].double()) for name, t in total.items()}
        merged = {name: tensor.to(params[name].dtype) for name, tensor in total.items()}
        for join in joins:
            self._own[join.group] = {**self._own[join.group], "params": merged}
            self._base[join.group], self._samples[join.group] = merged, 0
        return {**server, "params": merged}

    def state(self) -> dict[str, Any]:
        return {**super().state(), "base": dict(self._base), "samples": dict(self._samples)}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._base, self._samples = dict(state["base"]), dict(state["samples"])


class EdgeFederation(Federation):
    """An algorithm at work at several edges and their cloud, whose model is the one that is tested."""

    groups = Edges
    _groups: Edges

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        """Merge updates into their edge's model, or edges' models into the cloud's."""
        assert merging is not None
        if merging.joins:
            self._server = self._groups.joined(merging.joins, self._server, self._context.task.model.statistics)
            self._scoring.forget()
            return None
        assert merging.group is not None
        clients = np.array([update.client for update in received])
        self._groups.count(merging.group, int(self.samples[clients].sum()))
        return super().aggregate(received, merging)
