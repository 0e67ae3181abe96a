"""Placement: where a task's data lie is where its clients are trained and tested.

Everything else stays in the host's memory: the simulation, the server's side of algorithms, the clients' states,
checkpoints. A cohort crosses over to the device as whole stacked tensors, and so do its results on their way back.
Device hooks see tensors of one device only; those that they make must be made there (`learner.device`).
"""

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from edgesim.learning.flat import Flat
from edgesim.learning.task import Task
from edgesim.learning.tree import Params, State

HOST: Final = torch.device("cpu")


def placed(task: Task, device: torch.device) -> Task:
    """The task with its data on the device; on the host it is the task itself."""
    return task if device == HOST else replace(task, x=task.x.to(device), y=task.y.to(device))


def moved(params: Params, device: torch.device) -> Params:
    """The same tensors on the device."""
    return {name: _moved(tensor, device) for name, tensor in params.items()}


class Crossing:
    """One cohort's way to its device and back.

    What comes back as it went is the tensor that went: neither copied nor another object, as on the host, where
    both ways do nothing.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # By the id of a tensor on the device: that tensor, which keeps its id from being another's, and the host's.
        self._went: dict[int, tuple[Tensor, Tensor]] = {}

    def there(self, state: State) -> State:
        """The state on the device."""
        if self._device == HOST:
            return state
        return {group: {name: self._sent(t) for name, t in params.items()} for group, params in state.items()}

    def back(self, state: State) -> State:
        """The state on the host."""
        if self._device == HOST:
            return state
        return {group: self._fetched_all(params) for group, params in state.items()}

    def _sent(self, tensor: Tensor) -> Tensor:
        over = _moved(tensor, self._device)
        self._went[id(over)] = (over, tensor)
        return over

    def _fetched_all(self, params: Params) -> Params:
        if isinstance(params, Flat):
            return Flat(_moved(params.whole, HOST), params.layout)
        return {name: self._fetched(tensor) for name, tensor in params.items()}

    def _fetched(self, tensor: Tensor) -> Tensor:
        _, before = self._went.get(id(tensor), (None, None))
        return _moved(tensor, HOST) if before is None else before


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """One copy; an axis that only repeats, as that of a model which a whole cohort is sent, is repeated there."""
    if tensor.device == device:
        return tensor
    once = tensor[tuple(slice(1) if step == 0 else slice(None) for step in tensor.stride())]
    return once.to(device).expand(tensor.shape)
