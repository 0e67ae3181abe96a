"""Untouched: what the hooks of somebody's own algorithm must leave as it was, or no run could be repeated or resumed:
the generators that all share, what is remembered outside the states, and the trees that a hook is given."""

import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Payload, is_ours

_PLAIN = (list, dict, set, int, float, str, Tensor)


def generators() -> dict[str, Any]:
    """The states of the generators that torch, numpy and Python share."""
    _, keys, *place = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (np.asarray(keys).tobytes(), *place),
        "random": random.getstate(),
    }


def memory(algorithm: Algorithm) -> dict[str, str]:
    """What an algorithm of the user's own could remember outside the states, in itself, its class or its file, as it is
    printed."""
    kind = type(algorithm)
    found = {
        f"{kind.__name__}.{name}": _printed(value)
        for name, value in getattr(algorithm, "__dict__", {}).items()
        if not isinstance(getattr(kind, name, None), cached_property)
    }
    for base in kind.__mro__:
        if is_ours(base):
            continue
        found |= {f"{kind.__name__}.{name}": text for name, text in _plain(vars(base))}
        for hook in vars(base).values():
            found |= dict(_plain(getattr(hook, "__globals__", {})))
    return found


def _plain(variables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in variables.items():
        if not name.startswith("__") and (isinstance(value, _PLAIN) or _state(value) is not None):
            yield name, _printed(value)


def _printed(value: object) -> str:
    state = _state(value)
    return repr(value if state is None else state)


def _state(value: object) -> object:
    """That of a generator; None of anything else."""
    match value:
        case np.random.Generator():
            return value.bit_generator.state
        case np.random.RandomState():
            return value.get_state()
        case torch.Generator():
            return value.get_state().tolist()
        case random.Random():
            return value.getstate()
    return None


def trees(given: object) -> dict[tuple[str, str, int], tuple[int, int]]:
    """Of each tensor in the states among what a hook is given, by group, name and state: which it is, and how often it
    was changed in place."""
    found: dict[tuple[str, str, int], tuple[int, int]] = {}
    for state in _states(given):
        for group, params in state.items():
            if isinstance(params, Mapping):
                for name, tensor in params.items():
                    if isinstance(tensor, Tensor):
                        found[group, name, id(state)] = id(tensor), tensor._version
    return found


def _states(given: object) -> Iterator[Mapping[str, Any]]:
    """The states among these, and those of clients, payloads and arrivals."""
    match given:
        case dict():
            yield given
        case Client() | Payload():
            yield given.state
        case Arrivals():
            yield from (given.update, *given.payloads)
        case list() | tuple():
            for one in given:
                yield from _states(one)
