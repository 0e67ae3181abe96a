"""Work that was in vain, by reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.analysis.jobs import AGAIN, DONE, IN_FLIGHT, INTERRUPTED, REASONS_OF_WASTE, Jobs, Whole

PARTS = ("lost", "repeated")
"""What is in vain: all that a job took, or an attempt at one of its phases."""


@dataclass
class Work:
    """An account of work. Attributes: count, of jobs, or of attempts that failed; the others, what they took."""

    count: int = 0
    ns: int = 0
    bytes: int = 0
    flops: float = 0.0
    joules: float = 0.0

    def add(self, count: int, ns: Whole, size: Whole, flops: NDArray[np.float64], joules: NDArray[np.float64]) -> None:
        """Enter pieces of work."""
        self.count += count
        self.ns += int(ns.sum())
        self.bytes += int(size.sum())
        self.flops += float(flops.sum())
        self.joules += float(joules.sum())

    def plain(self) -> dict[str, int | float]:
        """As plain data, time in seconds."""
        return {
            "count": self.count, "seconds": self.ns / 1e9, "bytes": self.bytes, "flops": self.flops,
            "joules": self.joules,
        }  # fmt: skip


class Waste:
    """Attributes: spent, by all jobs; by REASONS_OF_WASTE lost, by jobs whose work was in vain, and repeated, by
    attempts at a phase that had to begin anew.

    A job that was lost or discarded is wasted with all that it took, for its own reason; what it, or any other job,
    spent on an attempt that had to begin anew is wasted for the attempt's. So the sum of all is what the run's ledger
    calls wasted in the end: wasted_s … of metrics.parquet, and what failed in jobs still in flight.
    """

    def __init__(self) -> None:
        self.spent = Work()
        self.lost = {reason: Work() for reason in REASONS_OF_WASTE}
        self.repeated = {reason: Work() for reason in REASONS_OF_WASTE}

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        if not len(jobs):
            return
        first, last = _attempts(jobs)
        rows = jobs.end_ns - jobs.start_ns, jobs.bytes, jobs.flops, jobs.energy_j
        amounts = [np.add.reduceat(values, first) for values in rows]
        in_vain = (jobs.fate != DONE) & (jobs.fate != IN_FLIGHT)
        why = np.where(in_vain, jobs.reason[jobs.last], -1)
        again = AGAIN[jobs.outcome[last]]
        of_job = np.repeat(why, np.diff(np.append(np.searchsorted(first, jobs.first), len(first))))
        of_job[again] = -1
        of_attempt = np.where(again, jobs.reason[last], -1)
        self.spent.add(len(jobs), *amounts)
        for number, reason in enumerate(REASONS_OF_WASTE):
            lost, repeated = of_job == number, of_attempt == number
            self.lost[reason].add(int((why == number).sum()), *(amount[lost] for amount in amounts))
            self.repeated[reason].add(int(repeated.sum()), *(amount[repeated] for amount in amounts))

    def result(self) -> dict[str, Any]:
        """As plain data: spent, wasted, and lost and repeated by reason."""
        wasted = Work()
        for work in (*self.lost.values(), *self.repeated.values()):
            for name, amount in vars(work).items():
                setattr(wasted, name, getattr(wasted, name) + amount)
        by_reason = {name: {reason: work.plain() for reason, work in getattr(self, name).items()} for name in PARTS}
        return {"spent": self.spent.plain(), "wasted": wasted.plain(), **by_reason}


def _attempts(jobs: Jobs) -> tuple[Whole, Whole]:
    """The first and the last row of each attempt at a phase [attempt]."""
    ends = jobs.outcome != INTERRUPTED
    ends[jobs.last] = True
    last = np.flatnonzero(ends)
    return np.concatenate(([0], last[:-1] + 1)), last
