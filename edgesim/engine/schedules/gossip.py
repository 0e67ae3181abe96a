"""Peer to peer: clients train and exchange models with their neighbours in a graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, cast

from edgesim import streams
from edgesim.engine.learning import Merging, Mix, Received
from edgesim.engine.schedules.schedule import Schedule, Server


class Network(Server, Protocol):
    """What a schedule of peers may do besides (engine/peers.py)."""

    @property
    def meetings(self) -> int: ...

    def is_on(self, client: int) -> bool: ...

    def returns_ns(self, clients: Sequence[int]) -> int | None: ...

    def exchange(self, one: int, other: int) -> None: ...


@dataclass(kw_only=True)
class Gossip(Schedule):
    """A device does one thing at a time: it trains, or is in one exchange, or waits.

    Attributes: neighbours, of each client, in order of number; jobs, of clients that have trained and whose turn is
    not over; free, those of them that are in no exchange.
    """

    remembers: ClassVar[tuple[str, ...]] = ("jobs", "free", "fresh")

    neighbours: Sequence[Sequence[int]]
    jobs: dict[int, int] = field(default_factory=dict)
    free: dict[int, None] = field(default_factory=dict)
    fresh: list[int] = field(default_factory=list)  # those that have become free since the schedule last acted

    def receive(self, server: Server, update: Received) -> None:
        super().receive(server, update)
        self.jobs[update.client] = update.job
        self._release([update.client])

    def exchanged(self, server: Server, one: int, other: int, done: bool) -> None:
        pair = [update.client for update in self.received if update.job in (one, other)]
        self.parted(server, min(pair), max(pair), done)

    def parted(self, server: Server, one: int, other: int, done: bool) -> None:
        """The exchange of two clients, in order of number, is over."""
        raise NotImplementedError

    def _release(self, clients: Sequence[int]) -> None:
        self.free |= dict.fromkeys(clients)
        self.fresh += clients

    def _meet(self, server: Network, one: int, other: int) -> None:
        del self.free[one], self.free[other]
        server.exchange(self.jobs[one], self.jobs[other])

    def _finish(self, server: Server, clients: Sequence[int], mixes: Sequence[Mix]) -> None:
        """The turns of these clients are over."""
        ended = set(clients)
        received = [update for update in self.received if update.client in ended]
        self.received = [update for update in self.received if update.client not in ended]
        for client in clients:
            del self.jobs[client]
            self.free.pop(client, None)
        server.aggregate(received, Merging(mixes=tuple(mixes)))


@dataclass(kw_only=True)
class SyncGossip(Gossip):
    """Rounds: every client on line trains, then exchanges with each neighbour that has trained; when all have, each
    mixes what it has got by Metropolis–Hastings weights, w_ij = 1 / (1 + max(d_i, d_j)) and the rest its own (Xiao,
    Boyd 2004), d the degrees in the graph, so that the mean of all models stays what it is.

    Who is free exchanges with the first of its neighbours, by number, that is free as well. A pair one of which is
    off line when it could begin, or leaves before the end, is left out of this round.
    """

    remembers: ClassVar[tuple[str, ...]] = (*Gossip.remembers, "is_open", "todo", "met", "started")

    is_open: bool = False
    started: dict[int, int] = field(default_factory=dict)  # client → job of this round
    todo: dict[int, list[int]] = field(default_factory=dict)  # client → neighbours that it has yet to meet
    met: dict[int, list[int]] = field(default_factory=dict)  # client → those that it has

    def proceed(self, server: Server) -> None:
        peers = cast(Network, server)
        if self.is_open:
            fresh, self.fresh = sorted(self.fresh), []
            for client in fresh:
                if client in self.free:
                    self._match(peers, client)
            if server.in_flight or peers.meetings:
                return
            self._close(server)
        if not server.is_over:
            self._open(server)

    def parted(self, server: Server, one: int, other: int, done: bool) -> None:
        if done:
            self.met.setdefault(one, []).append(other)
            self.met.setdefault(other, []).append(one)
        self._release([one, other])

    def _open(self, server: Server) -> None:
        clients = _ready(server)
        if not clients:
            server.wait_for_client()
            return
        self.started = dict(zip(clients, server.start(clients), strict=True))
        self.todo = {client: [peer for peer in self.neighbours[client] if peer in self.started] for client in clients}
        self.is_open = True

    def _match(self, server: Network, client: int) -> None:
        for peer in [*self.todo[client]]:
            if peer not in self.free:
                continue
            self.todo[client].remove(peer)
            self.todo[peer].remove(client)
            if server.is_on(client) and server.is_on(peer):
                self._meet(server, min(client, peer), max(client, peer))
                return

    def _close(self, server: Server) -> None:
        clients = sorted(self.jobs)
        mixes = [self._mix(client, sorted([client, *self.met.get(client, [])])) for client in clients]
        self.is_open, self.met = False, {}
        if clients:
            self._finish(server, clients, mixes)

    def _mix(self, client: int, peers: list[int]) -> Mix:
        degree = len(self.neighbours[client])
        weights = {peer: 1 / (1 + max(degree, len(self.neighbours[peer]))) for peer in peers if peer != client}
        weights[client] = 1 - sum(weights[peer] for peer in peers if peer != client)
        return Mix(client, tuple(peers), tuple(weights[peer] for peer in peers))


@dataclass(kw_only=True)
class AsyncGossip(Gossip):
    """No rounds: a client that has trained exchanges with one neighbour, drawn among those that have trained as well
    and wait; where none does it waits itself. Both take the mean of their two models, and train on (Boyd et al. 2006,
    randomized gossip; a device that trains is not disturbed).

    Each mean is an aggregation. A client without neighbours, or whose exchange broke off, goes on with its own model.
    """

    remembers: ClassVar[tuple[str, ...]] = (*Gossip.remembers, "turns", "draws")

    seed: int = 0
    turns: list[int] = field(default_factory=list)  # how many each client has had
    draws: int = 0

    def __post_init__(self) -> None:
        self.turns = [0] * len(self.neighbours)

    def version_of(self, server: Server, client: int) -> int:
        return self.turns[client]

    def proceed(self, server: Server) -> None:
        peers = cast(Network, server)
        fresh, self.fresh = sorted(self.fresh), []
        for client in fresh:
            if client in self.free and not server.is_over:
                self._match(peers, client)
        for client in _ready(server):
            server.start([client])
        if not server.is_over:
            self._wait(peers)

    def parted(self, server: Server, one: int, other: int, done: bool) -> None:
        if done:
            self._end(server, [one, other], [Mix(client, (one, other), (0.5, 0.5)) for client in (one, other)])
        else:
            self._end(server, [one, other], [Mix(client, (client,), (1.0,)) for client in (one, other)])

    def on_timer(self, server: Server, name: str) -> None:
        self.fresh += [client for client in self.free if client not in self.fresh]

    def _match(self, server: Network, client: int) -> None:
        if not self.neighbours[client]:
            self._end(server, [client], [Mix(client, (client,), (1.0,))])
            return
        if not server.is_on(client):
            return
        waiting = [peer for peer in self.neighbours[client] if peer in self.free and server.is_on(peer)]
        if waiting:
            number = next(streams.sequence(streams.key(self.seed, "gossip", self.draws)))
            self.draws += 1
            peer = waiting[int(number * len(waiting))]
            self._meet(server, min(client, peer), max(client, peer))

    def _end(self, server: Server, clients: list[int], mixes: list[Mix]) -> None:
        for client in clients:
            self.turns[client] += 1
        self._finish(server, clients, mixes)

    def _wait(self, server: Network) -> None:
        """For idle clients that are off line, and for those that have trained and went off line while they wait."""
        away = [client for client in self.free if not server.is_on(client)]
        due_ns = server.returns_ns(away) if away else None
        if due_ns is None:
            server.clear_timer(_BACK)
        else:
            server.set_timer(_BACK, due_ns)
        server.wait_for_client(patient=due_ns is not None or server.meetings > 0)


def _ready(server: Server) -> list[int]:
    """Available idle clients, in order, but for those whose turn began at this very instant and is lost already, as
    for want of memory: it would be lost again and again, and time would stand still."""
    dispatched_ns, now_ns = server.history.dispatched_ns, server.now_ns
    return sorted(client for client in server.select(server.clients) if dispatched_ns[client] < now_ns)


_BACK = "back"
