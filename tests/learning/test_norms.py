"""Batch norm: trained by its batch, used by its running statistics, which travel with the parameters."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesim.algorithms.contract import Algorithm
from edgesim.errors import ScenarioError
from edgesim.execution.backend import choose
from edgesim.learning import masks
from edgesim.learning.batches import Batch
from edgesim.learning.batches import draw as draw_batches
from edgesim.learning.evaluation import evaluate
from edgesim.learning.kernels import kernel
from edgesim.learning.local import Order, cohort_of, local_update
from edgesim.learning.models import Model, make_model
from edgesim.learning.profile import profile_model, training_workload
from edgesim.learning.shards import Shards
from edgesim.learning.task import Task
from edgesim.learning.training import Training
from edgesim.learning.tree import Params


def make(name: str = "cnn-bn", **params: object) -> Model:
    return make_model(name, {"width": 0.05, **params}, input_shape=(2, 8, 8), classes=5, folder=Path())


MODEL = make()
START = MODEL.init(0)


def batch(clients: int) -> Batch:
    """Seven samples a client, of which the last two do not count."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.tensor([0.2] * 5 + [0.0] * 2).expand(clients, 7)
    x = 2 + 3 * torch.randn(clients, 7, 2, 8, 8, generator=draw)
    return Batch(x, torch.randint(0, 5, (clients, 7), generator=draw), weight)


def stacked(params: Params, clients: int) -> Params:
    return {name: tensor.expand(clients, *tensor.shape) for name, tensor in params.items()}


def by_torch(params: Params, x: Tensor, y: Tensor) -> tuple[nn.Module, Tensor]:
    """The module itself after one forward and backward pass in training."""
    module = MODEL.build().train()
    module.load_state_dict(params, strict=False)
    loss = F.cross_entropy(module(x), y)
    loss.backward()  # type: ignore[no-untyped-call]
    return module, loss


def test_statistics_are_tensors_of_the_model_in_module_order() -> None:
    assert list(MODEL.shapes)[:6] == [
        "conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var",
    ]  # fmt: skip
    assert MODEL.statistics == {f"norm{i}.running_{what}" for i in (1, 2, 3) for what in ("mean", "var")}
    assert MODEL.normalisation == MODEL.statistics | {
        f"norm{i}.{what}" for i in (1, 2, 3) for what in ("weight", "bias")
    }
    assert list(START) == list(MODEL.shapes)
    assert START["norm2.running_mean"].tolist() == [0] * 3
    assert START["norm2.running_var"].tolist() == [1] * 3
    group = make(norm="group")
    assert group.statistics == set()
    assert group.normalisation == {f"norm{i}.{what}" for i in (1, 2, 3) for what in ("weight", "bias")}


def test_gradients_and_statistics_are_those_of_torch_over_the_real_samples() -> None:
    some = batch(3)
    found = kernel(MODEL.module, "loop").gradient(stacked(START, 3), some)
    assert list(found) == list(START)
    for client in range(3):
        module, _ = by_torch(START, some.x[client, :5], some.y[client, :5])
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(found[name][client], parameter.grad, rtol=1e-4, atol=1e-6)
        for name in MODEL.statistics:
            after = START[name] - found[name][client]
            torch.testing.assert_close(after, module.get_buffer(name))
            assert not torch.equal(after, START[name])


def test_local_training_is_that_of_torch_statistics_included() -> None:
    """Momentum, weight decay and clipping move the weights; the statistics are what torch's module ends with."""
    sizes = np.array([5, 9, 2])  # with batches of 4: the last ones hold 1, 1 and 2 samples
    draw = torch.Generator().manual_seed(1)
    x, y = 2 + torch.randn(16, 2, 8, 8, generator=draw), torch.randint(0, 5, (16,), generator=draw)
    shards = Shards(index=np.arange(16), offset=np.cumsum([0, *sizes]))
    task = Task(x=x, y=y, classes=5, train=shards, test=shards, model=MODEL)
    training = Training(lr=0.1, batch_size=4, epochs=2, momentum=0.9, weight_decay=0.01, clip=0.5)
    orders = [Order(7, client, 0, {"params": START}, {}) for client in range(3)]
    loop = kernel(MODEL.module, "loop")
    for client, result in enumerate(local_update(Algorithm(), task, training, loop, 3, orders)):
        module = MODEL.build().train()
        module.load_state_dict(START, strict=False)
        solver = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        alone = cohort_of(orders[client : client + 1])
        drawn = draw_batches(x, y, shards, alone, seed=3, purpose="batches", batch_size=4, epochs=2)
        for step in range(int(drawn.steps[0])):
            some = drawn.at(step, 1)
            real = some.weight[0] > 0
            solver.zero_grad()
            F.cross_entropy(module(some.x[0][real]), some.y[0][real]).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            solver.step()
        after = {name: tensor for name, tensor in module.state_dict().items() if name in START}
        for name, tensor in after.items():
            torch.testing.assert_close(result.update["params"][name], tensor - START[name], rtol=1e-4, atol=1e-6)


