"""Flat params: their values lie side by side in one tensor, so that what is done to all of them alike is one call."""

from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim.learning import tree
from edgesim.learning.tree import Params, Shape, State

_LINE = 16  # float32 of a cache line: each tensor begins with one, as a tensor by itself does


class Place(NamedTuple):
    """Where a tensor lies: from `start` on, row by row."""

    name: str
    shape: Shape
    strides: Shape
    start: int


class Layout(NamedTuple):
    """Attributes: places, of the tensors in their order; width, of all; gaps between them, which hold zeros."""

    places: tuple[Place, ...]
    width: int
    gaps: tuple[slice, ...]


class Flat(dict[str, Tensor]):
    """`Params` [*some, *shape] whose values are one tensor. Like all params they are a value: never change them.

    Often only `whole` is asked for; the tensors, its views, are made for the first who looks at one.

    Attributes: whole, [*some, value]; layout, of its last axis.
    """

    def __init__(self, whole: Tensor, layout: Layout) -> None:
        super().__init__()
        self.whole, self.layout = whole, layout

    def __missing__(self, name: str) -> Tensor:
        if super().__len__():
            raise KeyError(name)
        return self._filled()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.keys(self._filled()))

    def __len__(self) -> int:
        return len(self.layout.places)

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self._filled(), name)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return dict.keys(self._filled())

    def values(self) -> ValuesView[Tensor]:  # type: ignore[override]
        return dict.values(self._filled())

    def items(self) -> ItemsView[str, Tensor]:  # type: ignore[override]
        return dict.items(self._filled())

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self._filled(), name, default)

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._filled(), other)

    __hash__ = None

    def __reversed__(self) -> Iterator[str]:
        return dict.__reversed__(self._filled())

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("params are a value and cannot be changed: change a copy, dict(params)")

    __setitem__ = __delitem__ = __ior__ = pop = popitem = setdefault = update = clear = _refuse

    def __or__(self, other: Params) -> Params:  # type: ignore[override]
        return dict(self) | other

    def __ror__(self, other: Params) -> Params:  # type: ignore[override]
        return other | dict(self)

    def copy(self) -> Params:
        return dict(self)

    def __reduce__(self) -> tuple[type[dict[str, Tensor]], tuple[Params]]:
        return dict, (dict(self),)  # elsewhere nothing need be held twice

    def _filled(self) -> Self:
        if not super().__len__():
            some, steps, first = self.whole.shape[:-1], self.whole.stride()[:-1], self.whole.storage_offset()
            for name, shape, strides, start in self.layout.places:
                tensor = self.whole.as_strided((*some, *shape), (*steps, *strides), first + start)
                dict.__setitem__(self, name, tensor)
        return self


class Rows(NamedTuple):
    """Some of the clients of `params` [client, *shape], and their places among the clients of others."""

    params: Params
    rows: NDArray[np.int64]
    places: NDArray[np.int64]


def flat(params: Params, axes: int) -> Flat:
    """The same as flat params, themselves if they are; `axes` come before a parameter's own: 1, of clients, or none.
    There is at least one tensor, and all are of one type."""
    if isinstance(params, Flat):
        return params
    made = _blank(params, axes)
    for name, tensor in params.items():
        made[name].copy_(tensor)
    return made


def flattened(state: State) -> State:
    """A state with a client axis: groups whose tensors are of one type are flat, but for what all clients share."""
    return {group: flat(params, 1) if _is_own(params) else params for group, params in state.items()}


def stacked(states: Sequence[State]) -> State:
    """`tree.stack`, in one call where params are flat."""
    return {group: _stacked([state.get(group, {}) for state in states]) for group in states[0]}


def row(state: State, i: int) -> State:
    """`tree.row`; flat params stay so."""
    return {
        group: Flat(params.whole[i], params.layout) if isinstance(params, Flat) else tree.row({group: params}, i)[group]
        for group, params in state.items()
    }


def types(params: Params) -> set[torch.dtype]:
    """Those of its tensors."""
    return {params.whole.dtype} if isinstance(params, Flat) else {tensor.dtype for tensor in params.values()}


