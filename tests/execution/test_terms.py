"""What schedules ask of single jobs and aggregations: epochs, parts of the model, tiers."""

from dataclasses import dataclass, replace

import pytest
import torch

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedprox import FedProx
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.ffgg import FFGG
from edgesim.algorithms.optimizers import Sgd
from edgesim.algorithms.prunefl import PruneFl
from edgesim.algorithms.reporting import LossReports
from edgesim.algorithms.rules import Average
from edgesim.algorithms.scaffold import Scaffold
from edgesim.devices.workload import NO_WORK, Workload
from edgesim.engine.learning import Assignment, Merging, Received, Terms
from edgesim.errors import ScenarioError
from edgesim.execution import terms
from edgesim.execution.backend import in_process
from edgesim.execution.federation import Federation
from edgesim.execution.groups import Groups
from edgesim.execution.timing import TimingOnly
from edgesim.learning.compression import TopK
from edgesim.learning.profile import profile_model
from edgesim.learning.task import make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import Params, State


def context(**given: object) -> Context:
    task = make_task(dataset="digits", clients=6, model="mlp", model_params={"hidden": [16, 8]}, seed=0)
    training = Training(lr=0.1, batch_size=20)
    return replace(Context(task=task, profile=profile_model(task.model), training=training, seed=0), **given)  # type: ignore[arg-type]


def federation(algorithm: Algorithm, where: Context | None = None) -> Federation:
    where = where or context()
    return Federation(algorithm, where, in_process("stacked", algorithm, where.task, where.training, seed=0, cohort=9))


def update(world: Federation, job: int) -> Params:
    return world._training.result(job)[1].update["params"]


# ── epochs ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("algorithm", [FedAvg(), FedProx(), FedSpa(density=0.5)], ids=lambda a: type(a).__name__)
def test_a_job_of_three_epochs_is_one_of_a_run_of_three_epochs(algorithm: Algorithm) -> None:
    """Work and result; FedSpa's regrowth gradient comes on top whatever the epochs."""
    asked, whole = federation(algorithm), context(training=Training(lr=0.1, batch_size=20, epochs=3))
    long = federation(algorithm, whole)
    by_terms = asked.dispatch_all(0, [0, 1], 0, [Terms(epochs=3), Terms(epochs=1)])
    plain = long.dispatch_all(0, [0], 0)
    assert by_terms[0].workload.flops == plain[0].workload.flops > by_terms[1].workload.flops
    assert asked.cost(0, Terms(epochs=3)).workload.flops == by_terms[0].workload.flops
    for name, tensor in update(long, 0).items():
        torch.testing.assert_close(update(asked, 0)[name], tensor)


def test_an_estimate_costs_what_a_run_costs() -> None:
    only, world = TimingOnly(FedAvg(), context()), federation(FedAvg())
    for asked in (Terms(), Terms(epochs=4), Terms(epochs=1, layers=1), Terms(group=1)):
        assert _figures(only.cost(2, asked)) == _figures(world.cost(2, asked))
    assert only.layers == world.layers == 3


@pytest.mark.parametrize(
    "algorithm",
    [
        FedSpa(density=0.5),
        CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.05)),
        CompressedUpdates(inner=Scaffold(), codec=TopK(share=0.05)),
        CompressedUpdates(inner=PruneFl(initial="none"), codec=TopK(share=0.05)),
    ],
    ids=["fedspa", "top-k", "scaffold top-k", "prunefl top-k"],
)
def test_a_forecast_of_an_upload_is_the_most_that_it_can_be_and_hardly_more(algorithm: Algorithm) -> None:
    """Where training must tell its size: TimelyFL and tiers would plan by a whole model else."""
    world = federation(algorithm, context(horizon=10))
    for job in range(4):
        forecast = world.cost(0).upload_bytes
        assert forecast is not None
        assert world.dispatch(job, 0, job).upload_bytes is None
        assert forecast / 1.1 < world.upload_bytes(job) <= forecast
        world.arrive(job, 0)
        world.aggregate([Received(job, 0, 0, 1.0)])


def test_an_algorithm_without_epochs_is_refused() -> None:
    with pytest.raises(ScenarioError, match="FFGG does not train by epochs"):
        terms.check_epochs(FFGG(gradient_batch=5), context())
    for epochs in (1, 2, 3):
        terms.check_epochs(FedAvg(), context(training=Training(lr=0.1, batch_size=20, epochs=epochs)))


