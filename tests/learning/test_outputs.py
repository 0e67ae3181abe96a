"""Losses of an algorithm's own: gradients and features are those of the model, whichever way a cohort is computed."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesim.errors import RunError
from edgesim.learning.batches import Batch, mean_loss
from edgesim.learning.kernels import kernel
from edgesim.learning.models import Model, make_model
from edgesim.learning.outputs import Network, network_of
from edgesim.learning.quadratic import QuadraticKernel
from edgesim.learning.tree import Params

CLIENTS, LONG, SHORT = 2, 4, 3  # the second client's batch has one row of padding
OWN = """
from torch import nn
def net(shape, classes):
    return nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, classes))
def dropping(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, classes))
def tied(shape, classes):
    return Tied(shape[0], classes)
class Tied(nn.Module):
    def __init__(self, length, classes):
        super().__init__()
        self.word, self.fc, self.out = nn.Embedding(classes, 5), nn.Linear(5, 5), nn.Linear(5, classes, bias=False)
        self.out.weight = self.word.weight
    def forward(self, x):
        return self.out(self.fc(self.word(x)).mean(1).tanh())
"""


def model(name: str, folder: Path) -> Model:
    (folder / "own.py").write_text(OWN)
    tokens = name == "transformer" or name.endswith("tied")
    shape = (7,) if tokens else (1, 8, 8)
    return make_model(name, {}, input_shape=shape, classes=10, folder=folder, tokens=tokens)


def case(name: str, folder: Path) -> tuple[Model, Params, Batch]:
    """A model, weights of two clients, and a batch of each."""
    made, random = model(name, folder), torch.Generator().manual_seed(0)
    starts = [made.init(seed) for seed in range(CLIENTS)]
    params = {tensor: torch.stack([start[tensor] for start in starts]) for tensor in starts[0]}
    size = (CLIENTS, LONG, *made.input_shape)
    x = torch.randint(10, size, generator=random) if made.tokens else torch.randn(size, generator=random)
    weight = torch.zeros(CLIENTS, LONG)
    weight[0], weight[1, :SHORT] = 1 / LONG, 1 / SHORT
    keys = np.array([3, 5], np.uint64) if made.random else None
    return made, params, Batch(x, torch.randint(10, (CLIENTS, LONG), generator=random), weight, keys)


def network(made: Model, backend: str) -> Network:
    return network_of(made.module, made.statistics, kernel(made.module, backend))


WAYS = [("mlp", "loop"), ("mlp", "stacked"), ("cnn", "loop"), ("cnn", "stacked"), ("resnet18", "loop"),
        ("transformer", "loop"), ("transformer", "stacked"), ("./own.py:net", "loop"), ("./own.py:tied", "loop"),
        ("./own.py:dropping", "loop"),
        ("./own.py:tied", "stacked")]  # fmt: skip


@pytest.mark.parametrize(("name", "backend"), WAYS)
def test_the_usual_loss_has_the_usual_gradient_and_logits(name: str, backend: str, tmp_path: Path) -> None:
    """Cross-entropy, given as a loss of one's own: running statistics of a batch norm move as they do anyway."""
    made, params, batch = case(name, tmp_path)
    usual, own = kernel(made.module, backend), network(made, backend)
    found = own.gradient(params, batch, lambda logits, _: mean_loss(logits, batch))
    expected = usual.gradient(params, batch)
    assert list(found) == list(expected)
    for tensor, gradient in expected.items():
        torch.testing.assert_close(found[tensor], gradient, rtol=1e-4, atol=1e-6)
    real = batch.weight > 0
    torch.testing.assert_close(own.outputs(params, batch)[0][real], usual.logits(params, batch.x)[real])


@pytest.mark.parametrize(("name", "head"), [("mlp", "fc2"), ("cnn", "fc2"), ("./own.py:net", "4"), ("resnet18", "fc")])
def test_features_are_what_the_last_layer_is_given(name: str, head: str, tmp_path: Path) -> None:
    made, params, batch = case(name, tmp_path)
    logits, features = network(made, "loop").outputs(params, batch)
    for client, size in enumerate((LONG, SHORT)):
        weight, bias = params[f"{head}.weight"][client], params[f"{head}.bias"][client]
        torch.testing.assert_close(logits[client, :size], F.linear(features[client, :size], weight, bias))


def test_a_loss_of_features_leaves_the_last_layer_alone_and_is_the_same_in_loop_and_stack(tmp_path: Path) -> None:
    made, params, batch = case("mlp", tmp_path)

    def loss(logits: Tensor, features: Tensor) -> Tensor:
        return (features.square().sum(2) * batch.weight).sum(1)

    one, all_ = (network(made, backend).gradient(params, batch, loss) for backend in ("loop", "stacked"))
    for tensor, gradient in one.items():
        torch.testing.assert_close(all_[tensor], gradient, rtol=1e-4, atol=1e-6)
        assert bool(gradient.any()) != tensor.startswith("fc2")


@pytest.mark.parametrize("backend", ["loop", "stacked"])
def test_nothing_flows_back_through_outputs(backend: str, tmp_path: Path) -> None:
    made, params, batch = case("mlp", tmp_path)
    followed = {name: tensor.requires_grad_() for name, tensor in params.items()}
    assert not any(tensor.requires_grad for tensor in network(made, backend).outputs(followed, batch))


def test_a_loss_that_is_no_number_a_client_is_refused(tmp_path: Path) -> None:
    made, params, batch = case("mlp", tmp_path)
    with pytest.raises(ValueError, match=r"the loss has shape \[2, 4\], and one number a client is wanted, \[2\]"):
        network(made, "stacked").gradient(params, batch, lambda logits, _: logits.sum(2))
    with pytest.raises(ValueError, match=r"the loss has shape \[\], and one number"):
        network(made, "loop").gradient(params, batch, lambda logits, _: logits.sum())


def test_a_loss_that_is_no_tensor_or_ignores_the_parameters_is_refused(tmp_path: Path) -> None:
    made, params, batch = case("mlp", tmp_path)
    with pytest.raises(ValueError, match=r"the loss is a NoneType, and a tensor of one number a client is wanted"):
        network(made, "loop").gradient(params, batch, lambda logits, _: None)  # type: ignore[arg-type, return-value]
    for backend in ("loop", "stacked"):
        with pytest.raises(ValueError, match=r"the loss does not depend on the parameters"):
            network(made, backend).gradient(params, batch, lambda logits, _: logits.detach().sum((1, 2)))


def test_quadratic_problems_have_no_outputs() -> None:
    with pytest.raises(RunError, match="predicts nothing"):
        network_of(nn.Identity(), frozenset(), QuadraticKernel())
