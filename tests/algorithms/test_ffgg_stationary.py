"""FFGG reaches a stationary point with heterogeneous data, stale gradients and attackers, where others stall."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from quadratics import problem, where

import edgesim
from edgesim.algorithms.aggregators import Bucketing, Median
from edgesim.algorithms.contract import Algorithm, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.ffgg import FFGG
from edgesim.algorithms.l2gd import L2GD
from edgesim.algorithms.rules import Average
from edgesim.algorithms.scaffold import Scaffold
from edgesim.engine.learning import Received
from edgesim.execution.attackers import Attackers
from edgesim.execution.backend import in_process
from edgesim.execution.federation import Federation
from edgesim.execution.store import ClientStore
from edgesim.learning.attacks import SignFlip

HOSTILE = 5  # of 21: 24 %, as ⌊32/3⌋ added to 32
STALLED = 1e-3
EXACT = FFGG(fine_tune="exact")


def stationarity(algorithm: Algorithm, setting: Context, rounds: int, cohort: int, hostile: int = 0) -> float:
    """‖∇F(θ)‖ after so many synchronous rounds of `cohort` clients; the last `hostile` flip what they send."""
    clients = setting.task.clients
    work = in_process("stacked", algorithm, setting.task, setting.training, seed=0, cohort=128)
    attackers = Attackers(SignFlip(), torch.arange(clients).ge(clients - hostile).numpy(), 0) if hostile else None
    world = Federation(algorithm, setting, work, ClientStore(), attackers)
    for number in range(rounds):
        jobs = [(number * cohort + i, (number * cohort + i) % clients) for i in range(cohort)]
        for job, client in jobs:
            world.dispatch(job, client, number)
        for job, client in jobs:
            world._training.result(job)
            world.arrive(job, client)
        world.aggregate([Received(job, client, 0, 1.0) for job, client in jobs])
    return world.evaluate()["gradient_norm"]


@pytest.mark.parametrize("fine_tune", ["exact", "gd", "cg"])
def test_some_clients_a_round_are_enough_where_one_theta_fits_all(fine_tune: str) -> None:
    algorithm = FFGG(fine_tune=fine_tune)  # type: ignore[arg-type]
    assert stationarity(algorithm, where(problem()), rounds=150, cohort=2) < STALLED / 10


@pytest.mark.parametrize("algorithm", [FedAvg(), Scaffold(), L2GD()], ids=lambda algorithm: type(algorithm).__name__)
def test_others_stall_there_since_they_share_w_or_wander(algorithm: Algorithm) -> None:
    assert stationarity(algorithm, where(problem()), rounds=150, cohort=2) > 3 * STALLED


def test_with_all_clients_it_descends_whatever_their_differences_and_local_steps_do_not() -> None:
    """Nothing fits all here: F has a minimum above 0, which one gradient a round finds and client drift misses."""
    setting = where(problem(setting="comparison", zeta=1.0))
    assert stationarity(EXACT, setting, rounds=400, cohort=8) < STALLED / 3
    assert stationarity(FedAvg(), setting, rounds=400, cohort=8) > 10 * STALLED
    assert stationarity(FFGG(local_steps=10), setting, rounds=400, cohort=8) > 10 * STALLED


def test_local_steps_reach_it_sooner_where_one_theta_fits_all() -> None:
    setting = where(problem())
    single, local = (stationarity(FFGG(local_steps=n), setting, rounds=25, cohort=8) for n in (0, 10))
    assert local < single / 10


def test_flipped_gradients_do_not_keep_it_away_under_buckets_and_their_median() -> None:
    setting = where(problem(clients=21))
    robust = replace(setting, rule=Average(aggregator=Median(), before=Bucketing(size=2)))
    assert stationarity(EXACT, robust, rounds=200, cohort=21, hostile=HOSTILE) < STALLED
    for other in (FedAvg(), Scaffold()):
        assert stationarity(other, robust, rounds=200, cohort=21, hostile=HOSTILE) > 10 * STALLED


SCENARIO = """\
name: stale
task:
  dataset: {name: quadratic, setting: byzantine, d_theta: 6, d_w: 3, rows: 60}
  clients: 8
  model: quadratic
training: {lr: 0.1, batch_size: 1, epochs: 10}
fleet: [{device: raspberry-pi-4, share: 1.0, link: wifi-home, variation: {compute: 0.3, link: 0.3}}]
schedule: {kind: buffered, concurrency: 8, buffer: 1}
algorithm: ffgg
evaluate: {every: 800 aggregations}
stop: {aggregations: 800}
"""


def test_stale_gradients_do_not_keep_it_away(tmp_path: Path) -> None:
    """The real engine: eight clients at work, each gradient merged as it comes, about seven versions old. Others'
    steps are divided by eight, or they would diverge."""
    path = tmp_path / "stale.yaml"
    path.write_text(SCENARIO, encoding="utf-8")

    def reached(algorithm: str, *overrides: str) -> float:
        run = edgesim.run(path, out=tmp_path / algorithm, overrides=[f"algorithm={algorithm}", *overrides]).runs[0]
        return float(run.metrics()["gradient_norm"][-1])

    assert reached("ffgg") < STALLED
    assert reached("{name: ffgg, step: delay-adaptive}") < STALLED
    slowly = "server={optimizer: {name: sgd, lr: 0.125}}"
    assert min(reached(other, slowly) for other in ("fedavg", "scaffold")) > 3 * STALLED
