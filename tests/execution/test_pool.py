"""Worker processes train exactly as one process does, whatever becomes of them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dying
import pytest
import torch
from processes import wait_until

from edgesim.algorithms import registry
from edgesim.algorithms.contract import Algorithm
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedprox import FedProx
from edgesim.errors import RunError
from edgesim.execution import pool as pool_module
from edgesim.execution.backend import Backend, InProcess, in_process
from edgesim.execution.pieces import Piece
from edgesim.execution.pool import Pool
from edgesim.execution.process import prepare_process
from edgesim.learning.local import Order, Result
from edgesim.learning.task import make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import State


def home(algorithm: Algorithm, model: str = "cnn", folder: Path = Path()) -> InProcess:
    """Nine unequal clients, one at a time."""
    prepare_process()
    params = {"channels": [4, 4], "hidden": 8} if model == "cnn" else {}
    task = make_task(
        dataset="digits", clients=9, partition="dirichlet", partition_params={"alpha": 0.5}, model=model,
        model_params=params, seed=0, folder=folder,
    )  # fmt: skip
    return in_process("loop", algorithm, task, Training(lr=0.1, batch_size=20), seed=0, cohort=128)


def orders(here: InProcess, count: int, first: int = 0) -> list[Order]:
    """All are sent one model; each client has a state of its own."""
    model = {"params": here.task.model.init(0)}
    return [Order(first + i, i, first % 3, model, {"own": {"number": torch.tensor([i])}}) for i in range(count)]


def alike(here: InProcess, there: Backend, placed: list[Order]) -> bool:
    """Whether both give the same bits."""

    def equal(a: State, b: State) -> bool:
        return a.keys() == b.keys() and all(torch.equal(t, b[group][n]) for group in a for n, t in a[group].items())

    pairs = list(zip(here.train(placed), there.train(placed), strict=True))
    return all(equal(mine.update, theirs.update) and equal(mine.state, theirs.state) for mine, theirs in pairs)


def workers(pool: Pool) -> list[int]:
    """The process numbers of the workers, once they have all imported what they need."""
    pool._start(pool._count)
    assert wait_until(lambda: all(worker.asks or worker.busy or worker.wire.poll() for worker in pool._workers))
    return [int(worker._process.pid or 0) for worker in pool._workers]


@pytest.fixture(scope="module")
def here() -> InProcess:
    return home(FedAvg())


@pytest.fixture(scope="module")
def pool(here: InProcess) -> Iterator[Pool]:
    with closing(Pool(here, 2)) as made:
        workers(made)
        yield made


def test_the_pool_gives_the_very_bits_of_one_process(here: InProcess, pool: Pool) -> None:
    """Batches of several sizes, one after the other."""
    for first, count in ((0, 9), (9, 2), (20, 9)):
        assert alike(here, pool, orders(here, count, first))


def stacks(algorithm: Algorithm, cohort: int = 128) -> InProcess:
    """Forty unequal clients, stacked."""
    prepare_process()
    task = make_task(
        dataset="digits", clients=40, partition="dirichlet", partition_params={"alpha": 0.5}, model="mlp", seed=0,
        folder=Path(),
    )  # fmt: skip
    return in_process("stacked", algorithm, task, Training(lr=0.1, batch_size=7), seed=0, cohort=cohort)


@pytest.mark.parametrize(
    ("mine", "sizes"),
    [(stacks(FedAvg()), [[20, 20], [9, 8], []]), (stacks(FedProx(), cohort=10), [[10, 10, 10, 10], [10, 7], []])],
    ids=["any company", "whole cohorts"],
)
def test_stacks_that_take_long_are_spread(
    mine: InProcess, sizes: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that train the same in any company are dealt out to all hands; others go in their own cohorts."""
    monkeypatch.setattr(pool_module, "_WORTH", 0.0)
    found: list[list[int]] = []
    train = Pool._train

    def noted(self: Pool, pieces: list[Piece]) -> list[Result]:
        found.append([len(piece) for piece in pieces])
        return train(self, pieces)

    monkeypatch.setattr(Pool, "_train", noted)
    with closing(Pool(mine, 2)) as pool:
        workers(pool)
        for count, expected in zip((40, 17, 3), sizes, strict=True):
            found.clear()
            assert alike(mine, pool, orders(mine, count))
            assert found == ([expected] if expected else [])  # a few are trained here


