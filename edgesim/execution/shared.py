"""Memory that processes share and that has no name: it is gone with the last process that has it, however that ends."""

import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from torch import Tensor

from edgesim.execution.transport import Memory, Plan, pack, unpack

_SMALL = 1 << 16  # bytes: up to here a message is cheaper than a mapping


class Parcel:
    """Values in one stretch of memory: the tensors that several share, each value's own, and how to read them."""

    def __init__(self, values: Sequence[Any]) -> None:
        packed = pack(values)
        starts, at = [], packed.shared.size
        for block in packed.own:
            starts.append(at)
            at += block.size
        plans = [block.plan for block in packed.own]
        text = pickle.dumps((packed.texts, packed.shared.plan, plans, starts), pickle.HIGHEST_PROTOCOL)
        self._head, self._size = at, at + len(text)
        self._file, self._memory = _memory(self._size)
        packed.shared.write(self._memory)
        for block, start in zip(packed.own, starts, strict=True):
            block.write(self._memory, start)
        self._memory[at:] = text

    def values(self) -> "Values":
        """As the receiver will see them."""
        return Values(self._memory, self._head)

    def send(self, wire: Connection) -> None:
        """Hand the memory itself to the process at the other end, not a copy of it. Raises OSError: it is gone."""
        wire.send((self._head, self._size, self._memory if self._file is None else None))
        if self._file is not None:
            reduction.send_handle(wire, self._file, 0)  # no process number is needed on Unix

    def close(self) -> None:
        """Let go of the memory here."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Values:
    """The values of a parcel; each is made when it is asked for, its tensors where they lie."""

    def __init__(self, memory: Memory, head: int) -> None:
        self._memory = memory
        self._texts, shared, self._plans, self._starts = pickle.loads(memoryview(memory)[head:])
        self._shared: dict[int, Tensor] = shared.read(memory)

    def __getitem__(self, number: int) -> Any:
        return unpack(self._texts[number], self._shared | self._own(number))

    def copy(self, number: int) -> Any:
        """The value in memory of its own."""
        tensors = self._shared | self._own(number)
        return unpack(self._texts[number], {n: tensor.clone() for n, tensor in tensors.items()})

    def _own(self, number: int) -> dict[int, Tensor]:
        plan: Plan = self._plans[number]
        return plan.read(self._memory, self._starts[number])


def receive(wire: Connection) -> Values:
    """Wait for a parcel. Raises EOFError or OSError: the other process is gone."""
    head, size, small = wire.recv()
    return Values(_mapped(reduction.recv_handle(wire), size) if small is None else small, head)


def _memory(size: int) -> tuple[int | None, Memory]:
    """Memory of that size, and its file; a small one has none."""
    if size <= _SMALL:
        return None, bytearray(size)
    file = _nameless()
    os.ftruncate(file, size)
    return file, mmap.mmap(file, size)


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("edgesim")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _mapped(file: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(file, size)
    finally:
        os.close(file)
