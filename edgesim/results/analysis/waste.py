"""Work that was in vain, by cause."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.analysis.jobs import AGAIN, CAUSES_OF_WASTE, INTERRUPTED, Jobs, Whole
from edgesim.results.columns import OUTCOMES


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
    """Attributes: spent, by all jobs; causes, what was in vain for each of CAUSES_OF_WASTE.

    A job that was lost or discarded is wasted with all that it took, for that cause; what it, or any other job, spent
    on an attempt at a phase that had to begin anew is wasted for the attempt's. So the sum of the causes is what the
    run's ledger calls wasted in the end: wasted_s … of metrics.parquet, and what failed in jobs still in flight.
    """

    def __init__(self) -> None:
        self.spent = Work()
        self.causes = {cause: Work() for cause in CAUSES_OF_WASTE}

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        if not len(jobs):
            return
        first, outcome = _attempts(jobs)
        rows = jobs.end_ns - jobs.start_ns, jobs.bytes, jobs.flops, jobs.energy_j
        amounts = [np.add.reduceat(values, first) for values in rows]
        fate = np.repeat(jobs.fate, np.diff(np.append(np.searchsorted(first, jobs.first), len(first))))
        cause = np.where(AGAIN[outcome], outcome, fate)
        self.spent.add(len(jobs), *amounts)
        for name, work in self.causes.items():
            number = OUTCOMES.index(name)
            mine = cause == number
            if AGAIN[number]:
                work.add(int(mine.sum()), *(amount[mine] for amount in amounts))
            else:
                work.add(int((jobs.fate == number).sum()), *(amount[mine] for amount in amounts))

    def result(self) -> dict[str, Any]:
        """As plain data: spent, wasted, and causes."""
        wasted = Work()
        for work in self.causes.values():
            for name, amount in vars(work).items():
                setattr(wasted, name, getattr(wasted, name) + amount)
        causes = {cause: work.plain() for cause, work in self.causes.items()}
        return {"spent": self.spent.plain(), "wasted": wasted.plain(), "causes": causes}


def _attempts(jobs: Jobs) -> tuple[Whole, Whole]:
    """The first row of each attempt at a phase, and how the attempt ended [attempt]."""
    ends = jobs.outcome != INTERRUPTED
    ends[jobs.last] = True
    last = np.flatnonzero(ends)
    return np.concatenate(([0], last[:-1] + 1)), jobs.outcome[last]
