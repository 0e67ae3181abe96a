"""Small quadratic problems for tests of algorithms."""

from functools import cache

from toys import context

from edgesim.algorithms.contract import Context
from edgesim.learning.quadratic import Quadratic
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training


@cache
def problem(clients: int = 8, setting: str = "byzantine", zeta: float = 0.0) -> Task:
    params = {"setting": setting, "d_theta": 6, "d_w": 3, "rows": 60, "zeta": zeta}
    return make_task(dataset="quadratic", dataset_params=params, model="quadratic", clients=clients, seed=0)


def module(world: Task) -> Quadratic:
    assert isinstance(world.model.module, Quadratic)
    return world.model.module


def where(world: Task, epochs: int = 10) -> Context:
    """Ten local steps, so short that joint training of θ and w descends."""
    lr = 1 / (module(world).smoothness + module(world).smoothness_w)
    return context(world, Training(lr=lr, batch_size=1, epochs=epochs))
