"""pFedHN against its specification (arXiv:2103.04628, github AvivSham/pFedHN)."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from toys import TRAINING, arrivals, context, federation, rng, task, trained

from edgesim.algorithms.contract import Client, Context
from edgesim.algorithms.costs import phase_work
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.pfedhn import PFedHN, generate, start
from edgesim.engine.learning import Received
from edgesim.learning.task import make_task
from edgesim.learning.tree import Params, State

HERE = context()  # digits, 64-16-10, 8 clients
PLAIN = PFedHN(hyper_momentum=0.0, hyper_decay=0.0, hyper_lr=0.1, clip=1e9)


def by_modules(hyper: Params, name: str) -> nn.Sequential:
    """The trunk and one head as torch's own layers: Linear, three times ReLU and Linear, then the head."""
    layers: list[nn.Module] = []
    for number in range(4):
        outputs, inputs = hyper[f"W{number}"].shape
        linear = nn.Linear(inputs, outputs)
        linear.load_state_dict({"weight": hyper[f"W{number}"], "bias": hyper[f"b{number}"]})
        layers += [linear, nn.ReLU()] if number < 3 else [linear]
    head = nn.Linear(hyper["W3"].shape[0], hyper[f"b/{name}"].numel())
    head.load_state_dict({"weight": hyper[f"W/{name}"].flatten(0, -2), "bias": hyper[f"b/{name}"].flatten()})
    return nn.Sequential(*layers, head)


def tiny() -> State:
    """Two clients, embeddings of 2, 3 hidden units and a model of one tensor w [2, 2]."""
    return {"hyper": start(rng(), {"w": (2, 2)}, clients=2, embedding=2, hidden=3)}


def test_a_model_is_what_the_network_puts_out_for_its_embedding() -> None:
    hyper = PFedHN().init_server(HERE)["hyper"]
    assert hyper["v"].shape == (8, 3)  # int(1 + 8/4)
    assert hyper["W1"].shape == (100, 100)
    made = generate(hyper, torch.tensor([5, 2]))
    expected = by_modules(hyper, "fc1.weight")(hyper["v"][[5, 2]]).view(2, 16, 64)
    torch.testing.assert_close(made["fc1.weight"], expected)
    client = Client(5, 20, PFedHN().init_client(HERE, 5))
    torch.testing.assert_close(PFedHN().client_model({"hyper": hyper}, client)["fc1.weight"], expected[0])


def test_the_step_is_the_vector_jacobian_product_that_goes_along_the_update() -> None:
    """Two arrivals, one of discount 1/2: φ ← φ + η · ½ (Jᵀ Δ_0 + ½ Jᵀ Δ_1), by autograd through torch's layers."""
    server, update = tiny(), [[[1.0, -2.0], [0.5, 0.0]], [[0.0, 3.0], [1.0, 1.0]]]
    moved = PLAIN.aggregate(HERE, server, arrivals({"params": {"w": update}}, discount=[1.0, 0.5]))["hyper"]
    network, v = by_modules(server["hyper"], "w"), server["hyper"]["v"].clone().requires_grad_()
    gain = (network(v).view(2, 2, 2) * torch.tensor(update) * torch.tensor([0.5, 0.25]).view(2, 1, 1)).sum()
    gain.backward()
    assert v.grad is not None
    torch.testing.assert_close(moved["v"], v.detach() + 0.1 * v.grad)
    linear = [part for part in network if isinstance(part, nn.Linear)]
    for name, part in zip(["W0", "W1", "W2", "W3", "W/w"], linear, strict=True):
        gradient = part.weight.grad
        assert gradient is not None
        expected = part.weight.detach() + 0.1 * gradient
        torch.testing.assert_close(moved[name].flatten(0, -2) if name == "W/w" else moved[name], expected)


def test_what_it_generates_next_lies_nearer_to_what_was_trained() -> None:
    """The sign: the usual mistake moves away."""
    server = PFedHN().init_server(HERE)
    before = generate(server["hyper"], torch.tensor([0]))
    update = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    arrived = replace(arrivals({"params": {"w": [[0.0]]}}), update={"params": update})
    after = generate(PFedHN().aggregate(HERE, server, arrived)["hyper"], torch.tensor([0]))
    assert all((after[name] - before[name]).mean() > 0 for name in before)


