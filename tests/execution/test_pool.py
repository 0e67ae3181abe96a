"""Worker processes train exactly as one process does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgesim.algorithms import registry
from edgesim.algorithms.contract import Context
from edgesim.algorithms.fedspa import FedSpa
from edgesim.errors import RunError
from edgesim.execution.backend import InProcess, in_process
from edgesim.execution.pool import Pool
from edgesim.execution.threads import one_thread
from edgesim.learning.local import Order
from edgesim.learning.profile import profile_model
from edgesim.learning.task import make_task
from edgesim.learning.training import Training

ALGORITHM = FedSpa(density=0.5)


@pytest.fixture(scope="module")
def here() -> InProcess:
    one_thread()
    task = make_task(dataset="digits", clients=9, model="cnn", model_params={"channels": [4, 4], "hidden": 8}, seed=0)
    return in_process("loop", ALGORITHM, task, Training(lr=0.1, batch_size=20), seed=0, cohort=128)


@pytest.fixture(scope="module")
def pool(here: InProcess) -> Iterator[Pool]:
    made = Pool(here, 2)
    yield made
    made.close()


def orders(here: InProcess, count: int) -> list[Order]:
    context = Context(task=here.task, profile=profile_model(here.task.model), training=here.training, seed=0, horizon=5)
    server = ALGORITHM.init_server(context)
    clients = [ALGORITHM.init_client(context, client) for client in range(count)]
    return [
        Order(job, job, job % 2, ALGORITHM.download(context, server, state).state, state)
        for job, state in enumerate(clients)
    ]


def test_the_pool_gives_the_very_bits_of_one_process(here: InProcess, pool: Pool) -> None:
    """Nine unequal clients on two workers; masks, updates and states, to the last bit."""
    placed = orders(here, 9)
    for mine, theirs in zip(here.train(placed), pool.train(placed), strict=True):
        for a, b in ((mine.update, theirs.update), (mine.state, theirs.state)):
            assert a.keys() == b.keys()
            assert all(torch.equal(tensor, b[group][name]) for group in a for name, tensor in a[group].items())


def test_a_users_own_model_and_algorithm_reach_the_workers(tmp_path: Path) -> None:
    """Neither can be imported by name in a fresh process: their file is run there first."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "from edgesim.algorithms.fedavg import FedAvg\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(FedAvg):\n"
        "    pass\n\n"
        "def net(input_shape, classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, classes))\n"
    )
    algorithm = registry.find("./mine.py:Mine", tmp_path)()
    task = make_task(dataset="digits", clients=4, model="./mine.py:net", seed=0, folder=tmp_path)
    home = in_process("loop", algorithm, task, Training(lr=0.1, batch_size=50), seed=0, cohort=128)
    start = {"params": task.model.init(0)}
    placed = [Order(job, job, 0, start, {}) for job in range(4)]
    pool = Pool(home, 2)
    for mine, theirs in zip(home.train(placed), pool.train(placed), strict=True):
        assert all(torch.equal(t, theirs.update["params"][name]) for name, t in mine.update["params"].items())
    pool.close()


def test_a_single_order_stays_at_home(here: InProcess) -> None:
    idle = Pool(here, 2)
    idle.train(orders(here, 1))
    assert idle._executor is None
    idle.close()


def test_a_killed_worker_is_an_error_that_says_so(here: InProcess) -> None:
    pool = Pool(here, 2)
    pool.train(orders(here, 4))
    assert pool._executor is not None
    for worker in list(pool._executor._processes):
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(RunError, match="a worker process died"):
        pool.train(orders(here, 4))
    pool.close()
