"""Learning: the data, the model and the algorithm of a scenario, and the backend that trains them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgesim.algorithms import registry
from edgesim.algorithms.aggregators import AGGREGATORS, PREPARATIONS
from edgesim.algorithms.async_rules import RULES
from edgesim.algorithms.compressed import CompressedUpdates, without_codec
from edgesim.algorithms.contract import Algorithm, Context
from edgesim.algorithms.optimizers import OPTIMIZERS
from edgesim.algorithms.rules import Average, ServerRule
from edgesim.devices.fleet import Fleet
from edgesim.engine.learning import Learning
from edgesim.execution import card, cluster, store
from edgesim.execution.attackers import Attackers
from edgesim.execution.backend import Backend, BackendName, choose, in_process
from edgesim.execution.pool import Pool
from edgesim.execution.ray import Ray
from edgesim.execution.raycrew import Wanted
from edgesim.execution.store import ClientStore
from edgesim.execution.together import Company
from edgesim.learning.attacks import ATTACKS
from edgesim.learning.compression import CODECS
from edgesim.learning.kernels import kernel
from edgesim.learning.profile import profile_model
from edgesim.learning.solvers import SOLVERS
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training
from edgesim.references import is_reference, resolve
from edgesim.scenario import scheduling, selecting
from edgesim.scenario.choice import Choice
from edgesim.scenario.schema import Scenario
from edgesim.scenario.trial import merged, tried


def make_learning(
    scenario: Scenario,
    folder: Path,
    fleet: Fleet,
    *,
    processes: int = 1,
    directory: Path | None = None,
    company: Company | None = None,
    trial: bool = False,
) -> Learning:
    """Data, model and algorithm, and the backend that trains them; or only what that costs.

    Without a `directory` the clients' states stay in memory, however much that takes. `trial`: an algorithm or a model
    of the user's own is tried out first.

    Raises:
        ScenarioError: the scenario asks for what its data, model or algorithm cannot do.
    """
    task = _task(scenario, folder)
    attackers = _attackers(scenario, task)
    if attackers is not None:
        task = attackers.mislabelled(task)
    optimizer = scenario.training.optimizer
    solver = vars(SOLVERS[optimizer.name](**optimizer.parameters))
    training = Training(**scenario.training.model_dump(exclude={"optimizer"}), optimizer=optimizer.name, **solver)
    algorithm = make_algorithm(scenario, folder)
    context = Context(
        task=task,
        profile=profile_model(task.model),
        training=training,
        seed=scenario.seed,
        horizon=scheduling.horizon(scenario),
        cadence=scheduling.cadence(scenario),
        memory_bytes=fleet.memory_bytes,
        shrink_batch=scenario.failures.out_of_memory == "shrink-batch",
        rule=scheduling.own_rule(scenario, algorithm, task) or _rule(scenario, folder),
    )
    context.rule.check(context.cadence.updates)
    scheduling.accept(algorithm, context, scenario, folder)
    if trial and (is_reference(scenario.algorithm.name) or is_reference(scenario.task.model.name)):
        by = kernel(task.model.module, _backend_name(scenario, task), random=task.model.random)
        tried(without_codec(algorithm), context, by)
    algorithm.check(context)
    if trial and not (scenario.codec is None and isinstance(context.rule, Average) and context.rule.averages):
        merged(algorithm, context)
    if scenario.execution.backend == "none":
        selecting.check_trains(scenario.selector, folder)
        return scheduling.timing(scenario)(algorithm, context, attackers)
    algorithm = selecting.reporting(scenario.selector, folder, algorithm, context)
    clients = ClientStore(None if directory is None else directory / store.FILE, scenario.execution.memory)
    kind = scheduling.federation(scenario)
    backend = _backend(scenario, algorithm, task, training, processes, company)
    return kind(algorithm, context, backend, clients, attackers)


def make_algorithm(scenario: Scenario, folder: Path) -> Algorithm:
    """The algorithm with its hyper-parameters."""
    kind = registry.find(scenario.algorithm.name, folder)
    algorithm = kind(**scenario.algorithm.parameters)
    if scenario.codec is None:
        return algorithm
    codec = CODECS[scenario.codec.name](**scenario.codec.parameters)
    return CompressedUpdates(inner=algorithm, codec=codec)


def _attackers(scenario: Scenario, task: Task) -> Attackers | None:
    if scenario.attackers is None:
        return None
    attack = ATTACKS[scenario.attackers.name](**scenario.attackers.parameters)
    return Attackers.among(task.clients, attack, scenario.seed, but=task.unseen)


def _rule(scenario: Scenario, folder: Path) -> ServerRule:
    """How the server merges updates."""
    server = scenario.server

    def made(choice: Choice, known: Mapping[str, Any]) -> Any:
        kind: Any = known[choice.name] if choice.name in known else resolve(choice.name, folder)
        return kind(**choice.parameters)

    if server.rule.name != "average":
        rule: ServerRule = made(server.rule, RULES)
        return rule
    return Average(
        aggregator=made(server.aggregator, AGGREGATORS),
        before=None if server.before is None else made(server.before, PREPARATIONS),
        optimizer=made(server.optimizer, OPTIMIZERS),
        worker_momentum=server.worker_momentum,
        seed=scenario.seed,
    )


def _backend(
    scenario: Scenario, algorithm: Algorithm, task: Task, training: Training, processes: int, company: Company | None
) -> Backend:
    execution = scenario.execution
    assert execution.backend != "none"
    device = execution.device
    name = _backend_name(scenario, task)
    here = in_process(name, algorithm, task, training, seed=scenario.seed, cohort=execution.cohort, device=device)
    if execution.kind == "ray" and not cluster.inside():  # a run that the cluster works at trains where it is
        wanted = Wanted(address=execution.address, workers=execution.workers, gpus_per_worker=execution.gpus_per_worker)
        return Ray(here, wanted)
    card.check(device)
    if company and name == "stacked":
        return company(here)
    return Pool(here, processes) if processes > 1 and device == card.NONE else here  # a card is busy with one


def _backend_name(scenario: Scenario, task: Task) -> BackendName:
    execution = scenario.execution
    asked = "auto" if execution.backend == "none" else execution.backend
    return choose(task.model.module, asked, execution.device, random=task.model.random)


_kept: dict[tuple[str, int, Path], Task] = {}  # the task that was checked last, until a run takes it


def check(scenario: Scenario, folder: Path, fleet: Fleet) -> None:
    """Make what a run of the scenario learns with, so that all that cannot be comes out; its task is kept for the run.

    Raises ScenarioError.
    """
    key, task = _key(scenario, folder), _new_task(scenario, folder)  # files may have changed since the last check
    _kept.clear()
    _kept[key] = task
    make_learning(scenario, folder, fleet, trial=True)  # which takes it
    _kept[key] = task


def _key(scenario: Scenario, folder: Path) -> tuple[str, int, Path]:
    return scenario.task.model_dump_json(), scenario.seed, folder


def _task(scenario: Scenario, folder: Path) -> Task:
    found = _kept.pop(_key(scenario, folder), None)
    return _new_task(scenario, folder) if found is None else found


def _new_task(scenario: Scenario, folder: Path) -> Task:
    task = scenario.task
    return make_task(
        dataset=task.dataset.name,
        dataset_params=task.dataset.parameters,
        data_dir=None if task.data_dir is None else folder / task.data_dir,
        partition=task.partition.name,
        partition_params=task.partition.parameters,
        clients=task.clients,
        unseen=task.unseen,
        test_share=task.test_share,
        model=task.model.name,
        model_params=task.model.parameters,
        seed=scenario.seed,
        folder=folder,
    )
