"""Flows: transfers that share a network, as fluids under max-min fairness, in simulated time.

A rate changes only when a flow begins or ends or a capacity changes, so between those instants all is linear
and nothing needs to happen. Amounts are whole numbers of 10⁻¹⁵ bit (microbit/s times ns), so the books are
exact: a flow delivers its size to the byte, asking changes nothing, and a restored state has the same future.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

from edgesim.devices.network import Direction, Network
from edgesim.engine.lane import Lane
from edgesim.engine.sharing import Sharing, What

_BYTE = 8 * 10**15  # in 10⁻¹⁵ bit


@dataclass(slots=True, eq=False)
class _Flow:
    """Attributes: left, what it has to move, as of when it has no lane; begin_ns, when its first byte moves; lane,
    None before that; change_ns, when its device's own rate changes next."""

    device: int
    direction: Direction
    size_bytes: int
    left: int
    begin_ns: int
    lane: Lane | None = None
    change_ns: int | None = None


class Flows:
    """All transfers under way on a network. Times are whole ns and never go back.

    A transfer has its device's access link in its direction to itself, since a device has one job at a time.
    """

    def __init__(self, network: Network, now_ns: int = 0) -> None:
        self._network, self._now_ns = network, now_ns
        self._flows: dict[int, _Flow] = {}
        self._done: dict[int, int] = {}  # completed, not yet handed out → size
        self._agenda: list[tuple[int, int, int]] = []  # heap of (ns, what, number); some entries are out of date
        self._sharing = Sharing(network, self._post)
        self._handlers: dict[int, Callable[[int], None]] = {
            What.LANE: lambda lane: self._end(self._sharing.finished_in_lane(lane, self._now_ns)),
            What.PIPE: lambda pipe: self._end(self._sharing.finished_in_pipe(pipe, self._now_ns)),
            What.CAPACITY: lambda pipe: self._sharing.change_capacity(pipe, self._now_ns),
            What.ACCESS: self._change_access,
            What.BEGIN: self._begin,
        }

    # ── transfers ───────────────────────────────────────────────────────────────────────────────────
    def start(
        self, now_ns: int, flow: int, device: int, direction: Direction, size_bytes: int, delay_ns: int = 0
    ) -> None:
        """A transfer whose first byte moves after `delay_ns` (its latency).

        Raises:
            ValueError: a number already in use, a negative size or delay, a time before the last one.
        """
        self._reach(now_ns)
        if flow in self._flows or flow in self._done:
            raise ValueError(f"flow {flow} is already under way")
        if size_bytes < 0 or delay_ns < 0:
            raise ValueError(f"flow {flow} of {size_bytes} B after {delay_ns} ns: neither may be negative")
        self._flows[flow] = _Flow(device, direction, size_bytes, size_bytes * _BYTE, now_ns + delay_ns)
        self._post(now_ns + delay_ns, What.BEGIN, flow)

    def stop(self, now_ns: int, flow: int) -> int:
        """Break a transfer off → whole bytes moved: its size if it has just completed and is not handed out yet.

        Raises: as `moved`.
        """
        moved = self.moved(now_ns, flow)
        if self._done.pop(flow, None) is None:
            self._leave(flow, self._flows.pop(flow))
        return moved

    def moved(self, now_ns: int, flow: int) -> int:
        """Whole bytes that a transfer has moved.

        Raises:
            ValueError: a flow unknown or handed out by `advance`, or a time before the last one.
        """
        self._reach(now_ns)
        if flow in self._done:
            return self._done[flow]
        if flow not in self._flows:
            raise ValueError(f"flow {flow} is not under way")
        record = self._flows[flow]
        return record.size_bytes + -self._left(flow, record) // _BYTE

    def rate_bps(self, flow: int) -> float:
        """The rate of a transfer from this instant on; 0 while its latency lasts, and for one not under way."""
        self._happen()
        self._sharing.settle(self._now_ns)
        lane = self._flows[flow].lane if flow in self._flows else None
        return min(lane.rate, lane.pipe.granted) / 1e6 if lane else 0.0

    # ── time ────────────────────────────────────────────────────────────────────────────────────────
    def next_ns(self) -> int | None:
        """When to `advance` next: a transfer begins or ends, or a capacity changes; None if nothing ever will."""
        self._happen()
        self._sharing.settle(self._now_ns)
        return self._now_ns if self._done else self._peek()

    def advance(self, now_ns: int) -> list[int]:
        """Move to `now_ns` → the transfers completed by then, in order of their instants, then of their numbers."""
        self._reach(now_ns)
        done = list(self._done)
        self._done.clear()
        return done

    def _reach(self, now_ns: int) -> None:
        if now_ns < self._now_ns:
            raise ValueError(f"time {now_ns} ns is before {self._now_ns} ns, where the flows already are")
        self._happen()
        while self._now_ns < now_ns:
            self._sharing.settle(self._now_ns)
            next_ns = self._peek()
            self._now_ns = now_ns if next_ns is None else min(next_ns, now_ns)
            self._happen()

    def _happen(self) -> None:
        """Everything that is due at this instant."""
        agenda, before = self._agenda, len(self._done)
        while agenda and agenda[0][0] <= self._now_ns:
            entry = heappop(agenda)
            if self._holds(*entry):
                self._handlers[entry[1]](entry[2])
        if len(self._done) - before > 1:
            done = list(self._done.items())
            self._done = dict(done[:before] + sorted(done[before:]))

    def _post(self, at_ns: int, what: int, number: int) -> None:
        heappush(self._agenda, (at_ns, what, number))

    def _peek(self) -> int | None:
        agenda = self._agenda
        if len(agenda) > 4 * (len(self._flows) + len(self._sharing.pipes)) + 64:
            agenda[:] = {entry for entry in agenda if self._holds(*entry)}
            heapify(agenda)
        while agenda and not self._holds(*agenda[0]):
            heappop(agenda)
        return agenda[0][0] if agenda else None

    def _holds(self, at_ns: int, what: int, number: int) -> bool:
        """Whether an entry of the agenda is still to happen."""
        if what < What.ACCESS:
            return self._sharing.holds(at_ns, what, number)
        flow = self._flows.get(number)
        if flow is None:
            return False
        return flow.change_ns == at_ns if what == What.ACCESS else flow.lane is None and flow.begin_ns == at_ns

    # ── what happens ────────────────────────────────────────────────────────────────────────────────
    def _begin(self, number: int) -> None:
        flow = self._flows[number]
        if flow.left:
            self._join(number, flow)
        else:
            self._end([number])

    def _end(self, numbers: list[int]) -> None:
        for number in numbers:
            self._done[number] = self._flows.pop(number).size_bytes

    def _change_access(self, number: int) -> None:
        flow = self._flows[number]
        flow.left = self._left(number, flow)
        self._leave(number, flow)
        self._join(number, flow)

    def _join(self, number: int, flow: _Flow) -> None:
        flow.lane = self._sharing.join(number, flow.device, flow.direction, flow.left, self._now_ns)
        flow.change_ns = self._network.next_access_change_ns(flow.device, self._now_ns)
        if flow.change_ns is not None:
            self._post(flow.change_ns, What.ACCESS, number)

    def _leave(self, number: int, flow: _Flow) -> None:
        if flow.lane is not None:
            self._sharing.leave(number, flow.lane, self._now_ns)
            flow.lane = None

    def _left(self, number: int, flow: _Flow) -> int:
        return flow.left if flow.lane is None else max(0, flow.lane.ends[number] - flow.lane.read(self._now_ns))

    # ── state ───────────────────────────────────────────────────────────────────────────────────────
    def state(self) -> dict[str, Any]:
        """Everything that `restored` needs, as plain data."""
        flows = [
            # as text, since what is left may exceed 64 bits
            (number, flow.device, int(flow.direction), flow.size_bytes, str(self._left(number, flow)), flow.begin_ns)
            for number, flow in self._flows.items()
        ]
        return {"now_ns": self._now_ns, "flows": flows, "done": list(self._done.items())}

    @classmethod
    def restored(cls, network: Network, state: dict[str, Any]) -> "Flows":
        """The flows that `state` was taken of, on an equal network."""
        flows = cls(network, state["now_ns"])
        flows._done = dict(state["done"])
        for number, device, direction, size_bytes, left, begin_ns in state["flows"]:
            begin_ns = max(begin_ns, flows._now_ns)  # what flowed already goes on at once
            flows._flows[number] = _Flow(device, Direction(direction), size_bytes, int(left), begin_ns)
            flows._post(begin_ns, What.BEGIN, number)
        return flows
