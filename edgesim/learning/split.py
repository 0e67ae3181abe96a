"""Split: which of a model's tensors are each client's own, and which are shared."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import MinLen
from torch import Tensor

from edgesim.errors import ScenarioError
from edgesim.learning.blocks import Adapter
from edgesim.learning.models import Model
from edgesim.learning.tree import Params
from edgesim.spelling import advice

Part: TypeAlias = Literal["head", "input", "norm", "adapters"] | tuple[Annotated[str, MinLen(1)], ...]
"""The last layer, the first, norm layers with their statistics, adapters; or layers and tensors by name."""


@lru_cache(maxsize=256)
def part(model: Model, which: Part) -> tuple[str, ...]:
    """The names of the tensors of a part of the model, in its order; for a list of names, those of that name or
    below it.

    Raises ScenarioError where the model has none such, with the names that it has.
    """
    if not isinstance(which, str):
        return _named(model, which)
    chosen = {"head": _head, "input": _input, "norm": _norms, "adapters": _adapters}[which](model)
    if not chosen:
        raise ScenarioError(
            f"the model has no {'norm layers' if which == 'norm' else which}; take a model with them (norm: batch, "
            f"adapters: 16), head, input, or names; {_listed(model)}"
        )
    return tuple(name for name in model.shapes if name in chosen)


@lru_cache(maxsize=64)
def start(model: Model, seed: int, names: tuple[str, ...]) -> Params:
    """These tensors of the model's start; one object, however many clients begin with it."""
    whole = model.init(seed)
    return {name: whole[name] for name in names}


def pick(params: Params, names: Iterable[str]) -> Params:
    """These tensors."""
    return {name: params[name] for name in names}


def layers(model: Model) -> tuple[str, ...]:
    """Names of the layers that have tensors, in the model's order."""
    return tuple(dict.fromkeys(_layer(name) for name in model.shapes))


def last(model: Model, count: int) -> tuple[str, ...]:
    """The names of the tensors of so many of the last layers."""
    kept = layers(model)[-count:]
    return tuple(name for name in model.shapes if _layer(name) in kept)


def features(model: Model, names: Iterable[str]) -> int | None:
    """Values a sample that the last layer starts from, if it is what these names are, and if they are the same each
    time; else None."""
    head = part(model, "head")
    weight = model.shapes[head[0]]
    is_linear = isinstance(model.module.get_submodule(_layer(head[0])), torch.nn.Linear) if "." in head[0] else False
    return weight[1] if is_linear and set(names) == set(head) and not model.random else None


def fresh(tensors: Params, start: Literal["zero", "normal"], uniform: Tensor) -> Params:
    """New values for tensors [client, *shape]: zeros, or normal ones made of numbers [client, 2·values] in [0, 1)."""
    if start == "zero":
        return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    radius, angle = (1 - uniform).chunk(2, 1)  # Box and Muller 1958
    normal = (-2 * radius.log()).sqrt() * torch.cos(2 * torch.pi * angle)
    sizes = [tensor[0].numel() for tensor in tensors.values()]
    pieces = torch.split(normal, sizes, 1)
    return {name: piece.view(tensor.shape) for (name, tensor), piece in zip(tensors.items(), pieces, strict=True)}


def _head(model: Model) -> set[str]:
    last = layers(model)[-1]
    return {name for name in model.shapes if _layer(name) == last}


def _input(model: Model) -> set[str]:
    return {name for name in model.shapes if _layer(name) == layers(model)[0]}


def _norms(model: Model) -> set[str]:
    return set(model.normalisation)


def _adapters(model: Model) -> set[str]:
    paths = [path for path, module in model.module.named_modules() if isinstance(module, Adapter)]
    return {name for name in model.shapes if any(name.startswith(f"{path}.") for path in paths)}


def _named(model: Model, wanted: tuple[str, ...]) -> tuple[str, ...]:
    chosen = set()
    for word in wanted:
        found = {name for name in model.shapes if name == word or name.startswith(f"{word}.")}
        if not found:
            raise ScenarioError(
                f"the model has no tensor or layer '{word}': {advice(word, layers(model))}; {_listed(model)}"
            )
        chosen |= found
    return tuple(name for name in model.shapes if name in chosen)


def _layer(name: str) -> str:
    """The layer of a tensor; a tensor of the model itself is one."""
    return name.rpartition(".")[0] or name


def _listed(model: Model) -> str:
    return f"its tensors are {', '.join(model.shapes)}"