def test_clip_momentum_and_decay_are_those_of_torch() -> None:
    server, algorithm = tiny(), PFedHN(hyper_lr=0.1, hyper_momentum=0.9, hyper_decay=0.01, clip=0.5)
    update = arrivals({"params": {"w": [[[5.0, -2.0], [0.5, 9.0]]]}})
    network, v = by_modules(server["hyper"], "w"), nn.Parameter(server["hyper"]["v"].clone())
    every = [v, *network.parameters()]
    solver = torch.optim.SGD(every, lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        server = algorithm.aggregate(HERE, server, update)
        solver.zero_grad()
        (-(network(v[0]) * update.update["params"]["w"].flatten()).sum()).backward()
        assert float(nn.utils.clip_grad_norm_(every, 0.5)) > 0.5
        solver.step()
    torch.testing.assert_close(server["hyper"]["v"], v.detach())  # client 1's embedding decays, too
    torch.testing.assert_close(server["hyper"]["W0"], network.get_parameter("0.weight").detach())
    torch.testing.assert_close(server["hyper"]["W/w"].flatten(0, -2), network.get_parameter("7.weight").detach())


def test_generated_models_get_better() -> None:
    """One client at a time, as in the paper."""
    world = federation(PFedHN(), context(task(8, alpha=0.3)))
    before = world.evaluate()
    for job in range(40):
        world.dispatch(job, job % 8, job)
        world.arrive(job, job % 8)
        world.aggregate([Received(job, job % 8, 0, 1.0)])
    after = world.evaluate()
    assert after["loss"] < 0.8 * before["loss"]
    assert after["accuracy"] > before["accuracy"] + 0.2


def test_a_job_is_so_many_mini_batches_whatever_the_samples() -> None:
    client = Client(0, 20, PFedHN().init_client(HERE, 0))
    payload = PFedHN().download(HERE, PFedHN().init_server(HERE), client)
    work = PFedHN(inner_steps=50).workload(HERE, payload, client)
    assert work.steps == 50
    assert work.flops == phase_work(HERE, 20, HERE.task.model.shapes, steps=50).flops
    assert work.flops == HERE.profile.total_flops * 50 * TRAINING.batch_size
    assert payload.size_bytes == PFedHN().upload_bytes(HERE, payload, client) == HERE.dense_bytes
    one, two = (trained(PFedHN(inner_steps=n), [0])[0].update["params"]["fc1.weight"] for n in (1, 50))
    assert two.norm() > 3 * one.norm()


def test_a_personal_classifier_stays_at_its_client() -> None:
    algorithm = PFedHN(classifier="personal")
    client = Client(0, 20, algorithm.init_client(HERE, 0))
    payload = algorithm.download(HERE, algorithm.init_server(HERE), client)
    assert set(payload.state["params"]) == {"fc1.weight", "fc1.bias"}
    assert FedAvg().download(HERE, {"params": {}}, client).size_bytes - payload.size_bytes == 4 * 170 + 2
    result = trained(algorithm, [0])[0]
    assert set(result.update["params"]) == {"fc1.weight", "fc1.bias"}
    assert not torch.equal(result.state["personal"]["fc2.weight"], client.state["personal"]["fc2.weight"])
    model = algorithm.client_model(algorithm.init_server(HERE), client._replace(state=result.state))
    assert torch.equal(model["fc2.weight"], result.state["personal"]["fc2.weight"])


def test_models_of_several_are_those_of_each() -> None:
    algorithm = PFedHN(classifier="personal")
    server, clients = algorithm.init_server(HERE), [Client(k, 20, algorithm.init_client(HERE, k)) for k in (5, 0, 3)]
    payloads, models = algorithm.downloads(HERE, server, clients), algorithm.client_models(server, clients)
    for client, payload, model in zip(clients, payloads, models, strict=True):
        alone = algorithm.download(HERE, server, client)
        assert payload.size_bytes == alone.size_bytes
        torch.testing.assert_close(dict(payload.state["params"]), dict(alone.state["params"]))
        torch.testing.assert_close(dict(model), dict(algorithm.client_model(server, client)))


def test_norm_layers_are_each_clients_own() -> None:
    normed = make_task(dataset="digits", clients=4, model="cnn-bn", model_params={"width": 0.05}, seed=0)
    own = PFedHN().own(Context(task=normed, profile=HERE.profile, training=TRAINING, seed=0))
    assert own == tuple(f"norm{n}.{part}" for n in (1, 2, 3) for part in _NORM)


_NORM = ("weight", "bias", "running_mean", "running_var")


def test_the_servers_work_is_counted() -> None:
    """Weights of h: 3·100 + 3·100² + 4·100 of the trunk, 101 for each of 1,210 values; 8 FLOPs each and arrival. Three
    times they and the model are read or written for each, and six times all of them in the step; they, their gradients
    and momentum are in memory, and two models an arrival."""
    server = PFedHN().init_server(HERE)
    world = federation(PFedHN())
    for job in (0, 1):
        world.dispatch(job, job, 0)
    work = world.aggregate([Received(job, job, 0, 1.0) for job in (0, 1)])
    weights = 300 + 30_000 + 400 + 101 * (1024 + 16 + 160 + 10)
    assert sum(t.numel() for name, t in server["hyper"].items() if name != "v") == weights
    assert work is not None
    assert work.flops == 2 * 8 * weights
    every = weights + server["hyper"]["v"].numel()
    assert work.traffic_bytes == 4 * (2 * 3 * (weights + 1210) + 6 * every)
    assert work.memory_bytes == 4 * (3 * every + 2 * 2 * 1210)
    assert (work.steps, len(work.layer_flops)) == (1, 0)


@pytest.mark.parametrize("classifier", ["shared", "personal"])
def test_a_cohort_trains_as_one_client_at_a_time(classifier: str) -> None:
    where, algorithm = context(task(8, alpha=0.3)), PFedHN(classifier=classifier, inner_steps=20)  # type: ignore[arg-type]
    together, alone = trained(algorithm, range(4), where), trained(algorithm, range(4), where, "loop")
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.update["params"], b.update["params"], rtol=2e-3, atol=2e-5)