def test_stacks_that_take_no_time_are_trained_here() -> None:
    mine = stacks(FedAvg())
    with closing(Pool(mine, 2)) as pool:
        assert alike(mine, pool, orders(mine, 40))
        assert pool._workers == []


def test_no_more_workers_start_than_have_something_to_do(here: InProcess) -> None:
    with closing(Pool(here, 8)) as pool:
        assert alike(here, pool, orders(here, 3))
        assert len(pool._workers) == 2


def test_no_orders_have_no_results(pool: Pool) -> None:
    assert pool.train([]) == []


def test_one_worker_of_two_is_this_process(pool: Pool) -> None:
    assert len(workers(pool)) == 1


def test_a_worker_killed_while_it_waits_is_replaced(here: InProcess, pool: Pool) -> None:
    [before] = workers(pool)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: Path(f"/proc/{before}/stat").read_text().rpartition(") ")[2].startswith("Z"))
    assert alike(here, pool, orders(here, 9))
    assert alike(here, pool, orders(here, 9))
    assert workers(pool) != [before]


def test_what_a_killed_worker_had_claimed_is_trained_again(tmp_path: Path) -> None:
    """Killed while it trains, and the next one too; this process waits for the first death."""
    mine = armed(tmp_path, "Dying", times=2)
    with closing(Pool(mine, 2)) as pool:
        workers(pool)
        expected = home(FedAvg()).train(orders(mine, 9))
        for trained, wanted in zip(pool.train(orders(mine, 9)), expected, strict=True):
            assert all(torch.equal(t, trained.update["params"][name]) for name, t in wanted.update["params"].items())
    assert len(list(tmp_path.glob("death-*"))) == 2


def test_clients_whose_training_no_worker_survives_are_an_error(tmp_path: Path) -> None:
    mine = armed(tmp_path, "Dying", times=99)
    pool = Pool(mine, 2)
    workers(pool)
    with pytest.raises(RunError, match="worker processes died 3 times"):
        pool.train(orders(mine, 9))
    assert len(list(tmp_path.glob("death-*"))) == 3
    assert pool._workers == []


def test_an_error_in_a_worker_is_raised_here(tmp_path: Path) -> None:
    mine = armed(tmp_path, "Failing")
    pool = Pool(mine, 2)
    workers(pool)
    with pytest.raises(ZeroDivisionError, match="in a worker"):
        pool.train(orders(mine, 9))
    assert pool._workers == []


def armed(folder: Path, name: str, **parameters: int) -> InProcess:
    dying.write(folder)
    (folder / "armed").touch()
    kind: Any = registry.find(f"./dying.py:{name}", folder)
    return home(kind(home=os.getpid(), folder=str(folder), **parameters))


def test_a_users_own_model_and_algorithm_reach_the_workers(tmp_path: Path) -> None:
    """Neither can be imported by name in a fresh process, and their file is gone by then: its text goes there."""
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
    mine = home(registry.find("./mine.py:Mine", tmp_path)(), "./mine.py:net", tmp_path)
    (tmp_path / "mine.py").unlink()
    with closing(Pool(mine, 2)) as pool:
        workers(pool)
        assert alike(mine, pool, orders(mine, 9))


def test_a_single_order_stays_at_home(here: InProcess) -> None:
    with closing(Pool(here, 2)) as idle:
        idle.train(orders(here, 1))
        assert idle._workers == []


LONG = """
import signal, sys, test_pool
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedprox import FedProx
from edgesim.execution.pieces import Piece
from edgesim.execution.pool import Pool
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what they start in the background ignore it
    here = test_pool.home(FedAvg())
    pool = Pool(here, 2)
    print(*test_pool.workers(pool), flush=True)
    while True:
        pool.train(test_pool.orders(here, 9))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_and_no_memory_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Of a process that is killed or interrupted in the midst of training in a pool."""
    (tmp_path / "long.py").write_text(LONG)
    named = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").exists() else set()
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "long.py"], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        with parent, parent.stdout or open(os.devnull) as printed:
            assert printed.readline().strip().isdecimal()
            time.sleep(0.2)
            parent.send_signal(number)
            parent.wait(30)
            assert wait_until(lambda: not in_group(parent.pid), every_s=0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    left = set(Path("/dev/shm").iterdir()) - named if named else set()
    assert [path for path in left if path.stat().st_uid == os.getuid() and "torch" in path.name] == []


def in_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
