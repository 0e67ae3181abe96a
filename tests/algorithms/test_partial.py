"""FedPer, FedRep, LG-FedAvg, FedBN, FedAlt, FedSim: what is shared, what is kept, what is sent, and what it costs."""

import pytest
import torch
from toys import TRAINING, bn_task, context, federation, play, task

from edgesim.algorithms.contract import Algorithm, Client, Context
from edgesim.algorithms.fedalt import FedAlt, FedSim
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedbn import FedBN
from edgesim.algorithms.fedper import FedPer
from edgesim.algorithms.fedrep import FedRep
from edgesim.algorithms.lgfedavg import LGFedAvg
from edgesim.algorithms.messages import dense_bytes
from edgesim.algorithms.partial import Partial
from edgesim.errors import ScenarioError
from edgesim.execution.backend import BackendName
from edgesim.learning.training import Training
from edgesim.learning.tree import Params

BASE, HEAD = {"fc1.weight", "fc1.bias"}, {"fc2.weight", "fc2.bias"}
ALL: tuple[Partial, ...] = (FedPer(), FedRep(head_epochs=2), LGFedAvg(), FedAlt(personal="input"), FedSim())


def trained(
    algorithm: Algorithm, where: Context | None = None, backend: BackendName = "stacked"
) -> tuple[Params, Params]:
    """What client 0's first job sends, and what it keeps."""
    world = federation(algorithm, where, backend)
    world.dispatch(0, 0, 0)
    update, state = world._training.result(0)[1]
    return update["params"], state["personal"]


@pytest.mark.parametrize("kind", [FedPer, FedRep, FedAlt, FedSim])
def test_without_a_personal_part_it_is_fedavg(kind: type[FedPer]) -> None:
    worlds = [federation(algorithm) for algorithm in (kind(personal=()), FedAvg())]
    for world in worlds:
        play(world, 2)
    first, second = (world._server["params"] for world in worlds)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    costs = [world.dispatch(99, 0, 2) for world in worlds]
    assert costs[0].workload.flops == costs[1].workload.flops
    assert costs[0].download_bytes == costs[1].download_bytes
    assert worlds[0].evaluate() == worlds[1].evaluate()


@pytest.mark.parametrize(
    ("algorithm", "shared"),
    [(FedPer(), BASE), (FedRep(), BASE), (LGFedAvg(), HEAD), (FedAlt(), BASE), (FedSim(personal="input"), HEAD)],
)
def test_only_the_shared_part_travels(algorithm: Partial, shared: set[str]) -> None:
    """Digits, 64-16-10: the base has 1,040 values, the head 170; a byte a tensor and one for their number."""
    where = context()
    client = Client(0, 20, algorithm.init_client(where, 0))
    payload = algorithm.download(where, algorithm.init_server(where), client)
    update, kept = trained(algorithm)
    assert set(payload.state["params"]) == set(update) == shared
    assert set(kept) == (BASE | HEAD) - shared
    values = 1040 if shared == BASE else 170
    assert payload.size_bytes == algorithm.upload_bytes(where, payload, client) == 4 * values + 2 + 1
    assert dense_bytes({name: where.task.model.shapes[name] for name in shared}) == payload.size_bytes


def test_personal_parts_are_the_clients_own_and_the_base_is_everyones() -> None:
    world = federation(FedPer())
    play(world, 1)
    start = world._context.task.model.init(0)
    one, two = (world._base_models([client])[0] for client in (0, 1))
    for name in BASE:
        assert one[name] is two[name]
        assert not torch.equal(one[name], start[name])
    for name in HEAD:
        assert not torch.equal(one[name], two[name])
        assert torch.equal(world._server["params"][name], start[name])  # the server never sees a head


def test_a_lost_job_leaves_the_head_as_it_was() -> None:
    world = federation(FedPer())
    world.dispatch(0, 0, 0)
    world._training.result(0)
    world.drop(0)
    assert torch.equal(world._base_models([0])[0]["fc2.bias"], world._context.task.model.init(0)["fc2.bias"])


def test_fedreps_head_phase_leaves_the_base_and_its_base_phase_the_head() -> None:
    """So the head does not depend on the base's epochs; and it is that of training the head alone."""
    once, often = (trained(FedRep(head_epochs=2), context(training=solver)) for solver in
                   (TRAINING, Training(lr=0.1, batch_size=5, epochs=4)))  # fmt: skip
    assert all(torch.equal(once[1][name], often[1][name]) for name in HEAD)
    assert not torch.equal(once[0]["fc1.weight"], often[0]["fc1.weight"])
    more = trained(FedRep(head_epochs=5))
    assert not torch.equal(once[1]["fc2.weight"], more[1]["fc2.weight"])


