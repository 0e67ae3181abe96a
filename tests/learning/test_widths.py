"""Nested sub-models: which values they are, that they compute what a small model computes, and what they cost."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from edgesim.errors import ScenarioError
from edgesim.learning import widths
from edgesim.learning.models import Model, make_model
from edgesim.learning.profile import profile_model
from edgesim.learning.statistics import statistics
from edgesim.learning.tree import Params

SMALL, LARGE = (1, 8, 8), (3, 32, 32)


def model(name: str, shape: tuple[int, ...] = SMALL, **params: object) -> Model:
    return make_model(name, params, input_shape=shape, classes=10, folder=Path())


def corner(params: Params, of: Model, rate: float) -> Params:
    shapes = widths.shapes(of, rate)
    return {name: tensor[tuple(slice(size) for size in shapes[name])] for name, tensor in params.items()}


def mask(of: Model, rate: float) -> Params:
    like = {name: torch.empty(1, *shape) for name, shape in of.shapes.items()}
    found = widths.masks({name: sizes[None] for name, sizes in widths.kept(of, rate).items()}, like)
    return {name: tensor[0] for name, tensor in found.items()}


def slopes(module: nn.Module, params: Params, x: Tensor) -> tuple[Tensor, Params]:
    """Logits in training, and gradients of a loss; running statistics move in the params given."""
    fixed = statistics(module)
    leaves = {name: t.clone() if name in fixed else t.clone().requires_grad_() for name, t in params.items()}
    out = functional_call(module.train(), leaves, (x,))
    loss = nn.functional.cross_entropy(out, torch.arange(len(x)) % 10)
    learned = [name for name in leaves if name not in fixed]
    found = dict(zip(learned, torch.autograd.grad(loss, [leaves[name] for name in learned]), strict=True))
    return out, found | {name: leaves[name] for name in fixed}


CHAINS: list[tuple[str, tuple[int, ...], Mapping[str, object]]] = [
    ("mlp", SMALL, {"hidden": [16, 8]}), ("cnn", SMALL, {"hidden": 16}), ("cnn-bn", SMALL, {"width": 0.1}),
    ("cifar-cnn", LARGE, {"width": 0.2}), ("lenet", LARGE, {}), ("vgg11", LARGE, {"norm": "none", "width": 0.1}),
    ("vgg11", LARGE, {"norm": "batch", "width": 0.1}), ("resnet18", LARGE, {"norm": "batch", "width": 0.1}),
    ("resnet18", LARGE, {"norm": "none", "width": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "params"), CHAINS, ids=lambda value: str(value))
def test_a_masked_model_learns_what_the_small_one_learns(
    name: str, shape: tuple[int, ...], params: dict[str, object]
) -> None:
    whole = model(name, shape, **params)
    start, on = whole.init(1), mask(whole, 0.4)
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    masked = {name: torch.where(on[name], tensor, 0.0) for name, tensor in start.items()}
    small = widths.narrow(whole, 0.4).build()
    logits, gradient = slopes(whole.build(), masked, x)
    expected, wanted = slopes(small, corner(start, whole, 0.4), x)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(corner(gradient, whole, 0.4), wanted, rtol=1e-3, atol=1e-5)
    assert all(not tensor[~on[name]].any() for name, tensor in gradient.items())  # absent values stay 0


def test_sub_models_have_the_first_units_and_whole_ends() -> None:
    """64-10-10 at 0.25: ⌈2.5⌉ = 3 units."""
    on = mask(model("mlp", hidden=[10]), 0.25)
    assert on["fc1.weight"].nonzero().amax(0).tolist() == [2, 63]
    assert on["fc1.bias"].tolist() == [True] * 3 + [False] * 7
    assert on["fc2.weight"].sum().item() == 30
    assert on["fc2.weight"][:, :3].all()
    assert on["fc2.bias"].all()


def test_a_flattened_channel_is_all_of_its_places() -> None:
    """8×8 digits after two poolings are 2×2: half of 64 channels are the first 32 · 4 inputs of fc1."""
    on = mask(model("cnn"), 0.5)
    assert on["fc1.weight"][0].nonzero().flatten().tolist() == list(range(128))
    assert on["conv2.weight"].sum().item() == 32 * 16 * 25
    assert on["conv1.weight"].sum().item() == 16 * 1 * 25


@settings(max_examples=30)
@given(a=st.floats(0.01, 1), b=st.floats(0.01, 1))
def test_sub_models_are_nested(a: float, b: float) -> None:
    whole = model("mlp", hidden=[16, 8])
    small, large = mask(whole, min(a, b)), mask(whole, max(a, b))
    assert all(bool((large[name] | ~small[name]).all()) for name in small)


def test_rounding_up_is_of_the_share_as_written() -> None:
    """0.1 · 30 is 3.0000000000000004 in floating point."""
    assert widths.shapes(model("mlp", hidden=[30]), 0.1)["fc1.weight"] == (3, 64)


def test_half_the_width_is_a_quarter_of_a_hidden_layers_work() -> None:
    whole = model("mlp", hidden=[32, 16])
    half, full = widths.profile(whole, 0.5), profile_model(whole)
    share = half.training_flops / full.training_flops.clip(1)
    assert [share[full.names.index(f"fc{n}.weight")] for n in (1, 2, 3)] == [0.5, 0.25, 0.5]
    by_hand = profile_model(model("mlp", hidden=[16, 8]))
    assert half.total_flops == by_hand.total_flops
    assert half.activations.tolist() == by_hand.activations.tolist()
    assert half.parameters == by_hand.parameters


def test_layers_before_a_norm_are_told_apart() -> None:
    assert widths.layout(model("cnn", hidden=16)).free == (
        "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias",
    )  # fmt: skip
    found = widths.layout(model("cnn-bn", width=0.1))
    assert found.free == ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    assert found.head == ("fc3.weight", "fc3.bias")
    assert found.norms == ("norm1", "norm2", "norm3")


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        ("vgg11", {"width": 0.1}, "'norm1' is a GroupNorm, which mixes present channels with absent ones; take mlp"),
        ("resnet18", {"norm": "batch", "width": 0.1, "adapters": 2}, "'adapter1_1' is a Adapter"),
        ("mlp", {"hidden": []}, "it has no hidden layer"),
    ],
)
def test_what_would_not_be_exact_is_refused(name: str, params: dict[str, object], reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason):
        widths.layout(model(name, LARGE, **params))


def test_an_activation_that_makes_something_of_nothing_is_refused() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Sigmoid(), nn.Linear(4, 10))

    own = Model(module=build().to("meta"), build=build, input_shape=SMALL, classes=10)
    with pytest.raises(ScenarioError, match="'2' is a Sigmoid"):
        widths.layout(own)
