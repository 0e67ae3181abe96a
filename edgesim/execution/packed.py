"""Packed: a client's state in one stretch of memory of its own, byte for byte as it lies on disk.

A large one is a mapping by itself and holds no tensor: what thousands of tensors keep on the heap lies between
the large pieces that training takes and gives back, so that these could never be used again for others like them;
that took as much memory again as the states.
"""

import mmap
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple, TypeAlias

import torch

from edgesim.learning import flat
from edgesim.learning.flat import Flat
from edgesim.learning.tree import Params, Shape, State

_ALIGNMENT = 64  # bytes: a part begins at a multiple, as torch's own tensors do
_LARGE = 1 << 18  # bytes: from here on a mapping pays
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class Part(NamedTuple):
    """Tensors of one group and one type that follow one another, as flat params."""

    group: str
    dtype: torch.dtype
    layout: flat.Layout

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return -(-self.layout.width * self.dtype.itemsize // _ALIGNMENT) * _ALIGNMENT


Layout: TypeAlias = tuple[Part, ...]
"""The parts in the order in which they lie; a group of tensors of one type is one."""

Plain: TypeAlias = list[tuple[str, torch.dtype, list[tuple[str, Shape]]]]
"""A layout as plain data: group and type of each part, names and shapes of its tensors."""


class Packed(NamedTuple):
    """Attributes: layout, of its tensors; raw, the memory."""

    layout: Layout
    raw: bytearray | mmap.mmap

    def state(self) -> State:
        """The tensors, where they lie."""
        state: State = {}
        for (group, _, _), params in self._parts():
            state[group] = {**state[group], **params} if group in state else params
        return state

    def _parts(self) -> Iterator[tuple[Part, Flat]]:
        at = 0
        for part in self.layout:
            _, dtype, layout = part
            if layout.width:
                whole = torch.frombuffer(self.raw, dtype=dtype, count=layout.width, offset=at)
            else:
                whole = torch.empty(0, dtype=dtype)
            yield part, Flat(whole, layout)
            at += part.size

    def write(self, state: State) -> None:
        """Copy a state of this layout here."""
        for (group, _, layout), there in self._parts():
            params = state[group]
            if isinstance(params, Flat) and params.layout == layout:
                there.whole.copy_(params.whole)
            else:
                for name, tensor in there.items():
                    tensor.copy_(params[name])


def pack(state: State) -> Packed:
    """A copy of a state: the rows of a cohort would keep it alive until the last is gone."""
    packed = blank(tuple(part for group, params in state.items() for part in _parts(group, params)))
    packed.write(state)
    return packed


def blank(layout: Layout) -> Packed:
    """A state of zeros, to be read or copied into."""
    size = length(layout)
    return Packed(layout, mmap.mmap(-1, size, _FLAGS) if size >= _LARGE else bytearray(size))


def length(layout: Layout) -> int:
    """Bytes that a state of this layout takes."""
    return sum(part.size for part in layout)


def plain(layout: Layout) -> Plain:
    """A layout as plain data."""
    return [(part.group, part.dtype, [(place.name, place.shape) for place in part.layout.places]) for part in layout]


def restored(layout: Plain) -> Layout:
    """The layout that was made plain."""
    return tuple(Part(group, dtype, flat.layout_of(tuple(tensors))) for group, dtype, tensors in layout)


def _parts(group: str, params: Params) -> Iterator[Part]:
    if isinstance(params, Flat):
        yield Part(group, params.whole.dtype, params.layout)
        return
    for dtype, run in groupby(params.items(), lambda item: item[1].dtype):
        yield Part(group, dtype, flat.layout_of(tuple((name, tuple(tensor.shape)) for name, tensor in run)))
