"""Widths: nested sub-models of a network; that of rate r has the first ⌈r·C⌉ of the C units of every hidden layer.

Input and output stay whole. Units are channels or neurons, and the first ones of a layer are the first rows of its
weight, so a sub-model is a corner of every tensor: `kept`, the corner's size along each dimension. As a full model
whose other weights are 0 it computes what the small dense model computes, and those weights have no gradient: absent
units put out 0, and activations, pooling and batch norms keep that. This is what lets clients of different widths
train as one cohort.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import TypeAlias

import torch
from torch import Tensor, nn

from edgesim.errors import ScenarioError
from edgesim.learning import statistics
from edgesim.learning.models import Model
from edgesim.learning.profile import ModelProfile, profile_model
from edgesim.learning.resnet import Block
from edgesim.learning.tree import Params

Units: TypeAlias = int | None  # how many a hidden layer has; None: not a hidden layer, so always whole

_STAY = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.Flatten, nn.Identity,
)  # fmt: skip
"""Layers without tensors that turn 0 into 0 and leave each channel to itself."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a model's layers are joined.

    Attributes: units, whose along each dimension of each tensor; free, tensors of the hidden layers that no norm
    follows; head, those of the last layer; norms, names of the batch norms.
    """

    units: Mapping[str, tuple[Units, ...]]
    free: tuple[str, ...]
    head: tuple[str, ...]
    norms: tuple[str, ...]


@lru_cache(maxsize=64)
def layout(model: Model) -> Layout:
    """The layout of a chain of linear layers, convolutions and batch norms, or of residual blocks of these.

    Raises ScenarioError where sub-models would not be exact, with what to take instead.
    """
    module = model.module
    if sum(1 for _ in module.named_parameters(remove_duplicate=False)) > sum(1 for _ in module.parameters()):
        raise _refusal("a parameter serves in two places")
    walk = _Walk({}, [], [])
    walk.through("", module, None)
    if len(walk.layers) < 2:
        raise _refusal("it has no hidden layer")
    last = walk.layers[-1]
    if list(model.shapes)[-1].rpartition(".")[0] != last or not isinstance(module.get_submodule(last), nn.Linear):
        raise _refusal("its last layer is not linear")
    head = tuple(name for name in model.shapes if name.rpartition(".")[0] == last)
    units = {name: (None, *found[1:]) if name in head else found for name, found in walk.units.items()}
    followed = {walk.layer_before[norm] for norm in walk.norms}
    free = [name for name in units if name.rpartition(".")[0] in set(walk.layers[:-1]) - followed]
    return Layout(units=units, free=tuple(free), head=head, norms=tuple(walk.norms))


def shapes(model: Model, rate: float) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the sub-model of this rate."""
    found = layout(model).units
    return {
        name: tuple(_first(size, rate, units) for size, units in zip(shape, found[name], strict=True))
        for name, shape in model.shapes.items()
    }


@lru_cache(maxsize=256)
def kept(model: Model, rate: float) -> Params:
    """The same as int64 [dimension] a tensor: one object, however many clients have this rate."""
    return {name: torch.tensor(shape) for name, shape in shapes(model, rate).items()}


def masks(corner: Params, like: Params) -> Params:
    """Which values lie in the corners: bool [client, *shape]; corner is `kept` with a client axis."""
    return {name: _inside(corner[name], tensor.shape[1:]) for name, tensor in like.items()}


def mask(corner: Params, like: Params) -> Params:
    """The same of one client: bool [*shape]; one object, however many have this corner."""
    return _mask(tuple((name, tuple(corner[name].tolist()), tuple(tensor.shape)) for name, tensor in like.items()))


@lru_cache(maxsize=16)  # rates
def _mask(corners: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]) -> Params:
    return {name: _inside(torch.tensor([corner]).long(), torch.Size(shape))[0] for name, corner, shape in corners}


