"""A small real federation for tests of algorithms: digits, a tiny mlp, and a context to call hooks with."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch

from edgesim.algorithms.contract import Algorithm, Arrivals, Context
from edgesim.engine.learning import Received
from edgesim.execution.backend import BackendName, in_process
from edgesim.execution.federation import Federation
from edgesim.learning.local import Trained
from edgesim.learning.profile import profile_model
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training

TRAINING = Training(lr=0.1, batch_size=5, epochs=2)


@cache
def task(clients: int = 8, model: str = "mlp", alpha: float | None = None) -> Task:
    spread = ("iid", {}) if alpha is None else ("dirichlet", {"alpha": alpha})
    return make_task(
        dataset="digits", clients=clients, model=model, model_params={"hidden": [16] if model == "mlp" else 16},
        partition=spread[0], partition_params=spread[1], seed=0,
    )  # fmt: skip


@cache
def bn_task() -> Task:
    """A tiny model with batch norms."""
    return make_task(dataset="digits", clients=4, model="cnn-bn", model_params={"width": 0.05}, seed=0)


def context(world: Task | None = None, training: Training = TRAINING, horizon: int | None = 10) -> Context:
    world = world or task()
    return Context(task=world, profile=profile_model(world.model), training=training, seed=0, horizon=horizon)


def federation(
    algorithm: Algorithm, where: Context | None = None, backend: BackendName = "stacked", cohort: int = 128
) -> Federation:
    where = where or context()
    work = in_process(backend, algorithm, where.task, where.training, seed=where.seed, cohort=cohort)
    return Federation(algorithm, where, work)


def arrivals(
    update: Mapping[str, Mapping[str, object]],
    samples: Sequence[int] | None = None,
    discount: Sequence[float] | None = None,
    staleness: Sequence[int] | None = None,
    population: int = 8,
) -> Arrivals:
    """Updates given as lists [arrival, *shape]; equal samples, fresh and undiscounted unless said otherwise."""
    state = {group: {name: torch.tensor(rows) for name, rows in params.items()} for group, params in update.items()}
    count = len(next(iter(next(iter(state.values())).values())))
    return Arrivals(
        clients=tuple(range(count)),
        samples=torch.tensor(samples or [1] * count, dtype=torch.float64),
        staleness=torch.tensor(staleness or [0] * count),
        discount=torch.tensor(discount or [1.0] * count, dtype=torch.float64),
        update=state,
        payloads=({},) * count,
        population=population,
    )


def trained(
    algorithm: Algorithm,
    clients: Sequence[int] = (0, 1, 2),
    where: Context | None = None,
    backend: BackendName = "stacked",
    version: int = 0,
    cohort: int = 128,
) -> list[Trained]:
    """What these clients send and keep after one job each."""
    world = federation(algorithm, where, backend, cohort)
    for job, client in enumerate(clients):
        world.dispatch(job, client, version)
    return [Trained(*world._training.result(job)[1]) for job in range(len(clients))]


def play(world: Federation, rounds: int, clients: int = 8, first: int = 0) -> Federation:
    """Synchronous rounds of clients 0, 1, …, numbered from `first`; the same world."""
    for turn in range(first, first + rounds):
        jobs = range(turn * clients, (turn + 1) * clients)
        for job in jobs:
            world.dispatch(job, job % clients, turn)
        for job in jobs:
            world.arrive(job, job % clients)
        world.aggregate([Received(job, job % clients, 0, 1.0) for job in jobs])
    return world


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