def test_a_kernel_leaves_what_it_is_given_alone_and_repeats_itself() -> None:
    given = {name: tensor.unsqueeze(0) for name, tensor in copy.deepcopy(START).items()}
    loop = kernel(MODEL.module, "loop")
    first, again = loop.gradient(given, batch(1)), loop.gradient(given, batch(1))
    for name, tensor in START.items():
        assert torch.equal(given[name][0], tensor)
        assert torch.equal(first[name], again[name])


def test_predictions_and_losses_go_by_the_running_statistics() -> None:
    """A sample's prediction does not depend on its company, and is that of the module in use."""
    module, _ = by_torch(START, batch(1).x[0], batch(1).y[0])
    params = {name: t.detach() for name, t in module.state_dict().items() if name in START}
    loop, some = kernel(MODEL.module, "loop"), batch(1)
    logits = loop.logits(stacked(params, 1), some.x)
    alone = loop.logits(stacked(params, 1), some.x[:, 3:4])
    with torch.no_grad():
        expected = module.eval()(some.x[0])
    torch.testing.assert_close(logits[0], expected)
    torch.testing.assert_close(alone[0, 0], expected[3])
    loss = F.cross_entropy(expected[:5], some.y[0, :5])
    torch.testing.assert_close(loop.loss(stacked(params, 1), some), loss.unsqueeze(0))


@pytest.mark.parametrize(
    ("name", "backend"), [("mlp", "stacked"), ("mlp", "loop"), ("cnn", "loop"), ("cnn", "stacked")]
)
def test_losses_are_means_over_the_real_samples(name: str, backend: str) -> None:
    model = make_model(name, {}, input_shape=(2, 8, 8), classes=5, folder=Path())
    params = [model.init(seed) for seed in (0, 1)]
    both = {n: torch.stack([p[n] for p in params]) for n in model.shapes}
    some = batch(2)
    losses = kernel(model.module, backend).loss(both, some)
    for client in range(2):
        module = model.build()
        module.load_state_dict(params[client])
        with torch.no_grad():
            expected = F.cross_entropy(module(some.x[client, :5]), some.y[client, :5])
        torch.testing.assert_close(losses[client], expected)


def test_batch_norm_is_never_stacked() -> None:
    assert choose(MODEL.module, "auto") == "loop"
    assert choose(make("resnet18").module, "auto") == "loop"
    with pytest.raises(ScenarioError, match=r"execution\.backend: stacked cannot train models with batch norm"):
        kernel(MODEL.module, "stacked")


def test_statistics_are_dense_and_cost_bytes_but_no_flops() -> None:
    profile = profile_model(MODEL)
    assert not MODEL.statistics & masks.maskable(MODEL.shapes).keys()
    where = [name in MODEL.statistics for name in profile.names]
    assert not profile.maskable[where].any()
    assert profile.training_flops[where].sum() == 0
    assert profile.elements[where].sum() == 2 * (3 + 3 + 6)
    cheaper = profile_model(make(norm="none"))
    costs = [
        training_workload(p, samples=4, batch_size=4, epochs=1, density=None, optimizer_words=0)
        for p in (profile, cheaper)
    ]
    tensors, outputs = 4 * 12, 3 * 64 + 3 * 16 + 6 * 4  # scale, shift and two statistics of 12 channels; its places
    assert costs[0].memory_bytes - costs[1].memory_bytes == 4 * tensors * 2 + 4 * 2 * 4 * outputs


def test_each_client_is_scored_by_its_own_statistics_which_are_no_weights() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(12, 2, 8, 8)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 5, 12))
    shards = Shards(index=np.arange(12), offset=np.array([0, 4, 12]))
    task = Task(x=x, y=y, classes=5, train=shards, test=shards, model=MODEL)
    trained = [{n: t.detach() for n, t in by_torch(START, 5 * k + x, y)[0].state_dict().items()} for k in (0, 1)]
    models = [{name: each[name] for name in START} for each in trained]
    scores = evaluate(task, kernel(MODEL.module, "loop"), lambda clients: [models[client] for client in clients])
    for client, model in enumerate(models):
        module = MODEL.build().eval()
        module.load_state_dict(model, strict=False)
        mine = torch.from_numpy(shards.of(client))
        loss = F.cross_entropy(module(x[mine]), y[mine], reduction="sum")
        assert scores.loss[client] == pytest.approx(float(loss.detach()), rel=1e-5)
    total = sum(t.numel() for n, t in START.items() if n not in MODEL.statistics)
    zero = sum(int((t == 0).sum()) for n, t in models[0].items() if n not in MODEL.statistics)
    assert scores.active[0] == pytest.approx(1 - zero / total)