# ── parts of the model ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("algorithm", [FedAvg(), FedProx()], ids=["fedavg", "fedprox"])
def test_a_job_of_the_last_layer_moves_and_sends_only_that(algorithm: Algorithm) -> None:
    world = federation(algorithm)
    part, whole = world.dispatch_all(0, [0, 1], 0, [Terms(epochs=1, layers=1), Terms(epochs=1)])
    head = world._context.task.model.shapes.keys() - {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    moved = {name for name, tensor in update(world, 0).items() if tensor.any()}
    assert moved == head
    assert part.workload.flops < whole.workload.flops
    assert part.upload_bytes is not None
    assert whole.upload_bytes is not None
    assert part.upload_bytes < whole.upload_bytes / 10  # 90 of 1,266 values
    assert part.download_bytes == whole.download_bytes
    world.aggregate([Received(0, 0, 0, 1.0), Received(1, 1, 0, 1.0)])


def test_a_report_of_a_loss_is_sent_with_a_part_as_with_a_whole_model() -> None:
    """Nine bytes: two numbers, and what says that there are two."""
    asked = [Terms(epochs=1, layers=1), Terms(epochs=1)]
    kinds = FedAvg(), LossReports(inner=FedAvg())
    plain, reporting = (federation(kind).dispatch_all(0, [0, 1], 0, asked) for kind in kinds)
    for less, more in zip(plain, reporting, strict=True):
        assert less.upload_bytes is not None
        assert more.upload_bytes == less.upload_bytes + 9


def test_algorithms_that_do_not_train_parts_are_refused() -> None:
    terms.check_layers(FedProx(), context())
    with pytest.raises(ScenarioError, match="write partial: false"):
        terms.check_layers(FedSpa(density=0.5), context())
    with pytest.raises(ScenarioError, match="FedAvg with a codec does not train parts"):
        terms.check_layers(CompressedUpdates(inner=FedAvg(), codec=TopK(share=0.05)), context())


@dataclass(frozen=True, kw_only=True)
class Constant(FedAvg):
    """Its work does not follow what is trained."""

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        return NO_WORK


@dataclass(frozen=True, kw_only=True)
class OwnServer(FedAvg):
    """Its server does as it likes."""

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return server


@pytest.mark.parametrize("algorithm", [Constant(), OwnServer()], ids=["constant work", "another server"])
def test_parts_are_for_means_whose_work_follows_what_is_trained(algorithm: Algorithm) -> None:
    with pytest.raises(ScenarioError, match=rf"{type(algorithm).__name__} does not train parts of a plain model"):
        terms.check_layers(algorithm, context())


# ── tiers ───────────────────────────────────────────────────────────────────────────────────────────────────
def _state(w: float, **memory: float) -> State:
    groups = {"params": {"w": torch.tensor(w)}}
    return groups | {f"rule/{name}": {"w": torch.tensor(value)} for name, value in memory.items()}


def test_the_servers_model_is_the_weighted_sum_of_the_tiers() -> None:
    """Two tiers from 0: tier 0 comes to 6 with weight 1/4, tier 1 is still at 0; then tier 1 comes to 4 with 3/4."""
    groups, server = Groups(_state(0.0)), _state(0.0)
    groups.send(0, server)
    groups.send(1, server)
    server = groups.blended(Merging(group=0, weights=(0.25, 0.75)), _state(6.0, m=1.0), server)
    assert float(server["params"]["w"]) == 1.5
    assert set(server) == {"params"}  # the memory of a tier's rule is its own
    server = groups.blended(Merging(group=1, weights=(0.25, 0.75)), _state(4.0), server)
    assert float(server["params"]["w"]) == 0.25 * 6 + 0.75 * 4
    again = groups.send(0, server)
    assert (float(again["params"]["w"]), float(again["rule/m"]["w"])) == (4.5, 1.0)


def test_a_tiers_updates_step_what_its_cohort_was_sent_not_what_the_server_has_become() -> None:
    """Tier 1 is dispatched before tier 0 moves the server's model and arrives after it."""
    world, alone = federation(FedAvg()), federation(FedAvg())
    world.dispatch_all(0, [0, 1], 0, [Terms(group=0), Terms(group=1)])
    world.aggregate([Received(0, 0, 0, 1.0)], Merging(group=0, weights=(1.0, 0.0)))
    world.aggregate([Received(1, 1, 1, 1.0)], Merging(group=1, weights=(0.0, 1.0)))
    alone.dispatch_all(1, [1], 0)
    alone.aggregate([Received(1, 1, 0, 1.0)])
    for name, tensor in alone._server["params"].items():
        torch.testing.assert_close(world._server["params"][name], tensor)


def test_each_tier_has_its_rules_memory_and_a_taken_up_run_too() -> None:
    where = context(rule=Average(optimizer=Sgd(momentum=0.9)))
    world = federation(FedAvg(), where)

    def turn(world: Federation, number: int) -> None:
        world.dispatch_all(10 * number, [number % 2], number, [Terms(group=number % 2)])
        world.aggregate([Received(10 * number, number % 2, 0, 1.0)], Merging(number % 2, (0.5, 0.5)))

    for number in range(3):
        turn(world, number)
    taken = federation(FedAvg(), where)
    taken.restore(world.state())
    for each in (world, taken):
        turn(each, 3)
    for name, tensor in world._server["params"].items():
        assert torch.equal(taken._server["params"][name], tensor)


def _figures(assigned: Assignment) -> tuple[object, ...]:
    return assigned.download_bytes, assigned.upload_bytes, assigned.workload.flops, assigned.workload.memory_bytes
