"""Ledger: every second, byte, FLOP and joule, by device and state; useful, wasted or still in flight (P5)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.job import Phase, Spent
from edgesim.errors import RunError

_COUNTS = ("dispatched", "aggregated", "lost", "discarded")


@dataclass
class Ledger:
    """Kept twice, so that it can be checked: per device, and as running totals.

    Attributes:
        phase_ns: time in each phase, int64 [phase, device]; phase_j: energy in each, float64 [phase, device].
        bytes_down, bytes_up int64, flops float64, dispatched, aggregated, lost, discarded int64: [device].
        total: of all finished stretches; useful, of aggregated updates; wasted, of lost and discarded ones.
        delivered: bytes of transfers that completed; broken, bytes moved by those that were given up.
    """

    devices: int
    total: Spent = Spent()
    useful: Spent = Spent()
    wasted: Spent = Spent()
    delivered: int = 0
    broken: int = 0
    phase_ns: NDArray[np.int64] = field(init=False)
    phase_j: NDArray[np.float64] = field(init=False)
    bytes_down: NDArray[np.int64] = field(init=False)
    bytes_up: NDArray[np.int64] = field(init=False)
    flops: NDArray[np.float64] = field(init=False)
    dispatched: NDArray[np.int64] = field(init=False)
    aggregated: NDArray[np.int64] = field(init=False)
    lost: NDArray[np.int64] = field(init=False)
    discarded: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.phase_ns = np.zeros((len(Phase), self.devices), np.int64)
        self.phase_j = np.zeros((len(Phase), self.devices))
        self.flops = np.zeros(self.devices)
        for name in ("bytes_down", "bytes_up", *_COUNTS):
            setattr(self, name, np.zeros(self.devices, np.int64))

    def book(self, device: int, phase: int, spent: Spent) -> None:
        """Enter one stretch of a phase."""
        self.phase_ns[phase, device] += spent.ns
        self.phase_j[phase, device] += spent.energy_j
        self.bytes_down[device] += spent.bytes_down
        self.bytes_up[device] += spent.bytes_up
        self.flops[device] += spent.flops
        self.total = self.total.plus(spent)

    def jobs(self) -> dict[str, int]:
        """Number of jobs by fate."""
        return {name: int(getattr(self, name).sum()) for name in _COUNTS}

    def check(self, *, on_ns: NDArray[np.int64], in_flight: list[Spent], moving: int) -> dict[str, str]:
        """The conservation laws at the end of a run; the sentence that holds, for each.

        `on_ns`, time on line [device]; `in_flight`, what unfinished jobs have spent; `moving`, bytes of their
        unfinished transfers. Raises RunError naming every law that is broken.
        """
        flying = Spent()
        for spent in in_flight:
            flying = flying.plus(spent)
        idle_ns = on_ns - self.phase_ns.sum(0)
        sent = self.total.bytes_down + self.total.bytes_up
        parts = self.useful.plus(self.wasted).plus(flying)
        jobs = self.jobs()
        fates = jobs["aggregated"] + jobs["lost"] + jobs["discarded"] + len(in_flight)
        laws = {
            "busy + idle + off = wall-clock, for each device": bool((idle_ns >= 0).all()),
            "time by device and state = total": int(self.phase_ns.sum()) == self.total.ns,
            "bytes by device = total": int(self.bytes_down.sum() + self.bytes_up.sum()) == sent,
            "bytes sent = delivered + lost + in flight": sent == self.delivered + self.broken + moving,
            "energy by device and state = total": _close(float(self.phase_j.sum()), self.total.energy_j),
            "energy = useful + wasted + in flight": _close(parts.energy_j, self.total.energy_j),
            "time = useful + wasted + in flight": parts.ns == self.total.ns,
            "FLOPs = useful + wasted + in flight": _close(parts.flops, self.total.flops),
            "jobs dispatched = aggregated + lost + discarded + in flight": jobs["dispatched"] == fates,
        }
        broken = [law for law, holds in laws.items() if not holds]
        if broken:
            raise RunError(f"the run broke its own laws of conservation: {'; '.join(broken)}")
        return dict.fromkeys(laws, "holds")

    def state(self) -> dict[str, Any]:
        """The ledger as plain data."""
        return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Ledger":
        """The ledger that `state` was taken of."""
        ledger = cls(state["devices"])
        for name, value in state.items():
            setattr(ledger, name, Spent(*value) if name in ("total", "useful", "wasted") else value)
        return ledger


def _close(a: float, b: float) -> bool:
    """Equal but for the rounding of floating-point sums in another order."""
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-9)
