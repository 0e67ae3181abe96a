"""Scoring: every client's own model on its own test part, personalised where the algorithm does that."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesim.algorithms.contract import Algorithm, Context, overrides
from edgesim.execution.backend import Backend
from edgesim.learning.evaluation import Scores, evaluate, evaluate_shared
from edgesim.learning.local import Order, personalised
from edgesim.learning.shards import Shards
from edgesim.learning.tree import Params, State

Models: TypeAlias = Callable[[Sequence[int]], Sequence[Params]]
ModelsWith: TypeAlias = Callable[[Sequence[int], Sequence[State]], Sequence[Params]]
_TOGETHER = 128  # clients whose models are personalised together, and kept until the next ones are asked for


class Scoring:
    """Keeps what it has found until a model changes."""

    def __init__(self, algorithm: Algorithm, context: Context, backend: Backend) -> None:
        self._algorithm, self._context, self._backend = algorithm, context, backend
        self._personalises = overrides(algorithm, "personalise")
        self.forget()

    def forget(self) -> None:
        """A model has changed."""
        self._scored: Scores | None = None
        self._once_trained: NDArray[np.float64] | None = None
        self._adapted: tuple[int, list[Params]] = (-1, [])  # a cohort's number, and its personalised models

    def scores(self, version: int, models: Models, common: Params | None) -> Scores:
        """By client, of this version. `models`: those of some clients before they are personalised; `common`: that of
        all clients, if there is one."""
        if self._scored is None:
            task, kernel = self._backend.placed, self._backend.kernel
            if self._personalises:
                self._scored = evaluate(
                    task, kernel, lambda clients: [self._adapted_model(client, version, models) for client in clients]
                )
            elif common is None:
                self._scored = evaluate(task, kernel, models)
            else:
                self._scored = evaluate_shared(task, kernel, common)
        return self._scored

    def once_trained(
        self, clients: Sequence[int], version: int, order: Callable[[int], Order], models: ModelsWith
    ) -> NDArray[np.float64]:
        """Accuracies of clients [n] by the states that a job would leave them, whose update goes nowhere.

        `models`: those of some clients with these states, before they are personalised.
        """
        if self._once_trained is None:
            cuts = range(0, len(clients), _TOGETHER)
            cohorts = [clients[start : start + _TOGETHER] for start in cuts]
            self._once_trained = np.concatenate([self._trained(some, version, order, models) for some in cohorts])
        return self._once_trained

    def _trained(
        self, clients: Sequence[int], version: int, order: Callable[[int], Order], models: ModelsWith
    ) -> NDArray[np.float64]:
        task, kernel = self._backend.placed, self._backend.kernel
        states = [result.state for result in self._backend.train([order(client) for client in clients])]
        own = models(clients, states)
        if self._personalises:
            known = dict(zip(clients, own, strict=True))
            own = self._personalised(clients, version, lambda some: [known[client] for client in some])
        theirs = replace(task, test=Shards.of_parts([task.test.of(client) for client in clients]))
        return evaluate(theirs, kernel, lambda some: own[some.start : some.stop]).accuracy

    def _adapted_model(self, client: int, version: int, models: Models) -> Params:
        number, place = divmod(client, _TOGETHER)
        if number != self._adapted[0]:
            some = range(number * _TOGETHER, min((number + 1) * _TOGETHER, self._context.task.clients))
            self._adapted = number, self._personalised(some, version, models)
        return self._adapted[1][place]

    def _personalised(self, clients: Sequence[int], version: int, models: Models) -> list[Params]:
        context, size = self._context, 1 if self._backend.name == "loop" else len(clients)
        cohorts = [list(clients[start : start + size]) for start in range(0, len(clients), size)]
        return [
            model
            for cohort in cohorts
            for model in personalised(
                self._algorithm.personalise, self._backend.placed, context.training, self._backend.kernel,
                context.seed, cohort, version, models(cohort),
            )
        ]  # fmt: skip
