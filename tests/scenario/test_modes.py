"""Every schedule with real training: what it is worth against sync, and that it can be taken up half-way."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole import assembled, begun, ended, written

from edgesim.engine.simulation import Simulation
from edgesim.errors import ScenarioError
from edgesim.results.recorder import Recorder
from edgesim.scenario import scheduling
from edgesim.scenario.loading import load

BASE = """
name: modes
task:
  dataset: {name: synthetic, samples: 480, features: 20, classes: 4}
  clients: 12
  model: {name: mlp, hidden: [8]}
training: {lr: 0.1, batch_size: 10}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 12}
algorithm: fedavg
evaluate: {every: 1 aggregation}
stop: {aggregations: 4}
"""
UNEQUAL = "fleet.0.variation={compute: 0.6, link: 0.6}"
FEDSPA = "algorithm={name: fedspa, density: 0.5}"
MODES = {
    "deadline": "{kind: deadline, cohort: 4, limit: 300 ms, late: kept, staleness: polynomial}",
    "async": "{kind: async, concurrency: 6, staleness: delay-adaptive}",
    "buffered": "{kind: buffered, concurrency: 6, buffer: 3, staleness: {kind: capped, smoothness: 10}}",
    "periodic": "{kind: periodic, concurrency: 6, every: 100 ms, replace: at-tick}",
    "tiered": "{kind: tiered, tiers: 3, cohort: 2, retier: 4}",
    "safa": "{kind: safa, quota: 4, lag: 2, limit: 1 s}",
    "timelyfl": "{kind: timelyfl, concurrency: 6, wait_for: 3}",
}


def simulated(folder: Path, *overrides: str) -> Simulation:
    return ended(begun(written(BASE, folder), *overrides))


def rows(made: Simulation) -> Any:
    assert isinstance(made.recorder, Recorder)
    return made.state()["recorder"]["metrics"]


@pytest.mark.parametrize(
    ("schedule", "fleet"),
    [
        ("{kind: deadline, cohort: 12, over_selection: 1, limit: 1 h}", [UNEQUAL]),
        ("{kind: tiered, tiers: 1, cohort: 12}", [UNEQUAL]),
        ("{kind: buffered, concurrency: 12, buffer: 12}", []),
        ("{kind: timelyfl, concurrency: 12, wait_for: 12, max_epochs: 1}", [UNEQUAL]),
    ],
    ids=["endless deadline", "one tier", "full buffer", "waiting for all"],
)
def test_in_the_limit_a_schedule_is_synchronous_to_the_last_digit(
    tmp_path: Path, schedule: str, fleet: list[str]
) -> None:
    """Equal orders, equal arrivals, equal arithmetic."""
    assert rows(simulated(tmp_path, f"schedule={schedule}", *fleet)) == rows(simulated(tmp_path, *fleet))


def test_a_quota_of_all_and_time_for_all_is_synchronous_but_for_rounding(tmp_path: Path) -> None:
    """The cache then holds everybody's newest model."""
    safa = np.array(rows(simulated(tmp_path, "schedule={kind: safa, quota: 12, limit: 1 h}")), float)
    np.testing.assert_allclose(safa, np.array(rows(simulated(tmp_path)), float), rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_async_is_buffered_with_a_buffer_of_one_and_every_mode_learns_and_can_be_taken_up(
    tmp_path: Path, mode: str
) -> None:
    given = (
        f"schedule={MODES[mode]}",
        UNEQUAL,
        "stop.aggregations=9",
        "fleet.0.availability={kind: markov, on: 2 s, off: 200 ms}",
    )
    path = written(BASE, tmp_path)
    whole = ended(begun(path, *given))
    losses = [row["loss"] if isinstance(row, dict) else row for row in rows(whole)]
    assert len(losses) == 10
    part = begun(path, *given)
    part.run(lambda run: run.version >= 4, events=0)
    rest = ended(assembled(path, *given, state=copy.deepcopy(part.state())))
    assert rows(rest) == rows(whole)
    assert rest.state()["recorder"] == whole.state()["recorder"]


def test_async_is_buffered_with_a_buffer_of_one(tmp_path: Path) -> None:
    a = simulated(tmp_path, "schedule={kind: async, concurrency: 5}", UNEQUAL)
    b = simulated(tmp_path, "schedule={kind: buffered, concurrency: 5, buffer: 1}", UNEQUAL)
    assert a.state()["recorder"] == b.state()["recorder"]


@pytest.mark.parametrize(
    ("schedule", "known"),
    [
        ("{kind: sync, cohort: 4}", (4, 4, False)),
        ("{kind: deadline, cohort: 4, over_selection: 1.5, limit: 1 s}", (6, 4, False)),
        ("{kind: deadline, cohort: 4, over_selection: 1.5, limit: 1 s, late: kept}", (6, 4, True)),
        ("{kind: tiered, tiers: 3, cohort: 2}", (6, 2, False)),
        ("{kind: buffered, concurrency: 6, buffer: 2}", (6, 2, True)),
        ("{kind: hierarchical, edges: 3, edge: {kind: sync, cohort: 2}, link: %s}", (2, 2, False)),
        ("{kind: hierarchical, edges: 3, edge: {kind: buffered, concurrency: 4, buffer: 2}, link: %s}", (4, 2, True)),
    ],
)
def test_what_algorithms_know_of_a_schedule(tmp_path: Path, schedule: str, known: tuple[int, int, bool]) -> None:
    """How many work, how many make a step of the model that they work on, and whether it moves meanwhile: at an edge it
    is the edge's, and a tier's cohort works on its own."""
    line = "{down: 9 Mbit/s, up: 9 Mbit/s}"
    (planned,) = load(written(BASE, tmp_path), [f"schedule={schedule.replace('%s', line)}"]).scenarios
    found = scheduling.cadence(planned.scenario)
    assert (found.concurrency, found.updates, found.late) == known


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["{kind: deadline, cohort: 10, limit: 1 s}"],
            r"schedule: 10 × over_selection 1.3, rounded up, = 13 of 12 clients; write less",
        ),
        (["{kind: deadline, cohort: 3, limit: 1 s, max_staleness: 3}"], r"max_staleness: late updates are dropped"),
        (["{kind: deadline, cohort: 3}"], r"schedule.limit: missing \(time of a round\)"),
        (["{kind: timelyfl, concurrency: 3, wait_for: 4}"], r"wait_for: wait for 4 of 3 clients"),
        (["{kind: tiered, tiers: 4, cohort: 4}"], r"schedule.cohort: 4 tiers × 4 = 16 of 12 clients"),
        (["{kind: semisync}"], r"unknown kind 'semisync'"),
        (["{kind: periodic, concurrency: 3, every: 5}"], r"schedule.every: missing unit in 5"),
        (["{kind: async, concurrency: 3, staleness: {kind: threshold, cutoff: 3}}"], r"staleness.value: missing"),
        (["{kind: tiered, tiers: 2, cohort: 2}", FEDSPA], None),
        (["{kind: tiered, tiers: 2, cohort: 2}", "algorithm=scaffold"], r"scaffold's server keeps control besides"),
        (["{kind: safa, quota: 3, limit: 1 s}", FEDSPA], r"fedspa does more than"),
        (["{kind: safa, quota: 3, limit: 1 s}", "server.aggregator=median"], r"server.aggregator: safa merges by its"),
        (["{kind: timelyfl, concurrency: 4, wait_for: 2}", FEDSPA], r"partial: false"),
        (["{kind: timelyfl, concurrency: 4, wait_for: 2, partial: false}", FEDSPA], None),
        (["{kind: tiered, tiers: 2, cohort: 2}", "server.optimizer={name: adam, lr: 0.1}"], None),
        (["{kind: timelyfl, concurrency: 4, wait_for: 2}", "codec={name: top-k, share: 0.1}"], r"without a codec"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(
    tmp_path: Path, overrides: list[str], message: str | None
) -> None:
    given = [f"schedule={overrides[0]}", *overrides[1:]]
    if message is None:
        simulated(tmp_path, *given)
        return
    with pytest.raises(ScenarioError, match=message):
        begun(written(BASE, tmp_path), *given)
