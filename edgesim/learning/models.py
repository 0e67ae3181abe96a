"""Models: a network, its input and its classes, with a seeded start. Built in: mlp and cnn.

A factory is called as `factory(input_shape, classes, **params)`; its further arguments are the YAML keys.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Annotated, TypeAlias

import torch
from annotated_types import Gt, Len
from torch import Tensor, nn
from typing_extensions import Doc

from edgesim import references
from edgesim.errors import ScenarioError
from edgesim.spelling import advice
from edgesim.streams import key

Shape: TypeAlias = tuple[int, ...]
Factory: TypeAlias = Callable[..., nn.Module]
Size: TypeAlias = Annotated[int, Gt(0)]


def mlp(
    input_shape: Shape,
    classes: int,
    *,
    hidden: Annotated[Sequence[Size], Doc("units of each hidden layer")] = (64,),
) -> nn.Module:
    """Fully connected layers with ReLU between them, on the flattened input."""
    widths = [prod(input_shape), *hidden, classes]
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number, (units_in, units_out) in enumerate(pairwise(widths), start=1):
        if number > 1:
            layers[f"relu{number - 1}"] = nn.ReLU()
        layers[f"fc{number}"] = nn.Linear(units_in, units_out)
    return nn.Sequential(OrderedDict(layers))


def cnn(
    input_shape: Shape,
    classes: int,
    *,
    channels: Annotated[Sequence[Size], Len(2, 2), Doc("channels of the two convolutions")] = (32, 64),
    hidden: Annotated[int, Gt(0), Doc("units of the fully connected layer")] = 128,
) -> nn.Module:
    """Two 5×5 convolutions, each with ReLU and 2×2 pooling, then two fully connected layers.

    The network of FEMNIST in LEAF (Caldas et al. 2018, arXiv:1812.01097; there hidden = 2048).
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < 4:
        raise ScenarioError(
            f"model cnn wants images [channel, height, width] of at least 4×4; the data has shape "
            f"{list(input_shape)}: use model mlp, or a data set of images"
        )
    depth, height, width = input_shape
    first, second = channels
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(depth, first, 5, padding=2),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(first, second, 5, padding=2),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(second * (height // 2 // 2) * (width // 2 // 2), hidden),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(hidden, classes),
    }
    return nn.Sequential(OrderedDict(layers))


MODELS: dict[str, Factory] = {"mlp": mlp, "cnn": cnn}


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network without weights, and how to start it.

    Attributes: module, a template on the meta device (for `torch.func.functional_call`; it holds no
    values); build, makes a new module on the CPU; input_shape, of one sample; classes, how many.
    """

    module: nn.Module
    build: Callable[[], nn.Module]
    input_shape: Shape
    classes: int

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter tensor, in module order."""
        return {name: tuple(tensor.shape) for name, tensor in self.module.named_parameters()}

    def init(self, seed: int) -> dict[str, Tensor]:
        """Fresh parameters, a pure function of the seed; torch's global generator is left as it was."""
        module = _seeded(self.build, key(seed, "model"))
        return {name: tensor.detach().clone() for name, tensor in module.named_parameters()}


def make_model(
    name: str,
    params: Mapping[str, object],
    *,
    input_shape: Shape,
    classes: int,
    folder: Path,
) -> Model:
    """The model called `name`: one of MODELS, or a reference to a user's factory (see references.resolve).

    Raises ScenarioError when the name is unknown, the factory refuses its arguments, or the module cannot be
    trained here: buffers, dropout, parameters other than float32, an output that is not [batch, classes].
    """
    build = partial(_factory(name, folder), input_shape, classes, **params)
    try:
        module = _seeded(build, 0)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ScenarioError(
            f"model {name}: the factory failed for input {list(input_shape)}, {classes} classes "
            f"and {dict(params)}: {error}"
        ) from error
    _check(module, name, input_shape, classes)
    template = module.to("meta").requires_grad_(False)
    return Model(module=template, build=build, input_shape=input_shape, classes=classes)


def _factory(name: str, folder: Path) -> Factory:
    if name in MODELS:
        return MODELS[name]
    if not references.is_reference(name):
        raise ScenarioError(
            f"model '{name}' is unknown: {advice(name, MODELS)}; your own is package.module:factory "
            "or ./file.py:factory"
        )
    factory = references.resolve(name, folder)
    if not callable(factory):
        raise ScenarioError(f"model '{name}' is a {type(factory).__name__}; a function that makes a module is wanted")
    return factory


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _check(module: object, name: str, input_shape: Shape, classes: int) -> None:
    if not isinstance(module, nn.Module):
        raise ScenarioError(f"model {name}: the factory gave a {type(module).__name__}, not a torch.nn.Module")
    for part, child in module.named_modules():
        if isinstance(child, nn.modules.dropout._DropoutNd):
            raise ScenarioError(f"model {name}: '{part}' is dropout, which is not supported yet; leave it out")
    for part, _ in module.named_buffers():
        raise ScenarioError(
            f"model {name}: '{part}' is a buffer (batch norm?), which is not supported yet; use GroupNorm"
        )
    kinds = {part: tensor.dtype for part, tensor in module.named_parameters()}
    if not kinds:
        raise ScenarioError(f"model {name}: it has no parameters, so there is nothing to train")
    for part, kind in kinds.items():
        if kind != torch.float32:
            raise ScenarioError(f"model {name}: parameter '{part}' is {kind}; torch.float32 is wanted")
    try:
        with torch.no_grad():
            shape = list(module(torch.zeros(2, *input_shape)).shape)
    except Exception as error:
        raise ScenarioError(f"model {name}: it fails on input [2, {_joined(input_shape)}]: {error}") from error
    if shape != [2, classes]:
        raise ScenarioError(f"model {name}: its output for 2 samples is {shape}; [2, {classes}] is wanted")


def _joined(shape: Shape) -> str:
    return ", ".join(map(str, shape))
