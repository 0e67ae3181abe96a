"""Client states within a budget of memory: those that have not been used for longest wait in a file."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from edgesim.errors import RunError
from edgesim.execution.packed import Layout, Packed, blank, length, pack, plain, restored
from edgesim.execution.slots import Slots
from edgesim.learning.tree import State

FILE = Path("checkpoint") / "clients.states"
_FIRST = 1 << 26  # bytes of first states


class FirstStates:
    """The states that clients begin with, made by `init`, a pure function of the client: some are kept, since every
    test of all models asks for those of all clients."""

    def __init__(self, init: Callable[[int], State]) -> None:
        self._init = init
        self._kept: dict[int, State] = {}
        self._bytes = 0

    def of(self, client: int) -> State:
        """That of one that has no state of its own yet."""
        if client in self._kept:
            return self._kept[client]
        state = self._init(client)
        size = sum(tensor.nbytes for params in state.values() for tensor in params.values())
        if size and self._bytes + size <= _FIRST:
            self._kept[client] = state
            self._bytes += size
        return state


class ClientStore:
    """A mapping client → state; a state comes back with the same bits, types and shapes.

    Without a `path` all states stay in memory. With one, what exceeds `memory_bytes` is spilled to it. A
    killed run that is restored finds the states of its checkpoint, whatever was spilled since (see Slots).

    Attributes: resident_bytes, memory that states take now.
    """

    def __init__(self, path: Path | None = None, memory_bytes: float = float("inf")) -> None:
        self._path, self._limit_bytes = path, memory_bytes if path else float("inf")
        self._resident: OrderedDict[int, Packed] = OrderedDict()  # the one used last comes last
        self.resident_bytes = 0
        self._spilled: dict[int, tuple[int, int]] = {}  # client → (offset, layout's number): this state on disk
        self._layouts: list[Layout] = []
        self._slots = Slots()

    def __contains__(self, client: int) -> bool:
        return client in self._resident or client in self._spilled

    def get(self, client: int) -> State:
        """The client's state; KeyError if it has none. Raises RunError where the file is damaged."""
        if client in self._resident:
            self._resident.move_to_end(client)
            return self._resident[client].state()
        offset, layout = self._spilled[client]
        packed = blank(self._layouts[layout])
        self._read(offset, packed)
        self._keep(client, packed)
        return packed.state()

    def put(self, client: int, state: State) -> None:
        """The client's new state. Raises RunError where there is no room on the disk."""
        if client in self._spilled:
            offset, layout = self._spilled.pop(client)
            self._slots.give_back(length(self._layouts[layout]), offset)
        if client in self._resident:
            self._let_go(client)
        self._keep(client, pack(state))

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain data, to be saved before the next one is taken.

        Once anything has been spilled the states themselves are in the file, so that only new ones are written.
        """
        if self._spilled:
            for client in self._resident:
                self._write(client)
            with self._open("rb") as file:
                os.fsync(file.fileno())
        return {
            "memory": {} if self._spilled else {client: packed.state() for client, packed in self._resident.items()},
            "spilled": dict(self._spilled),
            "layouts": [plain(layout) for layout in self._layouts],
            "slots": self._slots.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`; what was spilled after it is forgotten. Raises RunError where the file is gone."""
        self._spilled, self._layouts = dict(state["spilled"]), [restored(layout) for layout in state["layouts"]]
        self._slots = Slots.restored(state["slots"])
        if self._slots.end:
            self._cut(self._slots.end)
        self._resident.clear()
        self.resident_bytes = 0
        for client, kept in state["memory"].items():
            self._keep(client, pack(kept))

    def _keep(self, client: int, packed: Packed) -> None:
        self._resident[client] = packed
        self.resident_bytes += len(packed.raw)
        while self.resident_bytes > self._limit_bytes:
            oldest = next(iter(self._resident))
            self._write(oldest)
            self._let_go(oldest)

    def _let_go(self, client: int) -> None:
        self.resident_bytes -= len(self._resident.pop(client).raw)

    # ── the file ────────────────────────────────────────────────────────────────────────────────────────
    def _write(self, client: int) -> None:
        """Put a resident state into a slot, unless it lies in one."""
        if client in self._spilled:
            return
        packed = self._resident[client]
        if packed.layout not in self._layouts:
            self._layouts.append(packed.layout)
        with self._open("r+b" if self._slots.end else "w+b") as file:
            offset = self._slots.take(len(packed.raw))
            file.seek(offset)
            file.write(packed.raw)
        self._spilled[client] = (offset, self._layouts.index(packed.layout))

    def _read(self, offset: int, into: Packed) -> None:
        with self._open("rb") as file:
            file.seek(offset)
            if file.readinto(into.raw) != len(into.raw):  # type: ignore[attr-defined]
                raise RunError(f"{self._path}: cut short; the run must be started again")

    def _cut(self, end: int) -> None:
        with self._open("r+b") as file:
            if file.seek(0, os.SEEK_END) < end:
                raise RunError(f"{self._path}: cut short; the run must be started again")
            file.truncate(end)

    @contextmanager
    def _open(self, mode: str) -> Iterator[BinaryIO]:
        """The file, opened for one access, so that nothing stays open behind a run."""
        assert self._path is not None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode) as file:
                yield file  # type: ignore[misc]
        except OSError as error:
            raise RunError(f"{self._path}: the states of clients cannot be kept here: {error.strerror}") from error
