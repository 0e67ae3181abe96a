"""Remarks: what its figures alone do not tell of a run, that it can have learnt little."""

import math

from edgesim.results.analysis.tables import WASTE
from edgesim.results.store import Run

DIVERGED = "the training has diverged; take a smaller training.lr, or training.clip"
_GROWN = 10
"""Times the loss of the untrained model: no training that learns ends above that."""
_FATES = ("lost", "out-of-memory", "stale", "cancelled")


def remarks(run: Run) -> list[str]:
    """Whether most jobs of a finished run were in vain, and whether its loss grew."""
    return [*_in_vain(run), *_diverged(run)] if run.finished else []


def _in_vain(run: Run) -> list[str]:
    dispatched, lost, discarded = (
        int(run.metrics()[f"jobs_{fate}"][-1]) for fate in ("dispatched", "lost", "discarded")
    )
    if 2 * (lost + discarded) <= dispatched:
        return []
    causes = run.analysis()["waste"]["causes"]
    why = ", ".join(f"{causes[fate]['count']:,} {WASTE[fate]}" for fate in _FATES if causes[fate]["count"])
    return [f"most jobs were in vain, {lost + discarded:,} of {dispatched:,}: {why}"]


def _diverged(run: Run) -> list[str]:
    first, last = (float(run.metrics()["loss"][row]) for row in (0, -1))
    if not 0 < _GROWN * first < last < math.inf:
        return []
    return [f"the loss grew from {first:.3g} to {last:.3g}: {DIVERGED}"]
