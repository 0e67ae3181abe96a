"""Models that draw random numbers when they train: what is drawn is a function of seed, client, job and batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesim.algorithms.contract import Algorithm
from edgesim.errors import ScenarioError
from edgesim.execution.backend import choose
from edgesim.learning import split
from edgesim.learning.batches import halves
from edgesim.learning.cohort import Cohort
from edgesim.learning.kernels import kernel
from edgesim.learning.local import Order, local_update
from edgesim.learning.models import Model, make_model
from edgesim.learning.profile import profile_model
from edgesim.learning.shards import Shards
from edgesim.learning.task import Task
from edgesim.learning.training import Learner, Training, learner
from edgesim.learning.tree import Params

MODULES = """
import torch
from torch import nn

def layered(shape, classes):
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, classes))

class Inside(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        return self.fc(nn.functional.dropout(x, 0.3, self.training))

def inside(shape, classes):
    return Inside(classes)

def still(shape, classes):
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, classes))
"""
SIZES = [9, 5, 2]
TRAINING = Training(lr=0.1, batch_size=4, epochs=2)


def model(folder: Path, name: str = "layered") -> Model:
    (folder / "drawing.py").write_text(MODULES)
    return make_model(f"./drawing.py:{name}", {}, input_shape=(6,), classes=3, folder=folder)


def task(of: Model) -> Task:
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 6, generator=draw), torch.randint(0, 3, (16,), generator=draw)
    shards = Shards(index=np.arange(16), offset=np.cumsum([0, *SIZES]))
    return Task(x=x, y=y, classes=3, train=shards, test=shards, model=of)


def learning(of: Model, seed: int = 3, job: int = 7) -> Learner:
    cohort = Cohort(clients=np.arange(3), jobs=np.full(3, job), versions=np.zeros(3, np.int64))
    return learner(task(of), TRAINING, kernel(of.module, "loop", random=of.random), seed=seed, cohort=cohort)


def stacked(params: Params, clients: int) -> Params:
    return {name: tensor.expand(clients, *tensor.shape) for name, tensor in params.items()}


def trained(of: Model, clients: list[int], seed: int = 3, job: int = 7) -> list[Tensor]:
    world, start = task(of), of.init(0)
    orders = [Order(job, client, 0, {"params": start}, {}) for client in clients]
    by = kernel(of.module, "loop", random=of.random)
    results = local_update(Algorithm(), world, TRAINING, by, seed, orders)
    return [result.update["params"]["0.weight"] for result in results]


def test_that_a_model_draws_is_seen_whatever_its_layers_are_called(tmp_path: Path) -> None:
    assert [model(tmp_path, name).random for name in ("layered", "inside", "still")] == [True, True, False]
    assert profile_model(model(tmp_path)).training_flops.tolist() == [
        *profile_model(model(tmp_path, "still")).training_flops
    ]


def test_a_gradient_is_torchs_with_what_the_batch_says_is_drawn(tmp_path: Path) -> None:
    of = model(tmp_path)
    who, params = learning(of), of.init(0)
    batch = who.probe()
    assert batch.keys is not None
    found = who.gradient(stacked(params, 3), batch)
    for client, n in enumerate([4, 4, 2]):
        module = of.build().train()
        module.load_state_dict(params)
        torch.manual_seed(int(batch.keys[client]))
        F.cross_entropy(module(batch.x[client, :n]), batch.y[client, :n]).backward()  # type: ignore[no-untyped-call]
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(found[name][client], parameter.grad)


def test_what_a_client_draws_does_not_depend_on_its_company_but_on_its_job(tmp_path: Path) -> None:
    of = model(tmp_path)
    together = trained(of, [0, 1, 2])
    for client in range(3):
        torch.manual_seed(client)
        assert torch.equal(trained(of, [client])[0], together[client])
    assert not torch.equal(trained(of, [0], job=8)[0], together[0])
    assert not torch.equal(trained(of, [0], seed=4)[0], together[0])


def test_each_batch_draws_anew_and_the_same_batch_the_same(tmp_path: Path) -> None:
    of = model(tmp_path)
    who, params = learning(of), stacked(of.init(0), 3)
    drawn = who._draw("batches", 2, None, 4)
    first, later = drawn.at(0, 3), drawn.at(1, 2)
    assert first.keys is not None
    assert later.keys is not None
    assert len({*first.keys.tolist(), *later.keys.tolist()}) == 5
    once, again = who.gradient(params, first), who.gradient(params, first)
    assert all(torch.equal(once[name], again[name]) for name in once)
    even, odd = halves(first)
    assert even.keys is not None
    assert odd.keys is not None
    assert not set(even.keys.tolist()) & set(odd.keys.tolist())


def test_nothing_is_dropped_where_a_model_is_used(tmp_path: Path) -> None:
    of = model(tmp_path)
    module, params = of.build().eval(), of.init(0)
    module.load_state_dict(params)
    x = torch.randn(1, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(
            kernel(of.module, "loop", random=True).logits(stacked(params, 1), x)[0], module(x[0])
        )


def test_models_that_draw_train_one_client_at_a_time(tmp_path: Path) -> None:
    of = model(tmp_path)
    assert choose(of.module, "auto", random=of.random) == "loop"
    assert choose(of.module, "auto") == "stacked"
    with pytest.raises(ScenarioError, match="stacked cannot train models that draw random numbers, as dropout does"):
        kernel(of.module, "stacked", random=of.random)


def test_what_stands_still_below_dropout_is_not_kept(tmp_path: Path) -> None:
    """Its last layer starts from other values each time."""
    assert split.features(model(tmp_path), ("3.weight", "3.bias")) is None
    assert split.features(model(tmp_path, "still"), ("2.weight", "2.bias")) == 20
    assert isinstance(model(tmp_path).module, nn.Sequential)
