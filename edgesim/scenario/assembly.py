"""Assembly: from a scenario to a simulation ready to begin. With learning.py, the only one that knows every
concrete class."""

from pathlib import Path
from typing import Any

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.devices.device import Device
from edgesim.devices.fleet import Fleet, FleetGroup, group_of_each, sample_fleet
from edgesim.devices.profiles import find_device
from edgesim.engine import limits
from edgesim.engine.emissions import Emissions
from edgesim.engine.power import Power
from edgesim.engine.simulation import Simulation
from edgesim.execution.together import Company
from edgesim.results.recorder import Recorder
from edgesim.scenario import availability, battery, carbon, scheduling, schema, selecting
from edgesim.scenario.fitted import device_of, link_of, trace_of
from edgesim.scenario.learning import make_learning
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
    learning = make_learning(scenario, folder, fleet, processes=processes, directory=directory, company=company)
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
        power=_power(scenario, folder, fleet, learning.participants),
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
            device=group.called(device_of(group.device, folder, profiles)),
            share=group.share,
            link=link_of(group.link, folder, profiles),
            availability=availability.process(group.availability, group.outages, folder, entry),
            compute_variation=group.variation.compute,
            link_variation=group.variation.link,
            round_trips=group.connection.round_trips,
            window_bytes=group.connection.window or 0,
            compute_jitter=group.jitter.compute,
            link_jitter=group.jitter.link,
            dvfs=group.dvfs,
            background=group.background,
            device_trace=trace_of(group.device, folder),
            link_trace=trace_of(group.link, folder),
        )
        for entry, group in enumerate(scenario.fleet)
    ]


def _power(scenario: Scenario, folder: Path, fleet: Fleet, participants: IntArray) -> Power | None:
    """The batteries of a fleet; None where there are none."""
    if all(entry.battery is None for entry in scenario.fleet):
        return None
    groups = _groups(scenario, folder)
    powered = [battery.Group(made.device, entry.battery) for made, entry in zip(groups, scenario.fleet, strict=True)]
    group = group_of_each(groups, len(fleet), scenario.seed)
    return battery.make_power(powered, group, fleet, folder, scenario.seed, participants)


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
