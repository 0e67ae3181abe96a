"""Scoring: every client's own model on its own test part, personalised where the algorithm does that."""

from collections.abc import Callable, Sequence

from edgesim.algorithms.contract import Algorithm, Context, overrides
from edgesim.execution.backend import Backend
from edgesim.learning.evaluation import Scores, evaluate, evaluate_shared
from edgesim.learning.local import personalised
from edgesim.learning.tree import Params

_TOGETHER = 128  # clients whose models are personalised together, and kept until the next ones are asked for


class Scoring:
    """`models`: those of some clients before they are personalised. `common`: that of all clients, if there is one."""

    def __init__(
        self,
        algorithm: Algorithm,
        context: Context,
        backend: Backend,
        models: Callable[[Sequence[int]], Sequence[Params]],
        common: Callable[[], Params | None],
    ) -> None:
        self._algorithm, self._context, self._backend, self._models = algorithm, context, backend, models
        self._common = common
        self._personalises = overrides(algorithm, "personalise")
        self.forget()

    def forget(self) -> None:
        """A model has changed."""
        self._scored: Scores | None = None
        self._adapted: tuple[int, list[Params]] = (-1, [])  # a cohort's number, and its personalised models

    def scores(self, version: int) -> Scores:
        """By client, of the models of this version; kept until one changes."""
        if self._scored is None:
            task, kernel = self._backend.placed, self._backend.kernel
            common = None if self._personalises else self._common()
            if common is None:
                self._scored = evaluate(task, kernel, lambda clients: self._own_models(clients, version))
            else:
                self._scored = evaluate_shared(task, kernel, common)
        return self._scored

    def _own_models(self, clients: Sequence[int], version: int) -> Sequence[Params]:
        if not self._personalises:
            return self._models(clients)
        return [self._adapted_model(client, version) for client in clients]

    def _adapted_model(self, client: int, version: int) -> Params:
        number, place = divmod(client, _TOGETHER)
        if number != self._adapted[0]:
            some = range(number * _TOGETHER, min((number + 1) * _TOGETHER, self._context.task.clients))
            self._adapted = number, self._personalised(some, version)
        return self._adapted[1][place]

    def _personalised(self, clients: range, version: int) -> list[Params]:
        context, size = self._context, 1 if self._backend.name == "loop" else len(clients)
        cohorts = [list(clients[start : start + size]) for start in range(0, len(clients), size)]
        return [
            model
            for cohort in cohorts
            for model in personalised(
                self._algorithm.personalise, self._backend.placed, context.training, self._backend.kernel,
                context.seed, cohort, version, self._models(cohort),
            )
        ]  # fmt: skip
