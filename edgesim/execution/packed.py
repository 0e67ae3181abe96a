"""Packed: a client's state in one stretch of memory of its own, byte for byte as it lies on disk.

A large one is a mapping by itself and holds no tensor: what thousands of tensors keep on the heap lies between
the large pieces that training takes and gives back, so that these could never be used again for others like them;
that took as much memory again as the states.
"""

import mmap
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from edgesim.learning.tree import State

_ALIGNMENT = 64  # bytes: a tensor begins at a multiple, as torch's own do
_LARGE = 1 << 18  # bytes: from here on a mapping pays
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS

Layout: TypeAlias = tuple[tuple[str, str, torch.dtype, tuple[int, ...]], ...]
"""Group, name, type and shape of each tensor, in the order in which they lie."""


class Packed(NamedTuple):
    """Attributes: layout, of its tensors; raw, the memory."""

    layout: Layout
    raw: bytearray | mmap.mmap

    def state(self) -> State:
        """The tensors, where they lie."""
        state: State = {}
        at = 0
        for group, name, dtype, shape in self.layout:
            state.setdefault(group, {})[name] = self._tensor(at, dtype, shape)
            at += _padded(dtype, shape)
        return state

    def _tensor(self, at: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        count = torch.Size(shape).numel()
        if not count:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self.raw, dtype=dtype, count=count, offset=at).view(shape)


def pack(state: State) -> Packed:
    """A copy of a state: the rows of a cohort would keep it alive until the last is gone."""
    packed = blank(tuple((g, n, t.dtype, tuple(t.shape)) for g, params in state.items() for n, t in params.items()))
    for group, params in packed.state().items():
        for name, tensor in params.items():
            tensor.copy_(state[group][name])
    return packed


def blank(layout: Layout) -> Packed:
    """A state of zeros, to be read or copied into."""
    size = length(layout)
    return Packed(layout, mmap.mmap(-1, size, _FLAGS) if size >= _LARGE else bytearray(size))


def length(layout: Layout) -> int:
    """Bytes that a state of this layout takes."""
    return sum(_padded(dtype, shape) for _, _, dtype, shape in layout)


def _padded(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    size = torch.Size(shape).numel() * dtype.itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT
