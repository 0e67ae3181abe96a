"""Lazy training: exact, together, and never for jobs that nobody waits for."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Client, Context, Payload, models_of
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.reporting import LossReports
from edgesim.devices.workload import Workload
from edgesim.engine.learning import Received
from edgesim.execution.backend import Around, InProcess, choose, in_process
from edgesim.execution.federation import Federation
from edgesim.learning import tree
from edgesim.learning.batches import Batch
from edgesim.learning.compression import TopK
from edgesim.learning.local import Order, Result
from edgesim.learning.models import make_model
from edgesim.learning.profile import profile_model
from edgesim.learning.task import make_task
from edgesim.learning.training import Learner, Training
from edgesim.learning.tree import Params, State


class Noting(Around):
    """A backend that notes which jobs were trained together."""

    def __init__(self, inner: InProcess) -> None:
        super().__init__(inner)
        self.cohorts = list[list[int]]()

    def train(self, orders: Sequence[Order]) -> list[Result]:
        self.cohorts.append([order.job for order in orders])
        return self.inner.train(orders)

    def close(self) -> None:
        self.inner.close()


def federation(algorithm: Algorithm) -> tuple[Federation, Noting]:
    task = make_task(dataset="digits", clients=6, model="mlp", model_params={"hidden": [8]}, seed=0)
    training = Training(lr=0.1, batch_size=20)
    where = Context(task=task, profile=profile_model(task.model), training=training, seed=0, horizon=5)
    backend = Noting(in_process("stacked", algorithm, task, training, seed=0, cohort=128))
    return Federation(algorithm, where, backend), backend


def test_orders_wait_and_are_trained_together_when_one_is_needed() -> None:
    world, backend = federation(FedAvg())
    for job in range(4):
        world.dispatch(job, job, 0)
    world.drop(2)  # lost before anyone needed it
    assert backend.cohorts == []
    world.aggregate([Received(1, 1, 0, 1.0)])
    assert backend.cohorts == [[0, 1, 3]]
    world.aggregate([Received(0, 0, 1, 1.0), Received(3, 3, 1, 1.0)])
    assert backend.cohorts == [[0, 1, 3]]


def test_an_update_never_sees_a_model_other_than_the_one_it_was_dispatched_with() -> None:
    """Client 1, dispatched before an aggregation, trained after it: as if it had been trained at dispatch."""
    lazy, _ = federation(FedAvg())
    lazy.dispatch(0, 0, 0)
    lazy.dispatch(1, 1, 0)
    lazy.aggregate([Received(0, 0, 0, 1.0)])
    lazy.dispatch(2, 2, 1)
    late = lazy._training.result(1)[1].update["params"]

    eager, _ = federation(FedAvg())
    eager.dispatch(1, 1, 0)
    early = eager._training.result(1)[1].update["params"]
    for name, tensor in early.items():
        torch.testing.assert_close(late[name], tensor, rtol=1e-5, atol=1e-7)


def test_a_lost_job_leaves_the_clients_state_as_it_was() -> None:
    """FedSpa's new mask counts once the update has arrived, not before, and never if it is lost."""
    world, _ = federation(FedSpa(density=0.5))
    world.dispatch(0, 0, 0)
    before = world._state(0)["mask"]["fc1.weight"]
    world.upload_bytes(0)  # trained: the mask has moved on the device
    assert torch.equal(world._state(0)["mask"]["fc1.weight"], before)
    world.drop(0)
    assert torch.equal(world._state(0)["mask"]["fc1.weight"], before)
    world.dispatch(1, 0, 0)
    world.arrive(1, 0)
    assert not torch.equal(world._state(0)["mask"]["fc1.weight"], before)


def test_sizes_that_do_not_depend_on_values_ask_for_no_training() -> None:
    world, backend = federation(FedSpa(density=0.5, masking="rsm"))
    assert world.dispatch(0, 0, 0).upload_bytes is not None
    assert backend.cohorts == []


def test_a_restored_federation_goes_on_as_the_old_one() -> None:
    def play(world: Federation, jobs: range) -> dict[str, float]:
        for job in jobs:
            world.dispatch(job, job % 6, 1)
        world.aggregate([Received(job, job % 6, 0, 1.0) for job in jobs])
        return world.evaluate()

    old, _ = federation(FedSpa(density=0.5))
    play(old, range(6))
    old.dispatch(6, 0, 1)  # waits untrained in the state
    state: dict[str, Any] = old.state()
    new, backend = federation(FedSpa(density=0.5))
    new.restore(state)
    assert backend.cohorts == []
    new.arrive(6, 0)
    old.arrive(6, 0)
    assert play(new, range(7, 12)) == play(old, range(7, 12))


@pytest.mark.parametrize(("model", "backend"), [("mlp", "stacked"), ("cnn", "loop")])
def test_the_rule_for_the_backend(model: str, backend: str) -> None:
    network = make_model(model, {}, input_shape=(1, 8, 8), classes=10, folder=Path())
    assert choose(network.module, "auto") == backend
    assert choose(network.module, "loop") == "loop"


