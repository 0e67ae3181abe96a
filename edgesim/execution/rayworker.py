"""A worker of a Ray cluster: what is sent to it, and what it does."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgesim import references
from edgesim.execution.backend import InProcess
from edgesim.execution.process import prepare_process
from edgesim.execution.transport import Block, Plan, pack, unpack

Bytes: TypeAlias = NDArray[np.uint8]


class Letter(NamedTuple):
    """A value on its way. Attributes: text, its pickle; plan and memory, its own tensors."""

    text: bytes
    plan: Plan
    memory: Bytes


class Common(NamedTuple):
    """The tensors that several values of a batch share. Attributes: batch, its number."""

    batch: int
    plan: Plan
    memory: Bytes


def write(values: Sequence[Any], batch: int = 0) -> tuple[Common, list[Letter]]:
    """Letters for values."""
    packed = pack(values)
    own = [Letter(text, block.plan, _filled(block)) for text, block in zip(packed.texts, packed.own, strict=True)]
    return Common(batch, packed.shared.plan, _filled(packed.shared)), own


def read(letter: Letter, shared: dict[int, Tensor] | None = None) -> Any:
    """The value of a letter, in memory of its own: Ray's belongs to all, and cannot be written."""
    return unpack(letter.text, (shared or {}) | letter.plan.read(letter.memory.copy()))


def setup(backend: InProcess) -> list[Letter]:
    """What a worker must have before it can train."""
    return [write([value])[1][0] for value in (references.files(), backend)]


def versions() -> dict[str, str]:
    """What the numbers depend on."""
    return {name: version(name) for name in ("edgesim", "torch", "numpy")}


class Trainer:
    """The actor: holds data, model and algorithm, and the tensors that the orders of the last batch share."""

    def __init__(self) -> None:
        prepare_process()
        self._batch, self._shared = -1, dict[int, Tensor]()

    def begin(self, files: Letter, backend: Letter) -> dict[str, str]:
        """Take up work; its `versions`."""
        references.run_files(read(files))
        with warnings.catch_warnings():  # data stays in Ray's memory, which the workers of a machine share
            warnings.filterwarnings("ignore", message=".*buffer is not writable")
            self._backend: InProcess = unpack(backend.text, backend.plan.read(backend.memory))
        return versions()

    def train(self, common: Common, piece: Letter) -> Letter:
        """The results of a piece's orders."""
        if common.batch != self._batch:
            self._batch, self._shared = common.batch, common.plan.read(common.memory.copy())
        return write([self._backend.train(read(piece, self._shared))])[1][0]


def _filled(block: Block) -> Bytes:
    memory = np.zeros(block.size, np.uint8)
    block.write(memory)
    return memory
