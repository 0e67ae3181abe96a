"""What algorithms are told: the context of a run, a client as the server knows it, and what is sent to it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgesim.algorithms.messages import dense_bytes
from edgesim.algorithms.rules import Average, ServerRule
from edgesim.errors import ScenarioError
from edgesim.learning.profile import ModelProfile
from edgesim.learning.task import Task
from edgesim.learning.training import Training
from edgesim.learning.tree import State


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """The schedule as an algorithm may know it: its kind, how many clients work at once, how many updates make an
    aggregation (at most), and whether updates may come late; where there are edges, of one of them."""

    kind: str = "sync"
    concurrency: int = 1
    updates: int = 1
    late: bool = True


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every server-side hook may read.

    Attributes: horizon, the aggregations the run stops at, if it says; memory_bytes, what each client's device can
    spare for training, int64 [client], or None where there are no devices; shrink_batch, whether a job that takes
    more trains with a smaller batch; rule, how updates become a step.
    """

    task: Task
    profile: ModelProfile
    training: Training
    seed: int
    horizon: int | None = None
    cadence: Cadence = Cadence()
    memory_bytes: NDArray[np.int64] | None = None
    shrink_batch: bool = False
    rule: ServerRule = field(default_factory=Average)

    @cached_property
    def dense_bytes(self) -> int:
        """Length on the wire of a message with every value of every parameter."""
        return dense_bytes(self.task.model.shapes)

    def scales_steps(self, why: str) -> None:
        """Raise ScenarioError where a longer gradient is no longer step, as under Adam; `why` it has to be."""
        if (name := self.training.optimizer) != "sgd":
            what = f"{why}, and steps of {name} are as long whatever a gradient is multiplied by"
            raise ScenarioError(f"training.optimizer: {what}; write optimizer: sgd")


class Client(NamedTuple):
    """A client as the server knows it. Attributes: samples, of its training part; state, its own; version, of the model
    that it is to train."""

    id: int
    samples: int
    state: State
    version: int = 0


class Peer(NamedTuple):
    """A client with a model of its own, where there is no server.

    Attributes: model, what the server's state would be if the client were alone with it.
    """

    model: State
    client: Client


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What goes down: the state that the device starts from, and its length on the wire.

    Attributes: training, the local solver of this job, where it is not the scenario's.
    """

    state: State
    size_bytes: int
    training: Training | None = None
