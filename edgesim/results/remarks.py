"""Remarks: what its figures alone do not tell of a run, that it can have learnt little."""

import math

from edgesim.engine import reasons
from edgesim.results.analysis.tables import WHY
from edgesim.results.store import Run

DIVERGED = "the training has diverged; take a smaller training.lr, or training.clip"
_GROWN = 10
"""Times the loss of the untrained model: no training that learns ends above that."""

_RESUME = "failures: {transfer: resume, training: resume}"
_ADVICE = {
    reasons.OFF_LINE: f"let jobs go on when their devices are back ({_RESUME}), or make them shorter",
    reasons.NO_CHARGE: f"let jobs go on when their devices are charged ({_RESUME}), or choose those that hold more "
    "(selector: energy-aware)",
    reasons.SERVER_DOWN: "let transfers go on when the server is back (failures.transfer: resume)",
    reasons.CRASH: f"let jobs go on after a crash ({_RESUME})",
    reasons.CORRUPT: "allow more attempts (failures.corruption.attempts)",
    reasons.OUT_OF_MEMORY: "take smaller batches (failures.out_of_memory: shrink-batch), or a smaller model",
    reasons.STALE: "allow staler updates (schedule.max_staleness), or let fewer clients work at once",
    reasons.DEADLINE: "give rounds more time (schedule.limit, or slack), or jobs less to do",
    reasons.OVER_SELECTED: "choose fewer clients for a round (schedule.over_selection)",
    reasons.OUTDATED: "let models be older (schedule.lag)",
}
"""What would help against each reason of a lost job."""
_GONE = "their devices never come back: give the fleet another availability, or charge its batteries"


def remarks(run: Run) -> list[str]:
    """Whether most jobs of a finished run were in vain, and whether its loss grew."""
    return [*_in_vain(run), *_diverged(run)] if run.finished else []


def _in_vain(run: Run) -> list[str]:
    dispatched, lost, discarded = (
        int(run.metrics()[f"jobs_{fate}"][-1]) for fate in ("dispatched", "lost", "discarded")
    )
    if 2 * (lost + discarded) <= dispatched:
        return []
    counts = {reason: work["count"] for reason, work in run.analysis()["waste"]["lost"].items() if work["count"]}
    ordered = sorted(counts, key=counts.__getitem__, reverse=True)
    why = ", ".join(f"{counts[reason]:,} {WHY[reason]}" for reason in ordered)
    advice = [f"; {told}" for reason in ordered[:1] if (told := _advice(run, reason))]
    return [f"most jobs were in vain, {lost + discarded:,} of {dispatched:,}: {why}{''.join(advice)}"]


def _advice(run: Run, reason: str) -> str:
    """Against the prevailing reason; "" where an earlier version did not record it."""
    failures = run.scenario.get("failures") or {}
    resumed = all((failures.get(part) or {}).get("kind") == "resume" for part in ("transfer", "training"))
    return _GONE if resumed and reason in (reasons.OFF_LINE, reasons.NO_CHARGE) else _ADVICE.get(reason, "")


def _diverged(run: Run) -> list[str]:
    first, last = (float(run.metrics()["loss"][row]) for row in (0, -1))
    if not 0 < _GROWN * first < last < math.inf:
        return []
    return [f"the loss grew from {first:.3g} to {last:.3g}: {DIVERGED}"]
