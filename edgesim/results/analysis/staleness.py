"""How old updates are when they arrive."""

import math
from typing import Any

import numpy as np

from edgesim.results.analysis.jobs import Jobs
from edgesim.results.columns import OUTCOMES

_STALE = OUTCOMES.index("stale")


class Staleness:
    """Counts of updates by device class and staleness, int64 [class, staleness], those that were too old apart."""

    def __init__(self, classes: int) -> None:
        self.ages = np.zeros((classes, 1), np.int64)
        self.too_stale = np.zeros(classes, np.int64)

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        age, kind = jobs.staleness[jobs.last], jobs.kind
        arrived = age >= 0
        classes, width = self.ages.shape
        width = max(width, int(age.max(initial=-1)) + 1)
        counts = np.bincount(kind[arrived] * width + age[arrived], minlength=classes * width)
        ages = counts.reshape(classes, width)
        ages[:, : self.ages.shape[1]] += self.ages
        self.ages = ages
        self.too_stale += np.bincount(kind[arrived & (jobs.fate == _STALE)], minlength=classes)

    def of(self, kind: slice | int = slice(None)) -> dict[str, Any]:
        """Figures of one device class, or of all together. The median and the 95th percentile are the least
        staleness that at least so many updates do not exceed."""
        ages = np.atleast_2d(self.ages[kind]).sum(0)
        count, stale = int(ages.sum()), int(self.too_stale[kind].sum())
        reached, versions = np.cumsum(ages), np.arange(len(ages))
        return {
            "arrived": count,
            "mean": float(ages @ versions) / count if count else math.nan,
            "median": _quantile(reached, 50),
            "p95": _quantile(reached, 95),
            "max": int(versions[ages > 0].max()) if count else math.nan,
            "too_stale": stale,
            "too_stale_share": stale / count if count else math.nan,
        }


def _quantile(reached: Any, percent: int) -> float:
    count = int(reached[-1])
    # whole numbers, so that no rounding moves the border
    return int(np.searchsorted(100 * reached, percent * count)) if count else math.nan
