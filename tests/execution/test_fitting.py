"""Jobs that are too large for their devices train with a smaller batch: in the costs and in the training itself."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from edgesim.algorithms.contract import Algorithm, Client, Context, Payload, local_work
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.devices.workload import Workload
from edgesim.execution.backend import in_process
from edgesim.execution.federation import Federation
from edgesim.execution.timing import TimingOnly
from edgesim.learning.profile import profile_model
from edgesim.learning.task import make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import State


def context(batch_size: int, memory: list[int] | None = None) -> Context:
    task = make_task(dataset="digits", clients=6, model="mlp", model_params={"hidden": [16]}, seed=0)
    return Context(
        task=task, profile=profile_model(task.model), training=Training(lr=0.1, batch_size=batch_size), seed=0,
        memory_bytes=None if memory is None else np.array(memory), shrink_batch=memory is not None,
    )  # fmt: skip


def federation(algorithm: Algorithm, where: Context) -> Federation:
    return Federation(algorithm, where, in_process("stacked", algorithm, where.task, where.training, seed=0, cohort=9))


@pytest.mark.parametrize("algorithm", [FedAvg(), FedSpa(density=0.5)], ids=["fedavg", "fedspa"])
def test_the_batch_is_the_largest_that_fits(algorithm: Algorithm) -> None:
    """Client 0 has room for exactly what a batch of 7 takes, client 1 for one byte less, client 2 for all of it."""
    seven = federation(algorithm, context(7)).cost(0).workload.memory_bytes
    small = [seven, seven - 1, 10**9, 1, 10**9, 10**9]
    world = federation(algorithm, context(20, small))
    assigned = world.dispatch_all(0, [0, 1, 2, 3], 0)
    assert [job.batch_size for job in assigned] == [7, 6, 0, 0]
    peaks = [job.workload.memory_bytes for job in assigned]
    assert peaks[0] == seven
    assert peaks[1] < seven < peaks[2] == peaks[3]  # not even 1 fits client 3
    assert [world.cost(client).batch_size for client in range(3)] == [7, 6, 0]
    assert [TimingOnly(algorithm, context(20, small)).cost(client).batch_size for client in range(3)] == [7, 6, 0]
    # smaller batches are more steps; FedSpa makes one besides, for its masks
    assert assigned[0].workload.steps == -(-int(world.samples[0]) // 7) + isinstance(algorithm, FedSpa)


def test_training_takes_the_smaller_batches_too() -> None:
    """What the client sends is what it sends in a run with that batch size; others train as if nothing were small."""
    seven = federation(FedAvg(), context(7)).cost(0).workload.memory_bytes
    world = federation(FedAvg(), context(20, [seven, 10**9, *[10**9] * 4]))
    plain, few = federation(FedAvg(), context(20)), federation(FedAvg(), context(7))
    for run in (world, plain, few):
        run.dispatch_all(0, [0, 1], 0)
    for name, tensor in world._training.result(0)[1].update["params"].items():
        torch.testing.assert_close(tensor, few._training.result(0)[1].update["params"][name])
        assert not torch.equal(tensor, plain._training.result(0)[1].update["params"][name])
    for name, tensor in world._training.result(1)[1].update["params"].items():
        torch.testing.assert_close(tensor, plain._training.result(1)[1].update["params"][name])


@dataclass(frozen=True, kw_only=True)
class Own(FedAvg):
    """Sends a solver of its own with its model: batches of 10, two epochs of them."""

    def download(self, context: Context, server: State, client: Client) -> Payload:
        solver = replace(context.training, batch_size=10, epochs=2)
        return replace(super().download(context, server, client), training=solver)

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return local_work(context, client.samples, training=payload.training)


@pytest.mark.parametrize("usual", [5, 20])
def test_a_solver_that_an_algorithm_sends_takes_smaller_batches(usual: int) -> None:
    """Of its own batch size, whatever the run's is; and all else of it stays."""
    seven = federation(FedAvg(), context(7)).cost(0).workload.memory_bytes
    world = federation(Own(), context(usual, [seven, 10**9, *[1] * 4]))
    assigned = world.dispatch_all(0, [0, 1, 2], 0)
    assert [job.batch_size for job in assigned] == [7, 0, 0]
    samples = int(world.samples[0])
    assert [job.workload.steps for job in assigned[:2]] == [2 * -(-samples // 7), 2 * -(-samples // 10)]
    solver = world._training.result(0)[0].training
    assert solver is not None
    assert (solver.batch_size, solver.epochs) == (7, 2)


def test_without_the_rule_nothing_shrinks() -> None:
    where = replace(context(20, [1] * 6), shrink_batch=False)
    assert federation(FedAvg(), where).dispatch_all(0, [0], 0)[0].batch_size == 0
