"""Peers: every client has a model of its own, and mixes it with those of its neighbours."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from edgesim.algorithms.contract import Algorithm, Context, Peer
from edgesim.devices.workload import Workload
from edgesim.engine.learning import USUAL, Assignment, Merging, Mix, Received, Terms
from edgesim.execution.attackers import Attackers
from edgesim.execution.atwork import AtWork
from edgesim.execution.backend import Backend
from edgesim.execution.federation import Federation
from edgesim.execution.groups import Groups
from edgesim.execution.store import ClientStore
from edgesim.execution.timing import TimingOnly
from edgesim.learning.evaluation import Scores
from edgesim.learning.tree import Params, State


class Models(Groups):
    """The clients' models. A model is what the server's state would be if its client were alone with it; all begin as
    the algorithm's `init_server`. They are kept with the clients' states, so that they spill to disk like these.
    """

    def __init__(self, start: State, store: ClientStore, clients: int) -> None:
        super().__init__(start)
        self._first, self._store, self._clients = start, store, clients

    def of(self, client: int) -> State:
        """A client's model."""
        place = self._clients + client
        return self._store.get(place) if place in self._store else self._first

    def put(self, client: int, model: State) -> None:
        """A client's new model."""
        self._store.put(self._clients + client, model)

    def send(self, group: int, server: State) -> State:
        return self.of(group)

    def stepped(self, merging: Merging, server: State) -> State:
        assert merging.group is not None
        return self.of(merging.group)

    def blended(self, merging: Merging, merged: State, server: State) -> State:
        assert merging.group is not None
        self.put(merging.group, merged)
        return server


class PeerFederation(Federation):
    """An algorithm at work without a server: it must have a `mix`.

    What a client would send to a server it sends to its peers; its size is asked for once it has trained.
    """

    _groups: Models

    def __init__(
        self, algorithm: Algorithm, context: Context, backend: Backend, clients: ClientStore | None = None, *rest: Any
    ) -> None:
        super().__init__(algorithm, context, backend, clients, *rest)
        self._groups = Models(self._server, self._clients, context.task.clients)
        self._sizes: dict[int, int] = {}  # of messages, by job, where they do not depend on what is trained

    def dispatch(self, job: int, client: int, version: int, terms: Terms = USUAL) -> Assignment:
        assigned = super().dispatch(job, client, version, terms._replace(group=client))
        if assigned.upload_bytes is not None:
            self._sizes[job] = assigned.upload_bytes
        return _silent(assigned)

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        return AtWork.dispatch_all(self, first_job, clients, version, terms)  # each starts from a model of its own

    def cost(self, client: int, terms: Terms = USUAL) -> Assignment:
        return _silent(super().cost(client, terms))

    def upload_bytes(self, job: int) -> int:
        """The length of what the job's client sends to a peer."""
        return self._sizes[job] if job in self._sizes else super().upload_bytes(job)

    def drop(self, job: int) -> None:
        super().drop(job)
        self._sizes.pop(job, None)

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        """Enter what each client has trained into its own model, and mix."""
        assert merging is not None
        for update in received:
            super().aggregate([update], Merging(group=update.client))
            self._sizes.pop(update.job, None)
        mixed = [(mix.client, self._mixed(mix)) for mix in merging.mixes if len(mix.peers) > 1]
        for client, model in mixed:
            self._groups.put(client, model)
        self._scoring.forget()
        return None

    def state(self) -> dict[str, Any]:
        return {**super().state(), "sizes": dict(self._sizes)}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._sizes = dict(state["sizes"])

    def _mixed(self, mix: Mix) -> State:
        weights = torch.tensor(mix.weights, dtype=torch.float64)
        return self._algorithm.mix(self._context, self._peer(mix.client), [self._peer(c) for c in mix.peers], weights)

    def _peer(self, client: int) -> Peer:
        return Peer(self._groups.of(client), self._who(client))

    def _base_models(self, clients: Sequence[int]) -> Sequence[Params]:
        return [self._algorithm.client_model(self._groups.of(client), self._who(client)) for client in clients]

    def _common_model(self) -> Params | None:
        return None

    def _once_trained(self, clients: list[int], scores: Scores) -> float:
        return float("nan")  # a job without peers would leave a newcomer where `local` leaves everybody


class PeerTiming(TimingOnly):
    """The same by its costs alone."""

    def __init__(self, algorithm: Algorithm, context: Context, attackers: Attackers | None = None) -> None:
        super().__init__(algorithm, context, attackers)
        self._sizes: dict[int, int] = {}

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        assignments = super().dispatch_all(first_job, clients, version, terms)
        for job, assigned in enumerate(assignments, first_job):
            assert assigned.upload_bytes is not None
            self._sizes[job] = assigned.upload_bytes
        return [_silent(assigned) for assigned in assignments]

    def upload_bytes(self, job: int) -> int:
        """The length of what the job's client sends to a peer."""
        return self._sizes[job]

    def drop(self, job: int) -> None:
        self._sizes.pop(job, None)

    def aggregate(self, received: Sequence[Received], merging: Merging | None = None) -> Workload | None:
        self._version += len(received)  # each client's own model is a step further
        for update in received:
            del self._sizes[update.job]
        return None

    def state(self) -> dict[str, Any]:
        return {**super().state(), "sizes": dict(self._sizes)}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._sizes = dict(state["sizes"])


def _silent(assigned: Assignment) -> Assignment:
    """The same without a server: nothing goes down or up."""
    return replace(assigned, download_bytes=0, upload_bytes=0)
