"""Slots: which stretches of a file may be written, while checkpoints refer to others.

A slot that the last two checkpoints may refer to is never written again, so that a run killed at any instant,
even while it saves a checkpoint, finds what the checkpoint in force stands on. What was written since then
lies in slots that this checkpoint calls free, or beyond its end of the file.
"""

from typing import Any


class Slots:
    """Stretches of a file, reused by size. Attributes: end, of the last slot."""

    def __init__(self) -> None:
        self.end = 0
        self._free: dict[int, list[int]] = {}  # size in bytes → offsets
        self._new: set[int] = set()  # offsets taken since the last checkpoint: none refers to them
        self._left: list[tuple[int, int]] = []  # (size, offset) given back since then: that one refers to them
        self._before: list[tuple[int, int]] = []  # given back between the last two: only the older one does

    def take(self, size: int) -> int:
        """The offset of a slot of so many bytes that may be written."""
        if self._free.get(size):
            offset = self._free[size].pop()
        else:
            offset, self.end = self.end, self.end + size
        self._new.add(offset)
        return offset

    def give_back(self, size: int, offset: int) -> None:
        """A slot is not needed any more."""
        if offset in self._new:
            self._new.remove(offset)
            self._free.setdefault(size, []).append(offset)
        else:
            self._left.append((size, offset))

    def state(self) -> dict[str, Any]:
        """What `restored` needs, as plain data: for a checkpoint that is saved before the next one is taken."""
        for size, offset in self._before:
            self._free.setdefault(size, []).append(offset)
        self._before, self._left = self._left, []
        self._new.clear()
        free = [(size, offset) for size, offsets in self._free.items() for offset in offsets]
        return {"end": self.end, "free": free + self._before}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Slots":
        """The slots as they were when `state` was taken."""
        slots = cls()
        slots.end = state["end"]
        for size, offset in state["free"]:
            slots._free.setdefault(size, []).append(offset)
        return slots
