"""A small real federation for tests of algorithms: digits, a tiny mlp, and a context to call hooks with."""

from functools import cache

import numpy as np

from edgesim.algorithms.contract import Algorithm, Context
from edgesim.execution.backend import BackendName, in_process
from edgesim.execution.federation import Federation
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


def context(world: Task | None = None, training: Training = TRAINING, horizon: int | None = 10) -> Context:
    world = world or task()
    return Context(task=world, profile=profile_model(world.model), training=training, seed=0, horizon=horizon)


def federation(
    algorithm: Algorithm, where: Context | None = None, backend: BackendName = "stacked", cohort: int = 128
) -> Federation:
    where = where or context()
    work = in_process(backend, algorithm, where.task, where.training, seed=where.seed, cohort=cohort)
    return Federation(algorithm, where, work)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)
