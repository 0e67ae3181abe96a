"""Assembly: from a scenario to a simulation ready to begin. The only room that knows every concrete class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesim.algorithms import registry
from edgesim.algorithms.aggregators import AGGREGATORS, PREPARATIONS
from edgesim.algorithms.async_rules import RULES
from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Context
from edgesim.algorithms.optimizers import OPTIMIZERS
from edgesim.algorithms.rules import Average, ServerRule
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet, FleetGroup, group_of_each, sample_fleet
from edgesim.devices.profiles import find_device
from edgesim.engine import limits
from edgesim.engine.emissions import Emissions
from edgesim.engine.learning import Learning
from edgesim.engine.power import Power
from edgesim.engine.simulation import Simulation
from edgesim.execution import card, cluster, store
from edgesim.execution.attackers import Attackers
from edgesim.execution.backend import Backend, choose, in_process
from edgesim.execution.pool import Pool
from edgesim.execution.ray import Ray
from edgesim.execution.raycrew import Wanted
from edgesim.execution.store import ClientStore
from edgesim.execution.together import Company
from edgesim.learning.attacks import ATTACKS
from edgesim.learning.compression import CODECS
from edgesim.learning.profile import profile_model
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training
from edgesim.references import resolve
from edgesim.results.recorder import Recorder
from edgesim.scenario import availability, battery, carbon, scheduling, schema, selecting
from edgesim.scenario.choice import Choice
from edgesim.scenario.fitted import device_of, link_of, trace_of
from edgesim.scenario.network import make_network
from edgesim.scenario.schema import Scenario

_NS = 1_000_000_000


def assemble(
    scenario: Scenario,
    folder: Path,
    directory: Path,
    state: dict[str, Any] | None = None,
    processes: int = 1,
    company: Company | None = None,
) -> Simulation:
    """The simulation of a scenario whose relative paths count from `folder`; it records into `directory`.

    With the `state` of a checkpoint the simulation stands where that was taken; without, `begin` it.

    Raises:
        ScenarioError: the scenario asks for what its data, model or algorithm cannot do.
    """
    fleet = make_fleet(scenario, folder)
    learning = make_learning(scenario, folder, processes, directory, fleet, company)
    recorder = (
        Recorder(directory, fleet.class_names) if state is None else Recorder.restore(directory, state["recorder"])
    )
    simulation = Simulation(
        fleet=fleet,
        learning=learning,
        schedule=scheduling.make_schedule(scenario, folder),
        selector=selecting.make(scenario.selector, scenario.seed, folder),
        rules=scenario.failures.rules(sparse_speedup=scenario.costs.sparse_speedup, seed=scenario.seed),
        recorder=recorder,
        evaluate=_evaluate(scenario.evaluate),
        stop=_stop(scenario.stop),
        server=_machine(scenario, folder),
        network=make_network(scenario.network, fleet, folder, scenario.seed),
        power=_power(scenario, folder, fleet),
        emissions=_emissions(scenario, folder, fleet),
    )
    if state is not None:
        simulation.restore(state)
    return simulation


def _machine(scenario: Scenario, folder: Path) -> Device | None:
    """What aggregates; None where clients do among themselves."""
    if scenario.schedule.kind == "gossip":
        return None
    return find_device(scenario.server.device, folder, _profiles(scenario, folder))


def make_fleet(scenario: Scenario, folder: Path) -> Fleet:
    """The devices of the scenario's clients, one each."""
    return sample_fleet(_groups(scenario, folder), scenario.task.clients, scenario.seed)


def _groups(scenario: Scenario, folder: Path) -> list[FleetGroup]:
    profiles = _profiles(scenario, folder)
    return [
        FleetGroup(
            device=device_of(group.device, folder, profiles),
            share=group.share,
            link=link_of(group.link, folder, profiles),
            availability=availability.process(group.availability, group.outages, folder, entry),
            compute_variation=group.variation.compute,
            link_variation=group.variation.link,
            dvfs=group.dvfs,
            background=group.background,
            device_trace=trace_of(group.device, folder),
            link_trace=trace_of(group.link, folder),
        )
        for entry, group in enumerate(scenario.fleet)
    ]


