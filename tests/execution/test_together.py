"""What may share a stack, and how stacks are made of it."""

from pathlib import Path

import pytest
import torch

from edgesim.algorithms.contract import Algorithm
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedavg_ft import FedAvgFineTuned
from edgesim.algorithms.fedprox import FedProx
from edgesim.algorithms.reporting import LossReports
from edgesim.execution.backend import Backend, InProcess, in_process
from edgesim.execution.together import Together
from edgesim.learning.local import Order
from edgesim.learning.task import make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import State

PLAIN = Training(lr=0.1, batch_size=4)


def home(
    algorithm: Algorithm, training: Training = PLAIN, *, model: str = "mlp", backend: str = "stacked", seed: int = 0
) -> InProcess:
    task = make_task(dataset="digits", clients=20, model=model, seed=seed, folder=Path())
    return in_process(backend, algorithm, task, training, seed=seed, cohort=8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (home(FedAvg()), True),
        (home(FedAvgFineTuned()), True),  # what it does at the time of use is no training
        (home(FedProx()), False),
        (home(LossReports(inner=FedAvg())), False),
        (home(FedAvg(), Training(lr=0.1, batch_size=4, clip=1.0)), False),
        (home(FedAvg(), Training(lr=0.1, batch_size=4, momentum=0.9)), False),
        (home(FedAvg(), Training(lr=0.1, batch_size=4, weight_decay=0.1)), True),
        (home(FedAvg(), backend="loop"), False),
        (home(FedAvg(), model="cnn"), False),
    ],
    ids=["fedavg", "fine-tuning", "fedprox", "reports", "clip", "momentum", "decay", "loop", "vmap"],
)
def test_only_plain_steps_of_dense_models_are_joined(here: InProcess, expected: bool) -> None:
    assert here.is_plain == expected
    assert (Together().backend(here, lambda: None) is here) == (not expected)


def orders(here: InProcess, count: int) -> list[Order]:
    model = {"params": here.task.model.init(here.seed)}
    return [Order(i, (3 * i) % 20, 0, model, {}) for i in range(count)]


@pytest.mark.parametrize("counts", [(3, 3), (5, 4), (11, 2), (8, 8)], ids=str)
def test_results_come_in_the_order_of_the_orders(counts: tuple[int, int]) -> None:
    """The second run comes to need values while the first rests; cohorts of at most 8."""
    first, second = home(FedAvg(), seed=0), home(FedAvg(), seed=1)
    expected = [here.train(orders(here, count)) for here, count in zip((first, second), counts, strict=True)]
    together, found = Together(), {}

    def other() -> None:
        found[1] = theirs.train(orders(second, counts[1]))

    mine: Backend = together.backend(first, other)
    theirs: Backend = together.backend(second, together.train)
    found[0] = mine.train(orders(first, counts[0]))
    for number, results in enumerate(expected):
        for one, two in zip(results, found[number], strict=True):
            assert equal(one.update, two.update)
            assert one.state == two.state == {}


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(t, b[group][n]) for group in a for n, t in a[group].items())


def test_runs_that_do_not_fit_together_train_apart() -> None:
    """Another model, another rate."""
    first, second = home(FedAvg()), home(FedAvg(), Training(lr=0.2, batch_size=4), seed=1)
    expected, together = second.train(orders(second, 3)), Together()
    together.backend(first, lambda: None)
    found = together.backend(second, together.train).train(orders(second, 3))
    assert all(equal(one.update, two.update) for one, two in zip(expected, found, strict=True))
