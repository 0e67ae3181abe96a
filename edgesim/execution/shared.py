"""Memory that processes share and that has no name: it is gone with the last process that has it, however that ends."""

import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from torch import Tensor

from edgesim.execution.transport import Memory, Plan, pack, unpack

_SMALL = 1 << 16  # bytes: up to here a message is cheaper than a mapping
_SHELF = 1 << 26  # bytes on a shelf


@dataclass
class Room:
    """Memory for a parcel. Attributes: file, by which others have it, too; None of a small one, which is sent as it
    is; place, on a shelf, or -1; is_known, whether the other end has the place."""

    memory: Memory
    file: int | None
    place: int = -1
    is_known: bool = False

    def close(self) -> None:
        """Let go of it here."""
        if self.file is not None:
            os.close(self.file)
            self.file = None


class Shelf:
    """Rooms that parcels of one wire lie in again and again: to get new memory takes many times as long as to write
    it."""

    def __init__(self) -> None:
        self._rooms: list[Room] = []
        self._taken = 0

    def clear(self) -> None:
        """The other end has read all that was sent."""
        self._taken = 0

    def room(self, size: int) -> Room:
        """One for so many bytes; not on the shelf if that is full, or if it is small."""
        place = self._taken
        if place < len(self._rooms) and len(self._rooms[place].memory) >= size:
            self._taken += 1
            return self._rooms[place]
        others = sum(len(room.memory) for room in self._rooms[:place] + self._rooms[place + 1 :])
        made = _room(size)
        if made.file is None or others + size > _SHELF:
            return made
        made.place = place
        for outgrown in self._rooms[place : place + 1]:
            outgrown.close()
        self._rooms[place : place + 1] = [made]
        self._taken += 1
        return made


class Parcel:
    """Values in one stretch of memory: the tensors that several share, each value's own, and how to read them."""

    def __init__(self, values: Sequence[Any], shelf: Shelf | None = None) -> None:
        packed = pack(values)
        starts, at = [], packed.shared.size
        for block in packed.own:
            starts.append(at)
            at += block.size
        plans = [block.plan for block in packed.own]
        text = pickle.dumps((packed.texts, packed.shared.plan, plans, starts), pickle.HIGHEST_PROTOCOL)
        self._head, size = at, at + len(text)
        self._room = _room(size) if shelf is None else shelf.room(size)
        memory = self._room.memory
        packed.shared.write(memory)
        for block, start in zip(packed.own, starts, strict=True):
            block.write(memory, start)
        memory[at:size] = text

    def values(self) -> "Values":
        """As the receiver will see them."""
        return Values(self._room.memory, self._head)

    def send(self, wire: Connection) -> None:
        """Hand the memory itself to the process at the other end, not a copy of it. Raises OSError: it is gone."""
        room = self._room
        small = room.memory if room.file is None else None
        wire.send((self._head, len(room.memory), small, room.place, room.is_known))
        if room.file is not None and not room.is_known:
            reduction.send_handle(wire, room.file, 0)  # no process number is needed on Unix
            room.is_known = room.place >= 0

    def close(self) -> None:
        """Let go of the memory here, unless it is on a shelf."""
        if self._room.place < 0:
            self._room.close()


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


def receive(wire: Connection, shelf: dict[int, mmap.mmap] | None = None) -> Values:
    """Wait for a parcel; `shelf`, the rooms of the other end's, which are noted there. Raises EOFError or OSError: the
    other process is gone."""
    head, size, small, place, is_known = wire.recv()
    if small is not None:
        return Values(small, head)
    if shelf is None or place < 0:
        return Values(_mapped(reduction.recv_handle(wire), size), head)
    if not is_known:
        shelf[place] = _mapped(reduction.recv_handle(wire), size)
    return Values(shelf[place], head)


def _room(size: int) -> Room:
    if size <= _SMALL:
        return Room(bytearray(size), None)
    file = _nameless()
    os.ftruncate(file, size)
    return Room(mmap.mmap(file, size), file)


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
