"""Splits: which tensors are personal, by what layers are and not by what they are called."""

import pytest
import torch
from torch import nn

from edgesim.errors import ScenarioError
from edgesim.learning import split
from edgesim.learning.models import Model, make_model
from edgesim.learning.split import Part
from edgesim.learning.task import make_task


def model(name: str = "mlp", **params: object) -> Model:
    shape = (3, 16, 16) if name in ("resnet18", "cnn-bn", "cnn") else (64,)
    if name == "transformer":
        return make_model(name, params, input_shape=(8,), classes=10, folder=__file__, tokens=True)  # type: ignore[arg-type]
    return make_model(name, params, input_shape=shape, classes=10, folder=__file__)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "which", "expected"),
    [
        ("mlp", "head", ("fc2.weight", "fc2.bias")),
        ("mlp", "input", ("fc1.weight", "fc1.bias")),
        ("cnn", "head", ("fc2.weight", "fc2.bias")),
        ("cnn", "input", ("conv1.weight", "conv1.bias")),
        ("resnet18", "head", ("fc.weight", "fc.bias")),
        ("resnet18", "input", ("conv1.weight",)),
        ("transformer", "head", ("head.weight", "head.bias")),
        ("mlp", ("fc1.bias", "fc2"), ("fc1.bias", "fc2.weight", "fc2.bias")),
        ("mlp", (), ()),
    ],
)
def test_parts_are_named_in_the_models_order(name: str, which: Part, expected: tuple[str, ...]) -> None:
    params = {"width": 0.1} if name == "resnet18" else {}
    assert split.part(model(name, **params), which) == expected


def test_norms_are_known_by_their_kind_and_take_their_statistics_along() -> None:
    """Sequential numbers its layers: no name holds "bn"."""
    named = split.part(model("cnn-bn", width=0.05), "norm")
    assert len(named) == 3 * 4  # scale, shift, mean and variance of three layers
    assert {name.rpartition(".")[2] for name in named} == {"weight", "bias", "running_mean", "running_var"}


def test_adapters_are_known_by_their_kind() -> None:
    named = split.part(model("transformer", adapters=4, layers=1), "adapters")
    assert len(named) == 4
    assert all(".adapter." in name for name in named)


def test_the_personal_part_of_a_quadratic_problem_is_w() -> None:
    small = {"d_theta": 3, "d_w": 2, "rows": 9}
    task = make_task(dataset="quadratic", dataset_params=small, model="quadratic", clients=2, seed=0)
    assert split.part(task.model, "head") == ("w",)


def test_what_the_model_lacks_is_refused_with_what_it_has() -> None:
    with pytest.raises(ScenarioError, match=r"no norm layers; .*its tensors are fc1\.weight"):
        split.part(model(), "norm")
    with pytest.raises(ScenarioError, match=r"no adapters; .*adapters: 16"):
        split.part(model(), "adapters")
    with pytest.raises(ScenarioError, match=r"no tensor or layer 'fc3': did you mean"):
        split.part(model(), ("fc2", "fc3"))
    with pytest.raises(ScenarioError, match="no tensor or layer 'fc'"):  # a part of a name is no layer
        split.part(model(), ("fc",))


def test_the_features_of_a_head_are_what_it_reads() -> None:
    whole = model(hidden=[48])
    assert split.features(whole, split.part(whole, "head")) == 48
    assert split.features(whole, split.part(whole, "input")) is None


def test_normal_numbers_are_made_of_uniform_ones() -> None:
    tensors = {"w": torch.empty(1, 100, 40), "b": torch.empty(1, 1000)}
    made = split.fresh(tensors, "normal", torch.rand(1, 10_000, generator=torch.Generator().manual_seed(0)))
    values = torch.cat([tensor.flatten() for tensor in made.values()])
    assert [tensor.shape for tensor in made.values()] == [tensor.shape for tensor in tensors.values()]
    assert abs(float(values.mean())) < 0.05
    assert abs(float(values.std()) - 1) < 0.05
    assert abs(float((values.abs() < 1).float().mean()) - 0.683) < 0.03


def test_the_start_is_one_object_for_all_clients() -> None:
    whole = model()
    assert split.start(whole, 0, ("fc2.bias",)) is split.start(whole, 0, ("fc2.bias",))
    assert isinstance(whole.module, nn.Module)