def test_momentum_does_not_outlive_a_phase() -> None:
    solver = Training(lr=0.05, batch_size=5, epochs=1, momentum=0.9)
    update, _ = trained(FedAlt(), context(training=solver))
    assert all(torch.isfinite(tensor).all() for tensor in update.values())


def test_fedsims_step_is_fedpers_and_fedalts_is_not() -> None:
    """One step of one batch: joint training moves the base by the gradient at the old head, FedAlt at the new one."""
    step = Training(lr=0.1, batch_size=1000, epochs=1)
    where = context(training=step)
    sim, per, alt = (trained(algorithm, where) for algorithm in (FedSim(), FedPer(), FedAlt()))
    assert all(torch.equal(sim[part][name], tensor) for part in (0, 1) for name, tensor in per[part].items())
    assert all(torch.allclose(alt[1][name], tensor, atol=1e-6) for name, tensor in per[1].items())
    assert not torch.allclose(alt[0]["fc1.weight"], per[0]["fc1.weight"], atol=1e-6)


def test_phases_cost_what_they_compute() -> None:
    """20 samples, 2 epochs, products of 2·1024 and 2·160 FLOPs a sample. Head: forward of both and its gradient;
    base: forward of both, back through the head, its gradient; jointly: forward, and three gradients."""
    body, head, where = 2 * 1024, 2 * 160, context()

    def flops(algorithm: Partial) -> float:
        client = Client(0, 20, algorithm.init_client(where, 0))
        return algorithm.workload(where, algorithm.download(where, algorithm.init_server(where), client), client).flops

    assert flops(FedPer()) == flops(LGFedAvg()) == flops(FedSim()) == 40 * (2 * body + 3 * head)
    assert flops(FedRep(head_epochs=5)) == 100 * (body + 2 * head) + 40 * (2 * body + 2 * head)
    assert flops(FedAlt()) == 40 * (body + 2 * head) + 40 * (2 * body + 2 * head)


def test_fedbn_keeps_norms_with_their_statistics_from_the_server() -> None:
    """The usual mistake is to know them by "bn" in their names: here they are called norm1, norm2 and norm3."""
    where = context(bn_task())
    norms = where.task.model.normalisation
    update, kept = trained(FedBN(), where, "loop")
    assert set(kept) == norms
    assert not set(update) & norms
    world = federation(FedBN(), where, backend="loop")
    start = where.task.model.init(0)
    play(world, 1, clients=4)
    models = [world._base_models([client])[0] for client in range(4)]
    for name in norms:
        assert torch.equal(world._server["params"][name], start[name])
        assert not torch.equal(models[0][name], models[1][name])
        assert not torch.equal(models[0][name], start[name])
    whole = dense_bytes(where.task.model.shapes)
    client = Client(0, 20, FedBN().init_client(where, 0))
    sent = FedBN().download(where, FedBN().init_server(where), client).size_bytes
    assert whole - sent == sum(4 * start[name].numel() + 1 for name in norms)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ScenarioError, match="no norm layers"):
        FedBN().check(context())
    with pytest.raises(ScenarioError, match="nothing to share"):
        FedPer(personal=("fc1", "fc2")).check(context())
    FedBN().check(context(bn_task()))


@pytest.mark.parametrize("algorithm", ALL, ids=lambda algorithm: type(algorithm).__name__)
def test_a_cohort_trains_as_one_client_at_a_time(algorithm: Partial) -> None:
    where = context(task(8, alpha=0.3))
    backends: tuple[BackendName, ...] = ("stacked", "loop")
    worlds = [federation(algorithm, where, backend) for backend in backends]
    for world in worlds:
        play(world, 2)
    for client in range(8):
        one, other = (world._base_models([client])[0] for world in worlds)
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", ALL, ids=lambda algorithm: type(algorithm).__name__)
def test_personal_parts_fit_skewed_data(algorithm: Partial) -> None:
    world = federation(algorithm, context(task(8, alpha=0.3)))
    play(world, 6)
    assert world.evaluate()["accuracy"] > 0.85
