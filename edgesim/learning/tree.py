"""Trees of tensors: parameters, and named groups of parameters (states).

A `Params` holds one tensor per model parameter, in the model's order; a `State` groups several of
them under names ("params", "mask", …). Everything that trains carries a leading client axis:
tensors of shape [client, *shape]. Trees are values: functions return new ones and change none.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Params: TypeAlias = dict[str, Tensor]
State: TypeAlias = dict[str, Params]
Shape: TypeAlias = tuple[int, ...]


def apply(f: Callable[..., Tensor], *trees: Params) -> Params:
    """`f` of the tensors that share a name; the first tree says which names there are."""
    first, *others = trees
    return {name: f(tensor, *(other[name] for other in others)) for name, tensor in first.items()}


def add(a: Params, b: Params) -> Params:
    return apply(torch.add, a, b)


def subtract(a: Params, b: Params) -> Params:
    return apply(torch.sub, a, b)


def scale(factor: float | Tensor, tree: Params) -> Params:
    """`factor` × tree; a factor of shape [client] gives each client its own."""
    return {name: broadcast(factor, tensor) * tensor for name, tensor in tree.items()}


def broadcast(factor: float | Tensor, tensor: Tensor) -> float | Tensor:
    """Shape a per-client factor [client] so that it multiplies a tensor [client, *shape]."""
    return per_client(factor, tensor) if isinstance(factor, Tensor) else factor


def per_client(values: Tensor, tensor: Tensor) -> Tensor:
    """One value a client, [client], shaped to go with a tensor [client, *shape]."""
    return values.view(-1, *[1] * (tensor.dim() - 1))


def vectors(tensor: Tensor) -> Tensor:
    """[client, *shape] as a vector a client, [client, value]; a number is a vector of one."""
    return tensor.flatten(1) if tensor.dim() > 1 else tensor.unsqueeze(1)


def where(chosen: Tensor, a: Params, b: Params) -> Params:
    """`a` for the chosen clients, bool [client], `b` for the others."""
    return apply(lambda x, y: torch.where(per_client(chosen, x), x, y), a, b)


def revisions(*states: State) -> list[int]:
    """How often each tensor has been changed in place, by torch's count."""
    return [tensor._version for state in states for params in state.values() for tensor in params.values()]


def inner(a: Params, b: Params) -> Tensor:
    """Σ a · b of each client, over the tensors of `a`: [client]."""
    return torch.stack([vectors(tensor * b[name]).sum(1) for name, tensor in a.items()]).sum(0)


def squared_norm(tree: Params) -> Tensor:
    """Sum of squares over everything but the client axis: [client]."""
    return inner(tree, tree)


def stack(states: Sequence[State]) -> State:
    """One state with a client axis; a tensor that all share (one object) is expanded, not copied."""
    return {group: stack_params([state.get(group, {}) for state in states]) for group in states[0]}


def stack_params(trees: Sequence[Params]) -> Params:
    """`stack` of one group."""
    first = trees[0]
    if all(tree is first for tree in trees):
        return {name: tensor.expand(len(trees), *tensor.shape) for name, tensor in first.items()}
    return {name: _stack([tree[name] for tree in trees]) for name in first}


def _stack(tensors: list[Tensor]) -> Tensor:
    first = tensors[0]
    if all(tensor is first for tensor in tensors):
        return first.expand(len(tensors), *first.shape)
    return torch.stack(tensors)


def row(state: State, i: int) -> State:
    """One client of a stacked state, as views."""
    return {group: {name: t[i] for name, t in params.items()} for group, params in state.items()}


def take(state: State, rows: Sequence[int]) -> State:
    """These clients of a stacked state, in this order; all of them in order are the state itself."""
    size = next((len(t) for params in state.values() for t in params.values()), 0)
    if list(rows) == list(range(size)):
        return state
    index = torch.tensor(rows)
    return {group: {name: t.index_select(0, index) for name, t in params.items()} for group, params in state.items()}


def rows(state: State, start: int, stop: int) -> State:
    """The clients from `start` up to `stop`, as views."""
    return {group: {name: t[start:stop] for name, t in params.items()} for group, params in state.items()}


def join(pieces: Sequence[State]) -> State:
    """Put pieces (as cut by `rows`, in order) together again."""
    if len(pieces) == 1:
        return pieces[0]
    return {
        group: {name: torch.cat([piece[group][name] for piece in pieces]) for name in params}
        for group, params in pieces[0].items()
    }
