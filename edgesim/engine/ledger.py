"""Ledger: every second, byte, FLOP and joule, by device and state; useful, wasted or still in flight (P5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import FloatArray
from edgesim.engine.job import FAILED, Job, Phase, SmoothJobs, Spent, Stretch
from edgesim.engine.scalars import MANY, scalars
from edgesim.errors import RunError

_COUNTS = ("dispatched", "aggregated", "lost", "discarded")
_ACCOUNTS = ("total", "useful", "wasted", "repeated")
_WHOLE = ("radio_until_ns", "bytes_down", "bytes_up")
_COLUMNS = (*_WHOLE, *_COUNTS, "phase_ns", "phase_j", "flops", "memory_bytes")
_TRANSFERS = ("delivered", "broken", "moving")
_, _TRAIN, _UPLOAD = (phase.value for phase in Phase)
_COMPLETE = ("done", "stale")  # outcomes
_AGAIN = frozenset(FAILED)


class Ledger:
    """Kept twice, so that it can be checked: per device, and as running totals.

    Attributes:
        phase_ns: time in each phase, int64 [phase, device]; phase_j: energy in each, float64 [phase, device].
        bytes_down, bytes_up int64, flops float64: [device].
        dispatched, aggregated, lost, discarded: numbers of jobs, int32 [device]; one too many would raise ValueError.
        total: of all jobs that ended; useful, of aggregated updates; wasted, of lost and discarded ones, and of
            attempts at a phase that had to begin anew, whatever became of the job; repeated, of these attempts alone.
        memory_bytes: the largest peak memory of a job that it was given, int64 [device].
        radio_until_ns: when the radio tail ends that was booked last, int64 [device].
        delivered: bytes of transfers that completed; broken, bytes moved by those that were given up or began
            anew; moving, by those that the end of the run cut short.
    """

    def __init__(self, devices: int) -> None:
        self.total, self.useful, self.wasted, self.repeated = Spent(), Spent(), Spent(), Spent()
        self.delivered = self.broken = self.moving = 0
        self._fates = dict.fromkeys(_COUNTS, 0)
        # A device's figures lie side by side: entering a stretch touches a few cache lines, not a dozen pages.
        rows = np.zeros((devices, len(_WHOLE) + len(Phase) + len(_COUNTS) // 2), np.int64)
        whole, counts = rows.T, rows[:, -(len(_COUNTS) // 2) :].view(np.int32).T  # two counts in one int64
        real = np.zeros((devices, 1 + len(Phase))).T
        self.radio_until_ns, self.bytes_down, self.bytes_up = whole[: len(_WHOLE)]
        self.dispatched, self.aggregated, self.lost, self.discarded = counts
        self.phase_ns = whole[len(_WHOLE) : len(_WHOLE) + len(Phase)]
        self.flops, self.phase_j = real[0], real[1:]
        self.memory_bytes = np.zeros(devices, np.int64)
        self._phase_ns, self._phase_j = [*map(scalars, self.phase_ns)], [*map(scalars, self.phase_j)]
        self._down, self._up, self._flops = map(scalars, (self.bytes_down, self.bytes_up, self.flops))
        self._memory = scalars(self.memory_bytes)
        self._counts = {name: scalars(getattr(self, name)) for name in _COUNTS}

    def book(self, job: Job) -> Spent:
        """Enter all that a job, or what the end of the run cut it down to, has done; what that comes to without
        failed attempts, which are waste already."""
        device, spent, again = job.client, Spent(), False
        phase_ns, phase_j = self._phase_ns, self._phase_j
        plan = job.planned()
        for phase, start_ns, end_ns, size, flops, energy_j, outcome, _ in plan:
            ns = end_ns - start_ns
            phase_ns[phase][device] += ns
            phase_j[phase][device] += energy_j
            spent.ns += ns
            spent.energy_j += energy_j
            if phase == _TRAIN:
                spent.flops += flops
            elif phase == _UPLOAD:
                spent.bytes_up += size
            else:
                spent.bytes_down += size
            again = again or outcome in _AGAIN
        self._down[device] += spent.bytes_down
        self._up[device] += spent.bytes_up
        self._flops[device] += spent.flops
        self.total.add(spent)
        self._follow_transfers(plan)
        return self._without_repetition(plan) if again else spent

    def book_smooth(self, jobs: SmoothJobs) -> None:
        """Enter jobs that went smoothly, one after the other."""
        device, ns, (down, _, up) = jobs.client, np.diff(jobs.edges_ns, axis=0), jobs.sizes
        for phase in Phase:
            np.add.at(self.phase_ns[phase], device, ns[phase])
            np.add.at(self.phase_j[phase], device, jobs.energy_j[phase])
        np.add.at(self.bytes_down, device, down)
        np.add.at(self.bytes_up, device, up)
        np.add.at(self.flops, device, jobs.flops)
        total, energy_j = self.total, jobs.energy_j
        total.ns += int(ns.sum())
        total.bytes_down += int(down.sum())
        total.bytes_up += int(up.sum())
        total.flops = _add_up(total.flops, jobs.flops)
        total.energy_j = _add_up(total.energy_j, energy_j[0] + energy_j[1] + energy_j[2])
        self.delivered += int(jobs.sizes.sum())

    def _without_repetition(self, stretches: Sequence[Stretch]) -> Spent:
        """Enter failed attempts as waste; what the others come to."""
        kept, attempt = Spent(), Spent()
        for stretch in stretches:
            attempt.enter(stretch)
            if stretch.outcome in _AGAIN:
                self.wasted.add(attempt)
                self.repeated.add(attempt)
                attempt = Spent()
            elif stretch.outcome != "interrupted":
                kept.add(attempt)
                attempt = Spent()
        kept.add(attempt)
        return kept

    def _follow_transfers(self, stretches: Sequence[Stretch]) -> None:
        """What an attempt at a transfer moved has been delivered if that completed, else it is broken or moving."""
        moved = 0
        for _, _, _, size, _, _, outcome, _ in stretches:  # a training moves nothing
            moved += size
            if outcome in _COMPLETE:
                self.delivered += moved
            elif outcome == "interrupted":
                continue
            elif outcome == "in-flight":
                self.moving += moved
            else:
                self.broken += moved
            moved = 0
        self.moving += moved

    def count(self, fate: str, device: int) -> None:
        """One more job of a device was dispatched, aggregated, lost or discarded."""
        self._counts[fate][device] += 1
        self._fates[fate] += 1

    def count_all(self, fate: str, devices: Sequence[int]) -> None:
        """One more job of each of these devices."""
        if len(devices) < MANY:
            counts = self._counts[fate]
            for device in devices:
                counts[device] += 1
        else:
            np.add.at(getattr(self, fate), np.array(devices), 1)
        self._fates[fate] += len(devices)

    def need(self, devices: Sequence[int], memory_bytes: Sequence[int]) -> None:
        """What the jobs that these devices are given take of memory at most."""
        if len(devices) < MANY:
            known = self._memory
            for device, wanted in zip(devices, memory_bytes, strict=True):
                if wanted > known[device]:
                    known[device] = wanted
        else:
            np.maximum.at(self.memory_bytes, np.array(devices), np.array(memory_bytes, np.int64))

    def jobs(self) -> dict[str, int]:
        """Number of jobs by fate."""
        return dict(self._fates)

    def check(self, *, on_ns: NDArray[np.int64], in_flight: list[Spent]) -> dict[str, str]:
        """The conservation laws at the end of a run; the word "holds" for each.

        `on_ns`, time on line and not kept from work by a battery [device]; `in_flight`, what unfinished jobs have
        spent, which is booked as well.
        Raises RunError naming every law that is broken.
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
            "busy + idle + no charge + off = wall-clock, for each device": bool((idle_ns >= 0).all()),
            "time by device and state = total": int(self.phase_ns.sum()) == total.ns,
            "bytes by device = total": int(self.bytes_down.sum() + self.bytes_up.sum()) == sent,
            "bytes sent = delivered + lost + in flight": sent == self.delivered + self.broken + self.moving,
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
            **{name: getattr(self, name) for name in _TRANSFERS},
            **{name: getattr(self, name).state() for name in _ACCOUNTS},
            **{name: getattr(self, name).copy() for name in _COLUMNS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self._fates = dict(state["fates"])
        for name in _TRANSFERS:
            setattr(self, name, state[name])
        for name in _ACCOUNTS:
            setattr(self, name, Spent(*state[name]))
        for name in _COLUMNS:
            getattr(self, name)[...] = state[name]


def _add_up(start: float, figures: FloatArray) -> float:
    """start + figures[0] + figures[1] + …, rounded after each."""
    return float(np.cumsum(np.concatenate(([start], figures)))[-1])


def _close(a: float, b: float) -> bool:
    """Equal but for the rounding of floating-point sums in another order."""
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-9)
