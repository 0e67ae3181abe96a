"""The table at the end of a run: one line a variant, for the terminal and for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesim.results.costs import COSTS
from edgesim.results.remarks import remarks
from edgesim.results.statistics import to_target
from edgesim.results.store import Results, Run
from edgesim.units import parse

NOT_REACHED = "not reached"
NOBODY = "–"
TARGET_COSTS = ("time", "energy", "bytes")


@dataclass(frozen=True)
class Table:
    """Attributes: header [column]; rows [row][column], text; note, what the figures mean."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def summary_table(results: Results, target: float | None = None) -> Table:
    """A line for each variant: final accuracy, worst 10 %, cost to the target, wasted share of energy. Of quadratic
    problems, which have no accuracy, the norm of the shared gradient. Where some clients never train, theirs besides.

    `target` replaces that of the scenarios (evaluate.target). Where neither is set the columns of costs
    to the target give way to those of total costs.
    """
    variants = results.variants()
    targets = {variant: target_of(runs, target) for variant, runs in variants.items()}
    known = {value for value in targets.values() if value is not None}
    common = f" {next(iter(known)):.4g}" if len(known) == 1 else ""
    costs = tuple(f"{cost} to{common or ' target'}" if known else f"total {cost}" for cost in TARGET_COSTS)
    accuracies, unseen = results.have_accuracies, _of_unseen(results.runs)
    rows = [
        (
            variant,
            str(len(runs)),
            *(_accuracies(runs) if accuracies else [_gradients(runs)]),
            *(_unseen(runs, column) for column in unseen.values()),
            *_costs(runs, targets[variant], bool(known)),
            _wasted(runs),
        )
        for variant, runs in variants.items()
    ]
    reached = ("accuracy", "worst 10 %") if accuracies else ("gradient norm",)
    header = ("variant", "seeds", *reached, *unseen, *costs, "wasted energy")
    return Table(header, tuple(rows), _note(known, results, unseen))


def target_of(runs: Sequence[Run], target: float | None = None) -> float | None:
    """The accuracy asked for: `target`, else evaluate.target of the first run's scenario, else None."""
    if target is not None:
        return target
    asked = (runs[0].scenario.get("evaluate") or {}).get("target")
    return None if asked is None else parse(asked, "share")


def _accuracies(runs: Sequence[Run]) -> tuple[str, str]:
    final = [run.metrics()["accuracy"][-1] for run in runs]
    worst = [run.metrics()["accuracy_worst10"][-1] for run in runs]
    spread = f" ± {np.std(final, ddof=1):.3f}" if len(runs) > 1 else ""
    return f"{np.mean(final):.3f}{spread}", f"{np.mean(worst):.3f}"


def _of_unseen(runs: Sequence[Run]) -> dict[str, str]:
    """Columns of metrics that tell of clients that never train, by their titles here: none where there are no such
    clients, and of what a job of their own would bring only where it brings anything."""
    found = {"unseen": "accuracy_unseen", "after a job": "accuracy_unseen_trained"}
    arriving, trained = np.array([[run.metrics()[name][-1] for name in found.values()] for run in runs]).T
    if not (np.isfinite(trained) & (trained != arriving)).any():
        del found["after a job"]
    return found if np.isfinite(arriving).any() else {}


def _unseen(runs: Sequence[Run], column: str) -> str:
    final = np.array([run.metrics()[column][-1] for run in runs])
    return f"{np.mean(final):.3f}" if np.isfinite(final).all() else NOBODY


def _gradients(runs: Sequence[Run]) -> str:
    final = [run.metrics()["gradient_norm"][-1] for run in runs]
    spread = f" ± {np.std(final, ddof=1):.2g}" if len(runs) > 1 else ""
    return f"{np.mean(final):.3g}{spread}"


def _costs(runs: Sequence[Run], target: float | None, wanted: bool) -> list[str]:
    if not wanted:
        return [
            COSTS[cost].readable(float(np.mean([COSTS[cost].of(run.metrics())[-1] for run in runs])))
            for cost in TARGET_COSTS
        ]
    return ["no target" if target is None else _to_target(runs, target, cost) for cost in TARGET_COSTS]


def _to_target(runs: Sequence[Run], target: float, cost: str) -> str:
    reached = [value for run in runs if (value := to_target(run, target, cost)) is not None]
    if not reached:
        return NOT_REACHED
    text = COSTS[cost].readable(float(np.mean(reached)))
    # a mean over the seeds that made it flatters, so it never goes without saying how many did
    return text if len(reached) == len(runs) else f"{text} ({len(reached)} of {len(runs)})"


def _wasted(runs: Sequence[Run]) -> str:
    wasted = sum(float(run.metrics()["wasted_j"][-1]) for run in runs)
    total = sum(float(run.metrics()["energy_j"][-1]) for run in runs)
    return f"{wasted / total:.1%}" if total else "none spent"


def _note(targets: set[float], results: Results, unseen: Mapping[str, str]) -> str:
    note = "Final evaluation, mean over seeds ± standard deviation."
    if unseen:
        note += " Unseen: accuracy of the clients that never train"
        note += "; after a job: once each has trained at home." if len(unseen) > 1 else "."
    if targets:
        note += " Cost at the first evaluation at or above the target; (k of n): only k of n seeds reached it."
    for run in results.runs:
        note += "".join(f"\n{run.label}: {text}." for text in (*(run.summary or {}).get("notes", ()), *remarks(run)))
    return note