@lru_cache(maxsize=256)
def narrow(model: Model, rate: float) -> Model:
    """The sub-model of this rate as a dense model of its own."""
    return replace(
        model, module=_cut(model.module, shapes(model, rate)), build=lambda: _cut(model.build(), shapes(model, rate))
    )


@lru_cache(maxsize=256)
def profile(model: Model, rate: float) -> ModelProfile:
    """What the sub-model of this rate costs: dense work, of a small model."""
    return profile_model(narrow(model, rate))


def _first(size: int, rate: float, units: Units) -> int:
    """How much of a dimension is kept; a flattened image has several values a channel."""
    return size if units is None else max(1, ceil(rate * units - 1e-9)) * (size // units)


def _inside(corner: Tensor, shape: torch.Size) -> Tensor:
    inside = torch.ones(len(corner), *[1] * len(shape), dtype=torch.bool, device=corner.device)
    for number, size in enumerate(shape):
        along = torch.arange(size, device=corner.device) < corner[:, number, None]
        inside = inside & along.view(-1, *[size if axis == number else 1 for axis in range(len(shape))])
    return inside


def _cut(module: nn.Module, shape: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """A copy with only the first values of each tensor."""
    module = copy.deepcopy(module)
    for name, tensor in statistics.tensors(module).items():
        path, _, own = name.rpartition(".")
        first = tensor.detach()[tuple(slice(size) for size in shape[name])].clone()
        is_weight = isinstance(tensor, nn.Parameter)
        holder = module.get_submodule(path)
        setattr(holder, own, nn.Parameter(first, requires_grad=tensor.requires_grad) if is_weight else first)
    return module


def _refusal(reason: str) -> ScenarioError:
    return ScenarioError(
        f"task.model: it has no nested sub-models: {reason}; take mlp, cnn, cifar-cnn, lenet, or vgg11, cnn-bn or "
        "resnet18 with norm: batch or none"
    )


@dataclass
class _Walk:
    """A walk along the layers, in the order of computation."""

    units: dict[str, tuple[Units, ...]]
    layers: list[str]  # that multiply
    norms: list[str]

    def __post_init__(self) -> None:
        self.layer_before: dict[str, str] = {}  # of each norm

    def through(self, path: str, part: nn.Module, units: Units) -> Units:
        """The units that leave a part which these have entered."""
        if type(part) is nn.Sequential:
            for name, child in part.named_children():
                units = self.through(f"{path}.{name}".lstrip("."), child, units)
            return units
        if type(part) is Block:
            inner = units
            for name in ("conv1", "norm1", "relu1", "conv2", "norm2"):
                inner = self.through(f"{path}.{name}", part.get_submodule(name), inner)
            self.through(f"{path}.shortcut", part.shortcut, units)
            return inner
        if isinstance(part, _STAY):
            return units
        if type(part) is nn.BatchNorm2d or type(part) is nn.BatchNorm1d:
            return self._norm(path, part, units)
        return self._layer(path, part, units)

    def _norm(self, path: str, part: nn.Module, units: Units) -> Units:
        if units is None:
            raise _refusal(f"'{path}' normalises the input")
        self.norms.append(path)
        self.layer_before[path] = self.layers[-1]
        for name in (*dict(part.named_parameters()), "running_mean", "running_var"):
            self.units[f"{path}.{name}"] = (units,)
        return units

    def _layer(self, path: str, part: nn.Module, units: Units) -> Units:
        is_plain = type(part) is nn.Linear or (type(part) is nn.Conv2d and part.groups == 1)
        if not is_plain or not isinstance(part.weight, Tensor) or part.weight.shape[1] % (units or 1):
            why = ", which mixes present channels with absent ones" if isinstance(part, nn.GroupNorm) else ""
            raise _refusal(f"'{path}' is a {type(part).__name__}{why}")
        out, *rest = part.weight.shape
        self.layers.append(path)
        self.units[f"{path}.weight"] = (out, units, *[None] * (len(rest) - 1))
        if part.bias is not None:
            self.units[f"{path}.bias"] = (out,)
        return out
