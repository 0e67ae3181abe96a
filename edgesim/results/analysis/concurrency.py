"""How many jobs are in flight."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.analysis.jobs import Jobs, Whole


class Concurrency:
    """Jobs in flight by device class, over equal parts of the run.

    Attributes: edges_ns, of the parts [part + 1]; in_flight_ns, busy_ns, time of jobs from dispatch to end, and that
    at work, float64 [class].
    """

    def __init__(self, classes: int, run_ns: int, parts: int) -> None:
        self.edges_ns: Whole = np.array([run_ns * part // parts for part in range(parts + 1)], np.int64)
        self.in_flight_ns, self.busy_ns = np.zeros(classes), np.zeros(classes)
        self._change = np.zeros((classes, parts))  # of the number of jobs, in each part
        self._rest_ns = np.zeros((classes, parts))  # the same, each times what is left of the part by then

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        kind, classes = jobs.kind, len(self.busy_ns)
        self.in_flight_ns += np.bincount(kind, jobs.ended_ns - jobs.began_ns, classes)
        self.busy_ns += np.bincount(kind, jobs.busy_ns, classes)
        self._enter(kind, jobs.began_ns, 1)
        self._enter(kind, jobs.ended_ns, -1)

    def over_time(self) -> NDArray[np.float64]:
        """Mean number of jobs in flight in each part [class, part]."""
        width = np.diff(self.edges_ns)
        before = np.cumsum(self._change, 1) - self._change
        return np.asarray((before * width + self._rest_ns) / np.maximum(width, 1), np.float64)

    def of(self, kind: slice | int = slice(None)) -> dict[str, Any]:
        """Figures of one device class, or of all together: time averages over the run."""
        run_ns = int(self.edges_ns[-1])
        sums = float(self.in_flight_ns[kind].sum()), float(self.busy_ns[kind].sum())
        jobs, working = (value / run_ns if run_ns else math.nan for value in sums)
        return {"jobs": jobs, "working": working}

    def _enter(self, kind: Whole, at_ns: Whole, sign: int) -> None:
        parts, classes = len(self.edges_ns) - 1, len(self.busy_ns)
        part = np.clip(np.searchsorted(self.edges_ns, at_ns, "right") - 1, 0, parts - 1)
        rest_ns = np.maximum(self.edges_ns[part + 1] - at_ns, 0)
        place, size = kind * parts + part, classes * parts
        self._change += sign * np.bincount(place, minlength=size).reshape(classes, parts)
        self._rest_ns += sign * np.bincount(place, rest_ns, size).reshape(classes, parts)
