"""A pool of worker processes that train side by side: where cohorts do not pay (convolutions on a CPU).

Data and model are sent to each worker once. Orders travel in pieces that are cut by their place in the list,
and results come back in its order, so the number of workers changes nothing but the time.
"""

import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray

from edgesim import references
from edgesim.errors import RunError
from edgesim.execution import workers
from edgesim.execution.backend import BackendName, InProcess
from edgesim.learning.kernels import Kernel
from edgesim.learning.local import Order, Trained
from edgesim.learning.tree import State

Packed: TypeAlias = tuple[Any, ...]
_PIECES_A_WORKER = 3  # small enough that nobody waits long for the last piece


class Pool:
    """The same work as `InProcess`, spread over worker processes; they start with the first order."""

    def __init__(self, inner: InProcess, count: int) -> None:
        self._inner, self._count = inner, count
        self._executor: ProcessPoolExecutor | None = None

    @property
    def name(self) -> BackendName:
        return self._inner.name

    @property
    def kernel(self) -> Kernel:
        return self._inner.kernel

    def train(self, orders: Sequence[Order]) -> list[Trained]:
        """The results, in the order of the orders.

        Raises:
            RunError: a worker died.
        """
        if len(orders) <= self._inner.cohort:
            return self._inner.train(orders)
        try:
            with workers.starting():
                trained = self._start().map(_train, map(_packed, self._pieces(orders)))
            return [Trained(*_unpacked(result)) for piece in trained for result in piece]
        except BrokenProcessPool:
            raise RunError("a worker process died while it trained (killed, or out of memory?)") from None

    def close(self) -> None:
        """End the workers."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _pieces(self, orders: Sequence[Order]) -> list[list[Order]]:
        """Whole cohorts, so that each is the same as in one process."""
        cohort = self._inner.cohort
        cohorts = -(-len(orders) // cohort)
        size = max(1, cohorts // (self._count * _PIECES_A_WORKER)) * cohort
        return [list(orders[start : start + size]) for start in range(0, len(orders), size)]

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            task = self._inner.task
            for tensor in (task.x, task.y):
                tensor.share_memory_()  # type: ignore[no-untyped-call]
            bare = replace(self._inner, task=replace(task, x=torch.empty(0), y=torch.empty(0)))
            # A user's algorithm or model cannot be unpickled before its file has run there, so this comes as bytes.
            arguments = (references.files(), pickle.dumps(bare), task.x, task.y)
            self._executor = ProcessPoolExecutor(
                self._count, mp_context=workers.context, initializer=_begin, initargs=arguments
            )
        return self._executor


# ── in the worker ───────────────────────────────────────────────────────────────────────────────────────
_backend: list[InProcess] = []


def _begin(files: list[Path], bare: bytes, x: torch.Tensor, y: torch.Tensor) -> None:
    workers.begin()
    references.run_files(files)
    inner: InProcess = pickle.loads(bare)
    _backend.append(replace(inner, task=replace(inner.task, x=x, y=y)))


def _train(packed: list[Packed]) -> list[Packed]:
    return _packed(_backend[0].train([Order(*_unpacked(fields)) for fields in packed]))


# ── on the way ──────────────────────────────────────────────────────────────────────────────────────────
def _packed(pieces: Sequence[Order] | Sequence[Trained]) -> list[Packed]:
    """Orders or results with arrays for tensors: torch would send each tensor as an open file, of which a
    process has few. A tensor that several share (the model they are sent) stays one object, and travels once."""
    seen: dict[int, NDArray[Any]] = {}

    def array(tensor: torch.Tensor) -> NDArray[Any]:
        return seen.setdefault(id(tensor), tensor.numpy())

    def fields(piece: Order | Trained) -> Packed:
        values = tuple(piece) if isinstance(piece, Trained) else tuple(vars(piece).values())
        return tuple(
            {group: {name: array(t) for name, t in params.items()} for group, params in value.items()}
            if isinstance(value, dict)
            else value
            for value in values
        )

    return [fields(piece) for piece in pieces]


def _unpacked(packed: Packed) -> list[Any]:
    def state(value: dict[str, dict[str, NDArray[Any]]]) -> State:
        return {g: {name: torch.from_numpy(a) for name, a in arrays.items()} for g, arrays in value.items()}

    return [state(value) if isinstance(value, dict) else value for value in packed]