def test_workloads_are_what_the_algorithm_says() -> None:
    world, _ = federation(FedAvg())
    work = world.dispatch(0, 0, 0).workload
    assert isinstance(work, Workload)
    samples = int(world.samples[0])
    # 64-8-10: two passes over the first layer (no input gradient), three over the second; 2 FLOPs a product
    assert work.flops == 2 * samples * (2 * 64 * 8 + 3 * 8 * 10)


def test_scores_are_of_the_models_as_they_are_now() -> None:
    """Kept between two looks, and made anew after an aggregation and after a client's state has changed."""
    world, _ = federation(FedSpa(density=0.3))
    first = world.scores()
    assert world.scores() is first
    world.dispatch(0, 0, 0)
    world.arrive(0, 0)
    moved = world.scores()
    assert moved.loss[0] != first.loss[0]  # its new mask
    assert moved.loss[1:].tolist() == first.loss[1:].tolist()
    world.aggregate([Received(0, 0, 0, 1.0)])
    assert all(after != before for after, before in zip(world.scores().loss, moved.loss, strict=True))


class OwnModels(FedAvg):
    """Client k's model is k times the server's."""

    def client_model(self, server: State, client: Client) -> Params:
        return {name: client.id * tensor for name, tensor in server["params"].items()}


def test_every_client_is_scored_under_its_own_model_and_asked_for_it_only_where_it_may_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    base_models = Federation._base_models

    def noted(self: Federation, clients: Sequence[int]) -> Sequence[Params]:
        asked.extend(clients)
        return base_models(self, clients)

    monkeypatch.setattr(Federation, "_base_models", noted)
    shared, own = federation(FedAvg())[0].scores(), federation(OwnModels())[0].scores()
    assert asked == list(range(6))
    assert own.loss[0] / own.samples[0] == pytest.approx(math.log(10))  # of a model of zeros
    assert own.loss[1] == pytest.approx(shared.loss[1], rel=1e-5)
    assert own.loss[2] != pytest.approx(shared.loss[2], rel=1e-3)


class Doubled(FedAvg):
    """Twice the server's model, in one go."""

    def client_model(self, server: State, client: Client) -> Params:
        return tree.scale(2.0, server["params"])

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return [self.client_model(server, clients[0])] * len(clients)


class Again(Doubled):
    """A subclass that has a `client_model` of its own only."""

    def client_model(self, server: State, client: Client) -> Params:
        return {name: client.id * tensor for name, tensor in super().client_model(server, client).items()}


def test_models_are_made_together_where_that_is_how_they_are_made() -> None:
    server, clients = {"params": {"w": torch.ones(2)}}, [Client(id, 1, {}) for id in (3, 5)]
    three, five = models_of(Doubled(), server, clients)
    assert three is five
    assert [model["w"].tolist() for model in models_of(Again(), server, clients)] == [[6, 6], [10, 10]]
    assert all(model is server["params"] for model in models_of(FedAvg(), server, clients))


class Sent(FedAvg):
    """Twice the server's model, to all in one go."""

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return Payload(state={"params": tree.scale(2.0, server["params"])}, size_bytes=7)

    def downloads(self, context: Context, server: State, clients: Sequence[Client]) -> Sequence[Payload]:
        return [self.download(context, server, clients[0])] * len(clients)


class SentAgain(Sent):
    """A subclass that has a `download` of its own only."""

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return replace(super().download(context, server, client), size_bytes=client.id)


def test_payloads_are_made_together_where_that_is_how_they_are_made() -> None:
    """And so they are for a round's jobs, with a codec and reported losses, too."""
    together, alone = federation(Sent())[0], federation(SentAgain())[0]
    assert [assigned.download_bytes for assigned in together.dispatch_all(0, [3, 5], 0)] == [7, 7]
    three, five = (order.payload for order in together._training.take([0, 1])[0])
    assert three is five
    assert [assigned.download_bytes for assigned in alone.dispatch_all(0, [3, 5], 0)] == [3, 5]
    for inner in (CompressedUpdates(inner=Sent(), codec=TopK(share=0.1)), LossReports(inner=Sent())):
        wrapped = federation(inner)[0]
        wrapped.dispatch_all(0, [3, 5], 0)
        three, five = (order.payload for order in wrapped._training.take([0, 1])[0])
        assert three is five


class InPlace(FedAvg):
    """Changes what it was sent."""

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        for tensor in local["params"].values():
            tensor.sub_(1.0)
        return local


def test_who_changes_what_was_sent_is_told_so() -> None:
    world, _ = federation(InPlace())
    world.dispatch(0, 0, 0)
    with pytest.raises(TypeError, match="InPlace changes tensors in place"):
        world.aggregate([Received(0, 0, 0, 1.0)])
