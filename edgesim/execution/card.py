"""The card: a GPU that trains in a CPU's place. Whether it is there, and how it is to compute."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

import torch
from torch.utils import deterministic

from edgesim.errors import RunError, ScenarioError
from edgesim.learning.placement import HOST

NONE: Final = "cpu"
"""The device of runs that take no card."""
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def check(device: str) -> None:
    """Raise ScenarioError unless this machine has such a device: "cpu", "cuda" or "cuda:N"."""
    if device == NONE:
        return
    if not torch.cuda.is_available():
        built = torch.version.cuda
        found = "torch finds no GPU" if built else f"torch {torch.__version__} was built for CPUs alone"
        do = "look for its driver with nvidia-smi" if built else "install torch with CUDA"
        raise ScenarioError(f"execution.device: got {device}, but {found}; write device: cpu, or {do}")
    number, count = torch.device(device).index or 0, torch.cuda.device_count()
    if number >= count:
        names = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
        raise ScenarioError(f"execution.device: got {device}, but there is only {names}; write one of these, or cpu")


@cache
def taken(device: str) -> torch.device:
    """The device, ready to compute the same again for the same scenario. Raises ScenarioError: it is not there."""
    if device == NONE:
        return HOST
    check(device)
    _repeatable()
    return torch.device(device)


@contextmanager
def enough_memory(what: str, instead: str) -> Iterator[None]:
    """Raises RunError where `what` takes more memory than the card has left, with what to write `instead`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        said = str(error).partition(". ")[0]
        raise RunError(f"the GPU has too little memory for {what} ({said}); write execution.{instead}") from error


def _repeatable() -> None:
    """The same sums in the same order, in single precision, from run to run on one kind of card."""
    # cuBLAS adds in any order unless its workspace is of a fixed size; it looks when it is first used.
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    # Sums by atomic additions differ from run to run. Where torch has no other way it warns, once, and goes on:
    # a model of one's own may have such a layer, and digits that differ are better than no run.
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # That also fills all new memory, to show up who reads it before it is written: one more kernel a tensor.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Convolutions: what is tried first, and so may be chosen, depends on the machine's load.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    # TF32 keeps 10 bits of a product's factors: convolutions take it unless told not to, and leave a CPU's results.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
