"""Profiles: dense FLOPs equal torch's counter and a count by hand; workloads follow their formulas."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgesim.learning.flops import measure
from edgesim.learning.layerflops import by_layer
from edgesim.learning.models import Model, make_model
from edgesim.learning.profile import ModelProfile, profile_model, training_workload


def built_in(name: str, **params: object) -> Model:
    return make_model(name, params, input_shape=(1, 8, 8), classes=10, folder=Path())


def of(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Model:
    return Model(module=build().to("meta"), build=build, input_shape=shape, classes=3)


class Attention(nn.Module):
    """Products that belong to no parameter (the scores), a weight used twice, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm, self.out = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [batch, 4, 6]
        hidden = self.norm(self.mix(self.mix(x)))
        scores = hidden @ hidden.transpose(1, 2)
        return self.out((scores @ hidden).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "model",
    [
        built_in("mlp"),
        built_in("mlp", hidden=[]),
        built_in("cnn", channels=[3, 5], hidden=7),
        of(Attention, (4, 6)),
    ],
    ids=["mlp", "linear", "cnn", "attention"],
)
def test_dense_flops_equal_torchs_counter(model: Model) -> None:
    """A real forward and backward pass of five samples, on the CPU."""
    module = model.build()
    with FlopCounterMode(display=False) as counter:
        module(torch.ones(5, *model.input_shape)).sum().backward()
    profile = profile_model(model)
    assert 5 * profile.total_flops == counter.get_total_flops()
    assert min(profile.other_flops, *profile.training_flops) >= 0


def strides() -> nn.Module:
    """Nested, a linear layer over the last of several axes, a convolution without bias that is square in nothing."""
    odd = nn.Conv2d(2, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False)
    rest = nn.Linear(6, 4), nn.Flatten(), nn.Linear(120, 3)
    return nn.Sequential(nn.Identity(), nn.Sequential(odd, nn.ReLU()), *rest)


LAYERS = {
    "mlp": lambda: built_in("mlp", hidden=[7, 5]),
    "linear": lambda: built_in("mlp", hidden=[]),
    "cnn": lambda: built_in("cnn", channels=[3, 5], hidden=7),
    "strides": lambda: of(strides, (2, 9, 8)),
}


@pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)
def test_formulas_find_what_running_the_layers_finds(build: Callable[[], Model]) -> None:
    model = build()
    assert by_layer(model.module, model.input_shape) == measure(model.module, model.zeros(1, "meta"))


@pytest.mark.parametrize(
    "module",
    [
        Attention(),
        nn.Sequential(nn.Linear(6, 6), nn.Tanh()),
        nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        nn.Sequential(nn.Flatten()),
    ],
    ids=["a module", "another layer", "groups", "reflection", "no product"],
)
def test_formulas_leave_what_they_do_not_know_to_the_counter(module: nn.Module) -> None:
    assert by_layer(module.to("meta"), (4, 6, 6)) is None


def test_products_without_a_parameter_are_other_flops() -> None:
    """scores: 4×6 by 6×4 and 4×4 by 4×6, 2·96 each; backward twice that; 3 · 2 · 192 = 1152."""
    profile = profile_model(of(Attention, (4, 6)))
    assert profile.other_flops == 1152
    by_name = dict(zip(profile.names, zip(profile.forward_flops, profile.input_grad_flops, strict=True), strict=True))
    assert by_name["mix.weight"] == (2 * 288, 288)  # used twice; only the second use has an input gradient
    assert by_name["mix.bias"] == by_name["norm.weight"] == (0, 0)


def test_what_modules_put_out_counts_with_their_last_tensor() -> None:
    """Two calls of mix, one of norm, 4·6 values each, and one of out; sums and scores are no modules."""
    profile = profile_model(of(Attention, (4, 6)))
    calls = dict(zip(profile.names, zip(profile.calls, profile.activations, strict=True), strict=True))
    assert {name: found for name, found in calls.items() if any(found)} == {
        "mix.bias": (2, 48), "norm.bias": (1, 24), "out.bias": (1, 3),
    }  # fmt: skip


def test_what_comes_before_any_tensor_counts_with_the_first() -> None:
    profile = profile_model(built_in("mlp", hidden=[]))
    assert profile.activations.tolist() == [64, 10]
    assert profile.views.tolist() == [64, 0]
    assert profile.calls.tolist() == [0, 1]


def test_cnn_flops_by_hand() -> None:
    """cnn 1→3→5 channels on 8×8, 7 hidden units: 2·9·… per place: conv1 64 places, conv2 16, then linear."""
    profile = profile_model(built_in("cnn", channels=[3, 5], hidden=7))
    forward = [2 * 64 * 3 * 25, 2 * 16 * 5 * 3 * 25, 2 * 5 * 2 * 2 * 7, 2 * 7 * 10]
    assert profile.forward_flops[profile.maskable].tolist() == forward
    assert profile.weight_grad_flops[profile.maskable].tolist() == forward
    assert profile.input_grad_flops[profile.maskable].tolist() == [0, *forward[1:]]
    assert profile.elements.tolist() == [75, 3, 375, 5, 140, 7, 70, 10]
    assert profile.parameters == 685
    # conv1, relu1: 3·64 each; pool1 3·16; conv2, relu2 5·16; pool2, flatten 5·4; fc1, relu3 7; fc2 10
    assert profile.activations.tolist() == [0, 2 * 192 + 48, 0, 2 * 80 + 2 * 20, 0, 2 * 7, 0, 10]
    assert profile.views.tolist() == [0, 0, 0, 20, 0, 0, 0, 0]
    assert profile.calls.tolist() == [0, 3, 0, 3, 0, 2, 0, 1]


