"""Sharing: who flows through which pipe now, and what that does to the rates of all.

Flows enter the lane of their access rate at the pipe where their device joins the network. Changes of one
instant are collected and settled together, for rates matter only while time passes.
"""

from collections.abc import Callable
from enum import IntEnum

from edgesim.devices.network import Direction, Network
from edgesim.engine.lane import Lane
from edgesim.engine.pipe import UNLIMITED, Pipe


class What(IntEnum):
    """What happens at an instant, in this order."""

    LANE = 0
    PIPE = 1
    CAPACITY = 2
    ACCESS = 3
    BEGIN = 4


class Sharing:
    """The pipes of a network and the lanes in them; `post(ns, what, number)` is told when something is due."""

    def __init__(self, network: Network, post: Callable[[int, int, int], None]) -> None:
        self._network, self._post = network, post
        self._hops = len(network.hops)
        self.pipes: list[Pipe] = []
        for first in (0, self._hops):
            for hop in network.hops:
                parent = None if hop.parent is None else self.pipes[first + hop.parent]
                self.pipes.append(Pipe(len(self.pipes), parent))
        self._lanes: dict[int, Lane] = {}
        self._lanes_made = 0
        self._dirty: dict[int, Pipe] = {}  # whose level must be worked out anew; all before them are in here too

    def holds(self, at_ns: int, what: int, number: int) -> bool:
        """Whether what was posted is still due."""
        if what == What.LANE:
            return number in self._lanes and self._lanes[number].end_ns == at_ns
        pipe = self.pipes[number]
        return (pipe.head_ns if what == What.PIPE else pipe.change_ns) == at_ns

    # ── flows ───────────────────────────────────────────────────────────────────────────────────────
    def join(self, flow: int, device: int, direction: Direction, left: int, now_ns: int) -> Lane:
        """A flow enters with so much to go → its lane."""
        rate = self._network.access(device, direction, now_ns)
        pipe = self.pipes[self._network.hop_of(device) + direction * self._hops]
        lane = pipe.lanes.get(rate)
        if lane is None:
            self._lanes_made += 1
            lane = pipe.lanes[rate] = self._lanes[self._lanes_made] = Lane(self._lanes_made, pipe, rate, now_ns)
        lane.add(flow, left, now_ns)
        pipe.rates.add(rate)
        self._count(pipe, 1, now_ns)
        self._plan(lane)
        return lane

    def leave(self, flow: int, lane: Lane, now_ns: int) -> None:
        """A flow is broken off."""
        lane.remove(flow)
        self._without(lane, 1, now_ns)

    def finished_in_lane(self, number: int, now_ns: int) -> list[int]:
        """Take the flows out that are through in a lane."""
        lane = self._lanes[number]
        found = lane.finished(now_ns)
        self._without(lane, len(found), now_ns)
        return found

    def finished_in_pipe(self, number: int, now_ns: int) -> list[int]:
        """Take the flows out that are through in any lane that the pipe limits."""
        pipe, found = self.pipes[number], list[int]()
        clock = pipe.read(now_ns)
        while (head := pipe.first()) is not None and head[0] <= clock:
            found += self.finished_in_lane(head[1].number, now_ns)
        pipe.head_ns = None
        return found

    def _without(self, lane: Lane, fewer: int, now_ns: int) -> None:
        for _ in range(fewer):
            lane.pipe.rates.remove(lane.rate)
        self._count(lane.pipe, -fewer, now_ns)
        if lane.ends:
            self._plan(lane)
        else:
            del lane.pipe.lanes[lane.rate], self._lanes[lane.number]

    def change_capacity(self, number: int, now_ns: int) -> None:
        """The pipe's trace has reached a change."""
        pipe: Pipe | None = self.pipes[number]
        self._set_capacity(self.pipes[number], now_ns)
        while pipe is not None:
            self._dirty[pipe.number] = pipe
            pipe = pipe.parent

    def _plan(self, lane: Lane) -> None:
        """Note when the first flow of a lane ends."""
        if lane.limited:
            lane.pipe.queue(lane)
            return
        end_ns = lane.plan()
        if end_ns is not None and end_ns != lane.end_ns:
            lane.end_ns = end_ns
            self._post(end_ns, What.LANE, lane.number)

    def _count(self, pipe: Pipe | None, more: int, now_ns: int) -> None:
        """So many flows more, or fewer, cross this pipe and all before it."""
        while pipe is not None:
            if not pipe.crossing:
                self._set_capacity(pipe, now_ns)
                if pipe.parent is not None:
                    pipe.parent.children[pipe.number] = pipe
            pipe.crossing += more
            if not pipe.crossing:
                pipe.change_ns = None
                if pipe.parent is not None:
                    del pipe.parent.children[pipe.number]
            self._dirty[pipe.number] = pipe
            pipe = pipe.parent

    def _set_capacity(self, pipe: Pipe, now_ns: int) -> None:
        """As it is now; it changes by itself only while something flows."""
        direction, number = divmod(pipe.number, self._hops)
        hop = self._network.hops[number]
        capacity = hop.capacity(Direction(direction), now_ns)
        pipe.capacity = UNLIMITED if capacity is None else capacity
        pipe.change_ns = hop.next_change_ns(now_ns)
        if pipe.change_ns is not None:
            self._post(pipe.change_ns, What.CAPACITY, pipe.number)

    # ── rates ───────────────────────────────────────────────────────────────────────────────────────
    def settle(self, now_ns: int) -> None:
        """Levels anew, from the devices to the server; then what is granted, from the server to the devices."""
        if not self._dirty:
            return
        order = sorted(self._dirty.values(), key=lambda pipe: -pipe.depth)
        self._dirty = {}
        for pipe in order:
            pipe.settle()
        for pipe in reversed(order):
            self._grant(pipe, now_ns)
        for pipe in order:
            self._plan_pipe(pipe)

    def _grant(self, pipe: Pipe, now_ns: int) -> None:
        granted = pipe.level if pipe.parent is None else min(pipe.level, pipe.parent.granted)
        if granted == pipe.granted:
            return
        old = pipe.granted
        pipe.tick(now_ns)
        pipe.granted = granted
        for rate in pipe.rates.between(min(old, granted), max(old, granted)):
            lane = pipe.lanes[rate]
            if granted < old:
                lane.limit(now_ns)
            else:
                lane.free(now_ns)
            self._plan(lane)
        self._plan_pipe(pipe)
        for child in pipe.children.values():
            self._grant(child, now_ns)

    def _plan_pipe(self, pipe: Pipe) -> None:
        """Note when the first flow that a pipe limits ends."""
        head, end_ns = pipe.first(), None
        if head is not None and pipe.granted:
            end_ns = pipe.clock_ns - (pipe.clock - head[0]) // pipe.granted
        if end_ns != pipe.head_ns:
            pipe.head_ns = end_ns
            if end_ns is not None:
                self._post(end_ns, What.PIPE, pipe.number)
