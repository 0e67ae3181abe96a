"""An algorithm at work on a task: what the engine asks of it, whether anything is trained or not."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesim.algorithms.contract import Algorithm, Context
from edgesim.engine.learning import USUAL, Assignment, Terms
from edgesim.execution import terms as on
from edgesim.learning import split


class AtWork(ABC):
    """The base of both kinds."""

    def __init__(self, algorithm: Algorithm, context: Context) -> None:
        self._algorithm, self._context = algorithm, context
        self._server = algorithm.init_server(context)

    @abstractmethod
    def dispatch(self, job: int, client: int, version: int, terms: Terms = USUAL) -> Assignment:
        """Begin a job; what it costs."""

    def dispatch_all(
        self, first_job: int, clients: Sequence[int], version: int, terms: Sequence[Terms] = ()
    ) -> list[Assignment]:
        """The same for jobs numbered from `first_job`, one a client."""
        return [
            self.dispatch(first_job + place, client, version, on.at(terms, place))
            for place, client in enumerate(clients)
        ]

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return len(split.layers(self._context.task.model))

    @property
    def model_bytes(self) -> int:
        """Of a message with every value of the model."""
        return self._context.dense_bytes

    @property
    def samples(self) -> NDArray[np.int64]:
        """Training samples of each client."""
        return self._context.task.train.count

    @property
    def participants(self) -> NDArray[np.int64]:
        """The clients that may train."""
        return self._context.task.participants
