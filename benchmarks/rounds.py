"""Rounds of a workload's learning, as the engine asks for them, but without an engine."""

from collections.abc import Sequence

from benchmarks.endtoend import SCENARIOS
from edgesim.engine.learning import Assignment, Learning, Received
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.learning import make_learning
from edgesim.scenario.loading import load


def learning_of(name: str, *overrides: str, processes: int = 1) -> tuple[Learning, int]:
    """What learns in scenarios/<name>.yaml, and how many clients work at once there."""
    plan = load(SCENARIOS / f"{name}.yaml", overrides)
    scenario = plan.scenarios[0].scenario
    made = make_learning(scenario, plan.folder, make_fleet(scenario, plan.folder), processes=processes)
    return made, scenario.schedule.busiest[1]


def placed(learning: Learning, number: int, size: int) -> tuple[Sequence[Assignment], list[Received]]:
    """The jobs of a round of so many clients, who take turns; and their updates, for it to aggregate."""
    jobs = range(number * size, (number + 1) * size)
    clients = [job % len(learning.samples) for job in jobs]
    assigned = learning.dispatch_all(jobs[0], clients, number)
    return assigned, [Received(job, client, 0, 1.0) for job, client in zip(jobs, clients, strict=True)]