@pytest.fixture(scope="module")
def mlp() -> ModelProfile:
    """64 → 8 → 10: weights 512 and 80, biases 8 and 10; activations: flatten 64, 8, 8, 10."""
    return profile_model(built_in("mlp", hidden=[8]))


def test_a_dense_workload_by_hand(mlp: ModelProfile) -> None:
    """7 samples in batches of 4, 3 epochs: 2 steps an epoch, 21 samples seen; momentum is one word more."""
    work = training_workload(mlp, samples=7, batch_size=4, epochs=3, density=None, optimizer_words=1)
    assert work.layer_flops.tolist() == [21 * 2 * 1024, 21 * 3 * 160]
    assert work.layer_density.tolist() == [1, 1]
    assert (work.other_flops, work.steps) == (0, 6)
    assert work.memory_bytes == 4 * 610 * 3 + 8 * 4 * 90
    assert work.traffic_bytes == 6 * 4 * 610 * 8 + 21 * 16 * 90


def test_a_sparse_workload_by_hand(mlp: ModelProfile) -> None:
    """A quarter of fc1: 128 of 512. Active 128 + 80 + 18 = 226. One dense pass of min(4, 3) samples."""
    work = training_workload(
        mlp, samples=3, batch_size=4, epochs=1, density={"fc1.weight": 0.25}, optimizer_words=0,
        dense_gradient_batches=1,
    )  # fmt: skip
    assert work.layer_density.tolist() == [0.25, 1]
    assert work.steps == 1 + 1
    assert work.other_flops == 3 * (2 * 1024 + 3 * 160)
    assert work.flops == 3 * (0.25 * 2048 + 480) + work.other_flops
    assert work.memory_bytes == 4 * 226 * 2 + 512 / 8 + 8 * 3 * 90 + 4 * (512 - 128)
    assert work.traffic_bytes == 4 * 226 * 6 + 3 * 16 * 90 + (12 * 610 + 3 * 16 * 90)


def test_a_workload_of_convolutions_by_hand() -> None:
    """The cnn above with a third of conv2, momentum and a copy: active 75 + 125 + 140 + 70 and 25 biases, 435 of 685. 7
    samples in batches of 4, 3 epochs: 6 steps, 21 samples seen; two dense passes of 4. Nine layers compute something,
    and the tenth, flatten, only shows its 20 values anew."""
    cnn = profile_model(built_in("cnn", channels=[3, 5], hidden=7))
    asked = {"samples": 7, "batch_size": 4, "epochs": 3, "optimizer_words": 1, "copies": 1}
    thin = {cnn.names[2]: 1 / 3}
    work = training_workload(cnn, density=thin, dense_gradient_batches=2, **asked)
    assert work.layer_convolution is not None
    assert work.layer_convolution.tolist() == [True, True, False, False]
    assert work.layer_calls == 9 * (6 + 2)
    assert work.activation_bytes == 16 * (656 - 20) * (21 + 2 * 4)
    assert work.convolution_bytes == 4 * (75 + 125) * (6 + 2) * 6
    assert work.traffic_bytes == 4 * 435 * 8 * 6 + 16 * 656 * 21 + 2 * (12 * 685 + 16 * 656 * 4)
    assert work.memory_bytes == 4 * 435 * 4 + 47 + 8 * 4 * 656 + 4 * 250  # 375 bits are 46.9 bytes
    without = training_workload(cnn, density=thin, **asked)
    assert work.memory_bytes - without.memory_bytes == 4 * 250


def test_products_that_belong_to_no_tensor_are_done_for_every_sample() -> None:
    """Masks do not make them fewer."""
    profile = profile_model(of(Attention, (4, 6)))
    for density in (None, {"mix.weight": 0.5}):
        work = training_workload(profile, samples=7, batch_size=4, epochs=3, density=density, optimizer_words=0)
        assert work.other_flops == 21 * 1152


def test_halving_the_density_lowers_flops_traffic_and_memory(mlp: ModelProfile) -> None:
    works = [
        training_workload(mlp, samples=9, batch_size=2, epochs=1, density={"fc1.weight": d}, optimizer_words=0)
        for d in (0.5, 0.25)
    ]
    for figure in ("flops", "traffic_bytes", "memory_bytes"):
        assert getattr(works[1], figure) < getattr(works[0], figure)


def test_what_does_not_fit_is_refused(mlp: ModelProfile) -> None:
    for name in ("fc1.bias", "fc9.weight"):
        with pytest.raises(ValueError, match=f"density of '{name}': it is no maskable tensor; there are fc1.weight"):
            training_workload(mlp, samples=1, batch_size=1, epochs=1, density={name: 0.5}, optimizer_words=0)
    with pytest.raises(ValueError, match=r"there are fc1.weight, fc2.weight$"):
        training_workload(mlp, samples=1, batch_size=1, epochs=1, density={"fc9.weight": 0.5}, optimizer_words=0)
    with pytest.raises(ValueError, match="samples=0, batch_size=1 and epochs=1 must each be at least 1"):
        training_workload(mlp, samples=0, batch_size=1, epochs=1, density=None, optimizer_words=0)


def test_a_workload_is_exact_over_many_samples(mlp: ModelProfile) -> None:
    """FLOPs are whole numbers and grow in proportion to the samples that are really seen."""
    one, many = (
        training_workload(mlp, samples=n, batch_size=10, epochs=1, density=None, optimizer_words=0).flops
        for n in (1, 12_345)
    )
    assert many == 12_345 * one
    assert math.modf(one)[0] == 0
