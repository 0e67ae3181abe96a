"""Transport: values on their way to another process, with their tensors in flat blocks of memory beside them.

A value is pickled with a number in the place of each tensor, so that it may be anything that holds tensors; a
tensor that several values share (the model that a cohort is sent) is written once and stays one object.
"""

import io
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from edgesim.learning.flat import Flat

_ALIGNMENT = 64  # bytes: a tensor begins at a multiple, as torch's own do

Memory: TypeAlias = Any
"""What has a buffer that can be written: a bytearray, an mmap, a numpy array."""


@dataclass(frozen=True)
class Block:
    """Tensors to be laid out in memory one after the other, by the numbers that they have in the values."""

    tensors: Mapping[int, Tensor]

    @property
    def size(self) -> int:
        """Bytes that the block takes."""
        return sum(_padded(tensor.dtype, tensor.shape) for tensor in self.tensors.values())

    @property
    def plan(self) -> "Plan":
        """Where each tensor will lie."""
        places, at = {}, 0
        for number, tensor in self.tensors.items():
            places[number] = (at, tensor.dtype, tuple(tensor.shape), _strides(tensor))
            at += _padded(tensor.dtype, tensor.shape)
        return Plan(places)

    def write(self, memory: Memory, start: int = 0) -> None:
        """Copy the tensors into `memory` from there on."""
        for number, tensor in self.plan.read(memory, start).items():
            tensor.copy_(self.tensors[number])


@dataclass(frozen=True)
class Plan:
    """Offset, type, shape and strides of each tensor of a block."""

    places: Mapping[int, tuple[int, torch.dtype, tuple[int, ...], tuple[int, ...]]]

    def read(self, memory: Memory, start: int = 0) -> dict[int, Tensor]:
        """The tensors where they lie: they keep the memory alive."""
        return {
            number: _tensor(memory, start + at, dtype, shape, strides)
            for number, (at, dtype, shape, strides) in self.places.items()
        }


@dataclass(frozen=True)
class Packed:
    """Values on their way. Attributes: texts, each value's pickle; shared, the tensors that stand in several;
    own, those of one value alone."""

    texts: list[bytes]
    shared: Block
    own: list[Block]


def pack(values: Sequence[Any]) -> Packed:
    """The values; their tensors are not copied yet."""
    tensors: list[Tensor] = []
    numbers: dict[int, int] = {}
    packed = [_text(value, tensors, numbers) for value in values]
    uses = Counter(number for _, used in packed for number in used)
    return Packed(
        texts=[text for text, _ in packed],
        shared=Block({number: tensors[number] for number, count in uses.items() if count > 1}),
        own=[Block({number: tensors[number] for number in used if uses[number] == 1}) for _, used in packed],
    )


def unpack(text: bytes, tensors: Mapping[int, Tensor]) -> Any:
    """The value of a text, with these tensors in it."""
    return _Reader(text, tensors).load()


def _text(value: Any, tensors: list[Tensor], numbers: dict[int, int]) -> tuple[bytes, list[int]]:
    """A value's pickle and the numbers of its tensors; new ones are put on the list."""
    file = io.BytesIO()
    writer = _Writer(file, tensors, numbers)
    writer.dump(value)
    return file.getvalue(), list(writer.used)


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, tensors: list[Tensor], numbers: dict[int, int]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._tensors, self._numbers = tensors, numbers
        self.used: dict[int, None] = {}

    def persistent_id(self, value: Any) -> int | None:
        # A model's Parameters, and tensors without numbers (on `meta`), are torch's to pickle.
        if type(value) is not Tensor or value.is_meta:
            return None
        number = self._numbers.setdefault(id(value), len(self._tensors))
        if number == len(self._tensors):
            self._tensors.append(value)  # kept, so that no other tensor gets its id
        self.used[number] = None
        return number

    def reducer_override(self, value: Any) -> Any:
        # one tensor instead of all its views, on the way and for who gathers what has come
        return (Flat, (value.whole, value.layout)) if type(value) is Flat else NotImplemented


class _Reader(pickle.Unpickler):
    def __init__(self, text: bytes, tensors: Mapping[int, Tensor]) -> None:
        super().__init__(io.BytesIO(text))
        self._tensors = tensors

    def persistent_load(self, number: int) -> Tensor:
        return self._tensors[number]


def _tensor(memory: Memory, at: int, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    count = torch.Size(shape).numel()
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=at).as_strided(shape, strides)


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Those of a copy: kernels may round otherwise where weights lie in another order."""
    return tensor.stride() if tensor.is_contiguous() else torch.empty_like(tensor, device="meta").stride()


def _padded(dtype: torch.dtype, shape: Sequence[int]) -> int:
    size = torch.Size(shape).numel() * dtype.itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT
