"""Scoring: every client's own model on its own test part, personalised where the algorithm does that."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from edgesim.algorithms.contract import Algorithm, Context, overrides
from edgesim.execution.backend import Backend
from edgesim.learning.evaluation import Scores, evaluate, evaluate_shared
from edgesim.learning.local import personalised
from edgesim.learning.tree import Params

Models: TypeAlias = Callable[[Sequence[int]], Sequence[Params]]
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

    def _adapted_model(self, client: int, version: int, models: Models) -> Params:
        number, place = divmod(client, _TOGETHER)
        if number != self._adapted[0]:
            some = range(number * _TOGETHER, min((number + 1) * _TOGETHER, self._context.task.clients))
            self._adapted = number, self._personalised(some, version, models)
        return self._adapted[1][place]

    def _personalised(self, clients: range, version: int, models: Models) -> list[Params]:
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
