"""Ledger: every second, byte, FLOP and joule, by device and state; useful, wasted or still in flight (P5)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.job import Phase, Spent
from edgesim.engine.scalars import scalars
from edgesim.errors import RunError

_COUNTS = ("dispatched", "aggregated", "lost", "discarded")
_ACCOUNTS = ("total", "useful", "wasted")
_WHOLE = ("radio_until_ns", "bytes_down", "bytes_up", *_COUNTS)
_COLUMNS = (*_WHOLE, "phase_ns", "phase_j", "flops")


class Ledger:
    """Kept twice, so that it can be checked: per device, and as running totals.

    Attributes:
        phase_ns: time in each phase, int64 [phase, device]; phase_j: energy in each, float64 [phase, device].
        bytes_down, bytes_up int64, flops float64, dispatched, aggregated, lost, discarded int64: [device].
        total: of all finished stretches; useful, of aggregated updates; wasted, of lost and discarded ones.
        radio_until_ns: when the radio tail ends that was booked last, int64 [device].
        delivered: bytes of transfers that completed; broken, bytes moved by those that were given up.
    """

    def __init__(self, devices: int) -> None:
        self.total, self.useful, self.wasted = Spent(), Spent(), Spent()
        self.delivered = self.broken = 0
        self._fates = dict.fromkeys(_COUNTS, 0)
        # A device's figures lie side by side: entering a stretch touches a few cache lines, not a dozen pages.
        whole = np.zeros((devices, len(_WHOLE) + len(Phase)), np.int64).T
        real = np.zeros((devices, 1 + len(Phase))).T
        self.radio_until_ns, self.bytes_down, self.bytes_up = whole[:3]
        self.dispatched, self.aggregated, self.lost, self.discarded = whole[3 : len(_WHOLE)]
        self.phase_ns = whole[len(_WHOLE) :]
        self.flops, self.phase_j = real[0], real[1:]
        self._phase_ns, self._phase_j = scalars(self.phase_ns), scalars(self.phase_j)
        self._down, self._up, self._flops = map(scalars, (self.bytes_down, self.bytes_up, self.flops))
        self._counts = {name: scalars(getattr(self, name)) for name in _COUNTS}

    def book(self, device: int, phase: int, spent: Spent) -> None:
        """Enter one stretch of a phase."""
        self._phase_ns[phase, device] += spent.ns
        self._phase_j[phase, device] += spent.energy_j
        if phase == Phase.TRAIN:
            self._flops[device] += spent.flops
        elif phase == Phase.DOWNLOAD:
            self._down[device] += spent.bytes_down
        else:
            self._up[device] += spent.bytes_up
        self.total.add(spent)

    def count(self, fate: str, device: int) -> None:
        """One more job of a device was dispatched, aggregated, lost or discarded."""
        self._counts[fate][device] += 1
        self._fates[fate] += 1

    def jobs(self) -> dict[str, int]:
        """Number of jobs by fate."""
        return dict(self._fates)

    def check(self, *, on_ns: NDArray[np.int64], in_flight: list[Spent], moving: int) -> dict[str, str]:
        """The conservation laws at the end of a run; the word "holds" for each.

        `on_ns`, time on line [device]; `in_flight`, what unfinished jobs have spent; `moving`, bytes of their
        unfinished transfers. Raises RunError naming every law that is broken.
        """
        parts = Spent()
        for account in (self.useful, self.wasted, *in_flight):
            parts.add(account)
        total, idle_ns = self.total, on_ns - self.phase_ns.sum(0)
        sent = total.bytes_down + total.bytes_up
        jobs = self.jobs()
        fates = jobs["aggregated"] + jobs["lost"] + jobs["discarded"] + len(in_flight)
        laws = {
            "jobs by device = total": all(int(getattr(self, name).sum()) == jobs[name] for name in _COUNTS),
            "busy + idle + off = wall-clock, for each device": bool((idle_ns >= 0).all()),
            "time by device and state = total": int(self.phase_ns.sum()) == total.ns,
            "bytes by device = total": int(self.bytes_down.sum() + self.bytes_up.sum()) == sent,
            "bytes sent = delivered + lost + in flight": sent == self.delivered + self.broken + moving,
            "bytes = useful + wasted + in flight": parts.bytes_down + parts.bytes_up == sent,
            "energy by device and state = total": _close(float(self.phase_j.sum()), total.energy_j),
            "energy = useful + wasted + in flight": _close(parts.energy_j, total.energy_j),
            "time = useful + wasted + in flight": parts.ns == total.ns,
            "FLOPs = useful + wasted + in flight": _close(parts.flops, total.flops),
            "jobs dispatched = aggregated + lost + discarded + in flight": jobs["dispatched"] == fates,
        }
        broken = [law for law, holds in laws.items() if not holds]
        if broken:
            raise RunError(f"the run broke its own laws of conservation: {'; '.join(broken)}")
        return dict.fromkeys(laws, "holds")

    def state(self) -> dict[str, Any]:
        """The ledger as plain data."""
        return {
            "fates": dict(self._fates),
            "delivered": self.delivered,
            "broken": self.broken,
            **{name: getattr(self, name).state() for name in _ACCOUNTS},
            **{name: getattr(self, name).copy() for name in _COLUMNS},
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Ledger":
        """The ledger that `state` was taken of."""
        ledger = cls(len(state["flops"]))
        ledger._fates = dict(state["fates"])
        ledger.delivered, ledger.broken = state["delivered"], state["broken"]
        for name in _ACCOUNTS:
            setattr(ledger, name, Spent(*state[name]))
        for name in _COLUMNS:
            getattr(ledger, name)[...] = state[name]
        return ledger


def _close(a: float, b: float) -> bool:
    """Equal but for the rounding of floating-point sums in another order."""
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-9)