def _power(scenario: Scenario, folder: Path, fleet: Fleet) -> Power | None:
    """The batteries of a fleet; None where there are none."""
    if all(entry.battery is None for entry in scenario.fleet):
        return None
    groups = _groups(scenario, folder)
    powered = [battery.Group(made.device, entry.battery) for made, entry in zip(groups, scenario.fleet, strict=True)]
    group = group_of_each(groups, len(fleet), scenario.seed)
    return battery.make_power(powered, group, fleet, folder, scenario.seed)


def _emissions(scenario: Scenario, folder: Path, fleet: Fleet) -> Emissions | None:
    if scenario.costs.carbon is None:
        return None
    intensity = carbon.intensities(scenario.costs.carbon, folder)
    regions = np.array([intensity.index(entry.region or "") for entry in scenario.fleet])
    return Emissions(intensity, regions[group_of_each(_groups(scenario, folder), len(fleet), scenario.seed)])


def _profiles(scenario: Scenario, folder: Path) -> Path | None:
    return None if scenario.profiles is None else folder / scenario.profiles


def _evaluate(choice: schema.Evaluate) -> limits.Evaluate:
    every = choice.every
    every_ns = None if every.time_s is None else round(every.time_s * _NS)
    return limits.Evaluate(every_ns=every_ns, every_aggregations=every.aggregations)


def _stop(choice: schema.Stop) -> limits.Stop:
    return limits.Stop(
        time_ns=None if choice.time is None else round(choice.time * _NS),
        updates=choice.updates,
        aggregations=choice.aggregations,
        accuracy=choice.accuracy,
        energy_j=choice.energy,
        bytes=None if choice.bytes is None else round(choice.bytes),
    )


def make_learning(
    scenario: Scenario,
    folder: Path,
    processes: int = 1,
    directory: Path | None = None,
    fleet: Fleet | None = None,
    company: Company | None = None,
    task: Task | None = None,
) -> Learning:
    """Data, model and algorithm, and the backend that trains them; or only what that costs.

    Without a `directory` the clients' states stay in memory, however much that takes.
    """
    fleet = fleet or make_fleet(scenario, folder)
    task, attackers = task or _task(scenario, folder), _attackers(scenario)
    if attackers is not None:
        task = attackers.mislabelled(task)
    training = Training(**scenario.training.model_dump(exclude={"optimizer"}))
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
    algorithm.check(context)
    if scenario.execution.backend == "none":
        selecting.check_trains(scenario.selector, folder)
        return scheduling.timing(scenario)(algorithm, context)
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


def _attackers(scenario: Scenario) -> Attackers | None:
    if scenario.attackers is None:
        return None
    attack = ATTACKS[scenario.attackers.name](**scenario.attackers.parameters)
    return Attackers.among(scenario.task.clients, attack, scenario.seed)


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
    name = choose(task.model.module, execution.backend, device)
    here = in_process(name, algorithm, task, training, seed=scenario.seed, cohort=execution.cohort, device=device)
    if execution.kind == "ray" and not cluster.inside():  # a run that the cluster works at trains where it is
        wanted = Wanted(address=execution.address, workers=execution.workers, gpus_per_worker=execution.gpus_per_worker)
        return Ray(here, wanted)
    card.check(device)
    # A stacked cohort is done before its orders have travelled to another process; and a card is busy with one.
    if name == "loop" and processes > 1 and device == card.NONE:
        return Pool(here, processes)
    return company(here) if company else here


def check(scenario: Scenario, folder: Path) -> None:
    """Make what a run of the scenario is made of, so that all that cannot be comes out; its task is kept for the run.

    Raises ScenarioError.
    """
    task = _task(scenario, folder)
    _kept.clear()
    _kept[_task_key(scenario, folder)] = task
    make_learning(scenario, folder, fleet=make_fleet(scenario, folder), task=task)


_kept: dict[tuple[str, int, Path], Task] = {}  # the task that was checked last, until a run takes it


def _task_key(scenario: Scenario, folder: Path) -> tuple[str, int, Path]:
    return scenario.task.model_dump_json(), scenario.seed, folder


def _task(scenario: Scenario, folder: Path) -> Task:
    found = _kept.pop(_task_key(scenario, folder), None)
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
        test_share=task.test_share,
        model=task.model.name,
        model_params=task.model.parameters,
        seed=scenario.seed,
        folder=folder,
    )