def alike(params: Params) -> bool:
    """Whether there are tensors, all of one type of real numbers."""
    found = types(params)
    return len(found) == 1 and found.pop().is_floating_point


def difference(after: Params, before: Params) -> Params:
    """after − before, [client, *shape]; flat, if all tensors are of one type."""
    if not alike(after):
        return {name: tensor - before[name] for name, tensor in after.items()}
    made = _blank(after, 1)
    for name, tensor in after.items():
        torch.sub(tensor, before[name], out=made[name])
    return made


def moved(params: Params, step: Params, scale: float) -> Params:
    """params + scale · step, [*shape]; flat, if the step is."""
    if isinstance(step, Flat):
        start = flat(params, 0)
        if start.layout == step.layout:
            return Flat(torch.add(start.whole, step.whole, alpha=scale), step.layout)
    return {name: torch.add(tensor, step[name], alpha=scale) for name, tensor in params.items()}


def gathered(pieces: Sequence[Rows], clients: int) -> Params:
    """So many clients from one or several params; flat, if all tensors are of one type."""
    first = pieces[0].params
    if isinstance(first, Flat) and (wholes := _wholes([piece.params for piece in pieces])):
        if len(pieces) == 1:
            return Flat(first.whole.index_select(0, torch.from_numpy(pieces[0].rows)), first.layout)
        whole = first.whole.new_empty(clients, first.layout.width)
        for (_, rows, places), source in zip(pieces, wholes, strict=True):
            _put(source, rows, whole, places)
        return Flat(whole, first.layout)
    if alike(first):
        made: Params = _blank(first, 1, clients)
    else:
        made = {name: tensor.new_empty(clients, *tensor.shape[1:]) for name, tensor in first.items()}
    for params, rows, places in pieces:
        for name, tensor in params.items():
            _put(tensor, rows, made[name], places)
    return made


def _is_own(params: Params) -> bool:
    """Whether the tensors are of one type, and not all of them the same for all clients."""
    if isinstance(params, Flat):
        return True
    return len(types(params)) == 1 and any(tensor.stride(0) for tensor in params.values())


def _stacked(params: Sequence[Params]) -> Params:
    first = params[0]
    if not isinstance(first, Flat) or all(one is first for one in params):
        return tree.stack_params(params)
    wholes = _wholes(params)
    return dict(Flat(torch.stack(wholes), first.layout)) if wholes else tree.stack_params(params)


def _wholes(params: Sequence[Params]) -> list[Tensor]:
    """Each one's values, if all are flat and of one layout; else none."""
    found = [one for one in params if isinstance(one, Flat)]
    same = len(found) == len(params) and all(one.layout == found[0].layout for one in found)
    return [one.whole for one in found] if same else []


def _blank(like: Params, axes: int, clients: int | None = None) -> Flat:
    """Flat params for such tensors, whose gaps are filled; of so many clients, or of as many."""
    if isinstance(like, Flat):
        layout = like.layout
    else:
        layout = layout_of(tuple((name, tuple(tensor.shape[axes:])) for name, tensor in like.items()))
    first = next(iter(like.values()))
    whole = first.new_empty(*(first.shape[:axes] if clients is None else (clients,)), layout.width)
    for gap in layout.gaps:
        whole[..., gap] = 0
    return Flat(whole, layout)


@lru_cache(maxsize=64)
def layout_of(tensors: tuple[tuple[str, Shape], ...]) -> Layout:
    """Of tensors of these names and shapes."""
    places, gaps, at = [], [], 0
    for name, shape in tensors:
        strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
        places.append(Place(name, shape, strides, at))
        end = at + prod(shape)
        at = -(-end // _LINE) * _LINE
        if at > end:
            gaps.append(slice(end, at))
    return Layout(tuple(places), at, tuple(gaps))


def _put(source: Tensor, rows: NDArray[np.int64], target: Tensor, places: NDArray[np.int64]) -> None:
    """Rows of the source to places of the target; in numpy, which takes a few in half of torch's time."""
    target.numpy()[places] = source.numpy()[rows]
