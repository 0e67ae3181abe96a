"""Backhaul: the links between edge aggregators and the cloud. What crosses them is an account of its own."""

from dataclasses import dataclass
from typing import Any

from edgesim.devices import cost


@dataclass(frozen=True, kw_only=True)
class Link:
    """An edge's own link to the cloud. Attributes: power_w, drawn at its two ends together while it sends."""

    down_bps: float
    up_bps: float
    latency_s: float = 0.0
    power_w: float = 0.0

    def ns(self, size_bytes: int, *, is_up: bool) -> int:
        """How long a message takes."""
        return cost.transfer_ns(size_bytes, self.up_bps if is_up else self.down_bps, self.latency_s)


class Backhaul:
    """What has crossed the links between edges and cloud so far; each edge has at most one message under way."""

    def __init__(self) -> None:
        self._ns = self._down = self._up = 0
        self._joules = 0.0
        self._open: dict[int, tuple[int, int, int, bool, float]] = {}  # edge → start, end, bytes, is up, watts

    def begin(self, edge: int, start_ns: int, end_ns: int, size_bytes: int, *, is_up: bool, power_w: float) -> None:
        """A message leaves."""
        self._open[edge] = start_ns, end_ns, size_bytes, is_up, power_w

    def end(self, edge: int) -> None:
        """The edge's message has come through."""
        start_ns, end_ns, size_bytes, is_up, power_w = self._open.pop(edge)
        self._ns += end_ns - start_ns
        self._joules += power_w * (end_ns - start_ns) / 1e9
        if is_up:
            self._up += size_bytes
        else:
            self._down += size_bytes

    def totals(self, now_ns: int) -> dict[str, int | float]:
        """Seconds (of all links together), bytes each way and energy; of messages under way, their part by now."""
        ns, joules, size = self._ns, self._joules, {True: self._up, False: self._down}
        for start_ns, end_ns, size_bytes, is_up, power_w in self._open.values():
            done_ns = min(now_ns, end_ns) - start_ns
            ns += done_ns
            joules += power_w * done_ns / 1e9
            size[is_up] += size_bytes * done_ns // (end_ns - start_ns) if end_ns > start_ns else size_bytes
        return {
            "backhaul_s": ns / 1e9,
            "backhaul_bytes_down": size[False],
            "backhaul_bytes_up": size[True],
            "backhaul_j": joules,
        }

    def state(self) -> tuple[Any, ...]:
        """As plain data."""
        return self._ns, self._down, self._up, self._joules, dict(self._open)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Take up a `state`."""
        self._ns, self._down, self._up, self._joules, opened = state
        self._open = {edge: tuple(message) for edge, message in opened.items()}
