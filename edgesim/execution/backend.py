"""Where training runs. A backend maps one pure function, the local update of a cohort, over orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, Protocol

from torch import nn

from edgesim.algorithms.contract import STEPS, Algorithm
from edgesim.execution import card
from edgesim.learning.kernels import Kernel, kernel
from edgesim.learning.layered import Layered
from edgesim.learning.local import ClientSide, Order, Result, local_update
from edgesim.learning.placement import placed
from edgesim.learning.statistics import statistics
from edgesim.learning.task import Task
from edgesim.learning.training import Training

BackendName = Literal["loop", "stacked"]
_ALONE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)  # layers that are slower stacked


class Backend(Protocol):
    """Trains orders. The result of an order depends on the order and the backend's kind, on nothing else."""

    @property
    def name(self) -> BackendName: ...

    @property
    def device(self) -> str:
        """Where cohorts are trained: cpu, or a card by torch's name."""
        ...

    @property
    def kernel(self) -> Kernel: ...

    @property
    def placed(self) -> Task:
        """The task with its data where this process computes."""
        ...

    def train(self, orders: Sequence[Order]) -> list[Result]:
        """The results, in the order of the orders."""
        ...

    def close(self) -> None:
        """Let go of processes."""
        ...


class Around:
    """The base of backends that train as another one does, but elsewhere or in company. Attributes: inner, that one."""

    def __init__(self, inner: "InProcess") -> None:
        self.inner = inner

    @property
    def name(self) -> BackendName:
        return self.inner.name

    @property
    def device(self) -> str:
        return self.inner.device

    @property
    def kernel(self) -> Kernel:
        return self.inner.kernel

    @property
    def placed(self) -> Task:
        return self.inner.placed


def choose(
    module: nn.Module, asked: Literal["auto", "loop", "stacked"], device: str = "cpu", *, random: bool = False
) -> BackendName:
    """The backend of a run: the one asked for; "auto" stacks all but batch norms, models that draw `random` numbers
    and, on a CPU, convolutions and texts.

    On a CPU a stacked cohort of dense models is several times as fast as one client at a time, and a stacked
    cohort of convolutions is slower: "stacked over loop" in benchmarks/README.md. A small transformer takes an
    eighth longer stacked (10 clients, batches of 10 of 80 characters); batch norm and dropout cannot be stacked: see
    kernels. vmap has no rule for recurrent layers. On a GPU the batches of one client are too small to keep it busy,
    and to start a kernel takes longer than to run it: what can be stacked is. That is expected, not measured:
    `benchmarks/gpu.py` will tell.
    """
    if asked != "auto":
        return asked
    alone = device == card.NONE and any(isinstance(part, _ALONE) for part in module.modules())
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    return "loop" if alone or recurrent or random or statistics(module) else "stacked"


def told(backend: Backend) -> str:
    """How training is computed, as results tell it: "stacked", "stacked on cuda"."""
    return backend.name if backend.device == card.NONE else f"{backend.name} on {backend.device}"


@dataclass(frozen=True)
class InProcess:
    """Trains in this process: cohorts of at most `cohort` orders, cut by their place in the list.

    The card is taken into use, and the data put there, when they are first needed: not where scenarios are only
    checked, nor in a process that lets others train.
    """

    name: BackendName
    algorithm: ClientSide
    task: Task
    training: Training
    kernel: Kernel
    seed: int
    cohort: int
    device: str = card.NONE

    def __reduce__(self) -> tuple[Any, ...]:
        # to another process without its kernel, which is made anew there: it holds what that could not unpickle
        make = partial(in_process, seed=self.seed, cohort=self.cohort, device=self.device)
        return make, (self.name, self.algorithm, self.task, self.training)

    @cached_property
    def is_plain(self) -> bool:
        """Whether clients train the same in any company, bit for bit: dense models by plain SGD (`Layered.sgd`), that
        is an algorithm with the device hooks of `Algorithm` itself and a training without momentum or clip; on the
        CPU."""
        kind = type(self.algorithm)
        plain = all(getattr(kind, hook, None) is getattr(Algorithm, hook) for hook in ("local_train", *STEPS))
        return plain and self.training.plain and self.device == card.NONE and isinstance(self.kernel, Layered)

    @cached_property
    def placed(self) -> Task:
        with card.enough_memory("the data", "device: cpu"):
            return placed(self.task, card.taken(self.device))

    def train(self, orders: Sequence[Order]) -> list[Result]:
        trained: list[Result] = []
        task = self.placed
        for start in range(0, len(orders), self.cohort):
            chunk = orders[start : start + self.cohort]
            fewer = f"cohort: {len(chunk) // 2}" if len(chunk) > 1 else "device: cpu"
            with card.enough_memory(f"the training of {len(chunk)} clients at once", fewer):
                trained += local_update(self.algorithm, task, self.training, self.kernel, self.seed, chunk)
        return trained

    def close(self) -> None:
        """There is nothing to let go of."""


def in_process(
    name: BackendName,
    algorithm: ClientSide,
    task: Task,
    training: Training,
    *,
    seed: int,
    cohort: int,
    device: str = card.NONE,
) -> InProcess:
    """The backend of that name; "loop" trains one client at a time."""
    chunk = 1 if name == "loop" else cohort
    by = kernel(task.model.module, name, random=task.model.random)
    return InProcess(name, algorithm, task, training, by, seed, chunk, device)
