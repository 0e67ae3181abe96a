"""Models: a network, its input and its classes, with a seeded start.

A factory is called as `factory(input_shape, classes, **params)`; its further arguments are the YAML keys. For
texts the input is [length] tokens, which are numbered as the classes are.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from math import prod
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import Doc

from edgesim import references
from edgesim.errors import ScenarioError
from edgesim.learning import statistics as parts
from edgesim.learning.blocks import Size, classifier, named
from edgesim.learning.convnets import cifar_cnn, cnn, cnn_bn, lenet, vgg11
from edgesim.learning.resnet import resnet18
from edgesim.learning.transformer import transformer
from edgesim.learning.tree import Shape
from edgesim.spelling import advice
from edgesim.streams import key

Factory: TypeAlias = Callable[..., nn.Module]


def mlp(
    input_shape: Shape,
    classes: int,
    *,
    hidden: Annotated[Sequence[Size], Doc("units of each hidden layer")] = (64,),
) -> nn.Module:
    """Fully connected layers with ReLU between them, on the flattened input."""
    return named(classifier([prod(input_shape), *hidden, classes]))


MODELS: dict[str, Factory] = {
    "mlp": mlp,
    "cnn": cnn,
    "cifar-cnn": cifar_cnn,
    "cnn-bn": cnn_bn,
    "lenet": lenet,
    "vgg11": vgg11,
    "resnet18": resnet18,
    "transformer": transformer,
}
_OF_TOKENS = frozenset({"transformer"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network without weights, and how to start it.

    Attributes: module, a template on the meta device (for `torch.func.functional_call`; it holds no
    values); build, makes a new module on the CPU; input_shape, of one sample; classes, how many; tokens,
    whether samples are int64 tokens 0 … classes − 1 instead of float32 numbers; random, whether it draws random
    numbers when it trains, as dropout does.
    """

    module: nn.Module
    build: Callable[[], nn.Module]
    input_shape: Shape
    classes: int
    tokens: bool = False
    random: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # to another process by its factory: that can be found there, a class within a function cannot
        return _made, (self.build, self.input_shape, self.classes, self.tokens, self.random)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter and of every running statistic, in module order."""
        return {name: tuple(tensor.shape) for name, tensor in parts.tensors(self.module).items()}

    @cached_property
    def statistics(self) -> frozenset[str]:
        """Names of the batch norms' running means and variances: they follow the data, and no gradient.

        What a kernel calls their gradient is their decrease, to be subtracted whole: without learning rate,
        momentum, weight decay or clipping.
        """
        return parts.statistics(self.module)

    @cached_property
    def normalisation(self) -> frozenset[str]:
        """Names of all tensors of norm layers, statistics included."""
        return parts.normalisation(self.module)

    def zeros(self, samples: int, device: str = "cpu") -> Tensor:
        """So many empty samples, [samples, *input_shape]."""
        return _zeros(samples, self.input_shape, self.tokens, device)

    def init(self, seed: int) -> dict[str, Tensor]:
        """Fresh parameters, a pure function of the seed; torch's global generator is left as it was.

        A value: who asks again, as every client may that starts from the same model, gets the same tensors.
        """
        return _start(self, seed)


def make_model(
    name: str,
    params: Mapping[str, object],
    *,
    input_shape: Shape,
    classes: int,
    folder: Path,
    tokens: bool = False,
) -> Model:
    """The model called `name`: one of MODELS, or a reference to a user's factory (see references.resolve).

    Raises ScenarioError when the name is unknown, the factory refuses its arguments, or the module cannot be
    trained here: buffers other than batch norms' running statistics, parameters other than float32, an output that
    is not [batch, classes] or is drawn at random in use, a built-in model of numbers for texts or the other way round.
    """
    if name in MODELS and tokens != (name in _OF_TOKENS):
        has, wants = ("texts", "numbers") if tokens else ("numbers", "texts")
        fitting = [other for other in MODELS if (other in _OF_TOKENS) == tokens]
        raise ScenarioError(f"model {name} wants {wants}, and the data are {has}: use model {' or '.join(fitting)}")
    build = partial(_factory(name, folder), input_shape, classes, **params)
    try:
        module = _seeded(build, 0)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ScenarioError(
            f"model {name}: the factory failed for input {list(input_shape)}, {classes} classes "
            f"and {dict(params)}: {error}"
        ) from error
    with torch.random.fork_rng(devices=[]):
        random = _check(module, name, classes, partial(_zeros, shape=input_shape, tokens=tokens))
    return _of(module, build, input_shape, classes, tokens, random)


def _made(build: Callable[[], nn.Module], input_shape: Shape, classes: int, tokens: bool, random: bool) -> Model:
    module = _seeded(build, 0)
    parts.forget_counts(module)
    return _of(module, build, input_shape, classes, tokens, random)


def _of(
    module: nn.Module, build: Callable[[], nn.Module], input_shape: Shape, classes: int, tokens: bool, random: bool
) -> Model:
    # not module.to("meta"): that parts weights which are one
    values = (*module.parameters(), *module.buffers())
    empty = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in values}
    for parameter in module.parameters():
        empty[id(parameter)] = nn.Parameter(empty[id(parameter)], requires_grad=False)
    template = copy.deepcopy(module, empty)
    return Model(module=template, build=build, input_shape=input_shape, classes=classes, tokens=tokens, random=random)


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


@lru_cache(maxsize=4)
def _start(model: Model, seed: int) -> dict[str, Tensor]:
    module = _seeded(model.build, key(seed, "model"))
    return {name: tensor.detach().clone() for name, tensor in parts.tensors(module).items()}


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _zeros(samples: int, shape: Shape, tokens: bool, device: str = "cpu") -> Tensor:
    return torch.zeros(samples, *shape, dtype=torch.int64 if tokens else torch.float32, device=device)


def _check(module: object, name: str, classes: int, zeros: Callable[[int], Tensor]) -> bool:
    """Whether the model draws random numbers when it trains; raises ScenarioError where it cannot."""
    if not isinstance(module, nn.Module):
        raise ScenarioError(f"model {name}: the factory gave a {type(module).__name__}, not a torch.nn.Module")
    parts.forget_counts(module)
    if reason := parts.unsupported(module):
        raise ScenarioError(f"model {name}: {reason}")
    if not any(True for _ in module.parameters()):
        raise ScenarioError(f"model {name}: it has no parameters, so there is nothing to train")
    random = False
    for samples in (2, 1):  # the last batch of an epoch may hold a single sample, which some norms cannot take
        x = zeros(samples)
        before = torch.get_rng_state()
        try:
            with torch.no_grad():
                shape = list(module.train()(x).shape)
                random |= not torch.equal(before, torch.get_rng_state())
                before = torch.get_rng_state()
                module.eval()(x)
        except Exception as error:
            hint = "; a client's last batch may hold one sample: use group norm, or larger images" * (samples == 1)
            raise ScenarioError(f"model {name}: it fails on input {list(x.shape)}: {error}{hint}") from error
        if shape != [samples, classes]:
            raise ScenarioError(
                f"model {name}: its output for {samples} samples is {shape}; [{samples}, {classes}] is wanted"
            )
        if not torch.equal(before, torch.get_rng_state()):
            raise ScenarioError(
                f"model {name}: what it predicts is drawn at random (in eval mode); use nn.Dropout, or "
                "F.dropout(x, p, self.training)"
            )
    module.train()
    return random
