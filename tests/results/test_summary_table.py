"""The table at the end of a run."""

import json
import math
from pathlib import Path

from small_runs import CLASSES, clients, event, metric, write_run

from edgesim.results.recorder import Recorder
from edgesim.results.remarks import remarks
from edgesim.results.store import Results, Run
from edgesim.results.table import summary_table

EVALUATE = {"every": "1 min", "target": "80 %"}


LOST = [
    {"outcome": "out-of-memory", "reason": "out-of-memory", "staleness": None},
    {"outcome": "lost", "reason": "no-charge", "staleness": None},
    {"outcome": "lost", "reason": "no-charge", "staleness": None},
]


def rows(*accuracies: float, watts: float = 50.0) -> list[dict[str, float]]:
    """An evaluation a minute; a tenth of the energy is wasted."""
    return [
        metric(time_s=60.0 * i, accuracy=a, accuracy_worst10=a / 2, energy_j=watts * i, wasted_j=watts * i / 10)
        for i, a in enumerate(accuracies, 1)
    ]


def test_costs_to_target_and_what_was_not_reached(tmp_path: Path) -> None:
    write_run(tmp_path / "a0", rows(0.5, 0.8, 0.84), variant="a", evaluate=EVALUATE)
    write_run(tmp_path / "a1", rows(0.5, 0.7, 0.80), variant="a", evaluate=EVALUATE)
    write_run(tmp_path / "b0", rows(0.5, 0.6), variant="b", evaluate=EVALUATE)
    write_run(tmp_path / "c0", rows(0.5, 0.6), variant="c", evaluate=EVALUATE)
    write_run(tmp_path / "c1", rows(0.9, watts=4000), variant="c", evaluate=EVALUATE)
    table = summary_table(Results.read(tmp_path))
    assert table.header == (
        "variant", "seeds", "accuracy", "worst 10 %", "time to 0.8", "energy to 0.8", "bytes to 0.8",
        "wasted energy",
    )  # fmt: skip
    assert table.rows == (
        # standard deviation of 0.84 and 0.80: 0.02·√2; times 120 s and 180 s; energies 100 J and 150 J
        ("a", "2", "0.820 ± 0.028", "0.410", "2.5 min", "125 J", "0 B", "10.0%"),
        ("b", "1", "0.600", "0.300", "not reached", "not reached", "not reached", "10.0%"),
        ("c", "2", "0.750 ± 0.212", "0.375", "60 s (1 of 2)", "4 kJ (1 of 2)", "0 B (1 of 2)", "10.0%"),
    )


def test_runs_that_learnt_nothing_are_told(tmp_path: Path) -> None:
    """More than half of the jobs in vain, and why and what would help; a loss of more than ten times that of the
    untrained model."""
    recorder = Recorder(tmp_path / "a", CLASSES)
    (tmp_path / "a" / "scenario.yaml").write_text(json.dumps({"label": "a", "variant": "a", "scenario": {}}))
    for job in range(5):
        recorder.event(event(job, **(LOST[job] if job < 3 else {"staleness": 0})))
    recorder.metric(metric(loss=2.3))
    recorder.metric(metric(time_s=1.0, loss=23.0, jobs_dispatched=5, jobs_lost=3, jobs_aggregated=2))
    recorder.finish(clients=clients(), summary={})
    write_run(tmp_path / "b", [metric(loss=2.3), metric(loss=3e7, jobs_dispatched=4, jobs_lost=2)])
    write_run(tmp_path / "c", [metric(loss=2.3), metric(loss=math.nan)])
    _, *told = summary_table(Results.read(tmp_path)).note.splitlines()
    assert told == [
        "a: most jobs were in vain, 3 of 5: 2 battery too low, 1 out of memory; let jobs go on when their devices are "
        "charged (failures: {transfer: resume, training: resume}), or choose those that hold more (selector: "
        "energy-aware).",
        "b: the loss grew from 2.3 to 3e+07: the training has diverged; take a smaller training.lr, or training.clip.",
    ]


def test_where_all_is_resumed_and_lost_nonetheless_devices_do_not_come_back(tmp_path: Path) -> None:
    rule = {"kind": "resume"}
    recorder = Recorder(tmp_path, CLASSES)
    scenario = {"failures": {"transfer": rule, "training": rule}}
    (tmp_path / "scenario.yaml").write_text(json.dumps({"label": "a", "variant": "a", "scenario": scenario}))
    recorder.event(event(0, outcome="lost", reason="off-line", staleness=None))
    recorder.metric(metric(jobs_dispatched=1, jobs_lost=1))
    recorder.finish(clients=clients(), summary={})
    assert remarks(Run(tmp_path)) == [
        "most jobs were in vain, 1 of 1: 1 device off line; their devices never come back: give the fleet another "
        "availability, or charge its batteries"
    ]


def test_without_a_target_totals_are_shown(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows(0.5, 0.6), variant="a")
    table = summary_table(Results.read(tmp_path))
    assert table.header[4:7] == ("total time", "total energy", "total bytes")
    assert table.rows[0][4:7] == ("2 min", "100 J", "0 B")
    assert summary_table(Results.read(tmp_path), target=0.6).rows[0][4] == "2 min"


def test_quadratic_problems_have_a_gradient_norm_instead(tmp_path: Path) -> None:
    nothing = {"accuracy": math.nan, "accuracy_worst10": math.nan}
    for seed, norm in enumerate((2e-6, 4e-6)):
        write_run(tmp_path / str(seed), [metric(gradient_norm=5.0, **nothing), metric(gradient_norm=norm, **nothing)])
    table = summary_table(Results.read(tmp_path))
    assert table.header[2:4] == ("gradient norm", "total time")
    assert table.rows[0][:3] == ("v", "2", "3e-06 ± 1.4e-06")
