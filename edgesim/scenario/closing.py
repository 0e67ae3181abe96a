"""The end of a run: what its clients did and where it stands, written down."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgesim.devices.fleet import Fleet
from edgesim.engine.job import Phase
from edgesim.engine.power import STOPS_UP_TO
from edgesim.engine.reasons import NO_CHARGE, OFF_LINE
from edgesim.engine.simulation import Simulation
from edgesim.execution.timing import TimingOnly
from edgesim.learning.evaluation import spread
from edgesim.results.columns import AVAILABILITY, METRICS
from edgesim.results.costs import COSTS
from edgesim.results.remarks import DIVERGED
from edgesim.results.statistics import first_reaching
from edgesim.scenario.record import Record


def close(simulation: Simulation, made: Record) -> None:
    """Finish the simulation and write its files.

    Raises:
        RunError: a law of conservation does not hold.
    """
    laws = simulation.finish()
    clients = client_table(simulation)
    summary = {
        "label": made.label,
        "variant": made.variant,
        "seed": made.scenario.seed,
        "hash": made.hash,
        "backend": simulation.learning.backend,
        "notes": _notes(simulation),
        "stopped_by": simulation.stopped,
        "final": simulation.last,
        "by_device_class": _by_class(simulation),
        "idle_j": float(np.sum(clients["idle_j"])),
        "energy_by_phase_j": _by_phase(simulation),
        "server": simulation.server.work.summary(simulation.now_ns),
        "failures": _failures(simulation),
        "target": _target(simulation, made.scenario.evaluate.target),
        "conservation": laws,
    }
    away, unseen = off_intervals(simulation), _unseen_table(simulation)
    simulation.recorder.finish(clients=clients, summary=summary, availability=away, unseen=unseen)


def _notes(simulation: Simulation) -> list[str]:
    """What whoever reads the figures must know."""
    notes = [simulation.server.deserted] if simulation.server.deserted else []
    if isinstance(simulation.learning, TimingOnly):
        return simulation.learning.notes + notes
    if not math.isfinite(simulation.last["loss"]):
        notes.append(f"the loss is no number in the end: {DIVERGED}")
    return notes


def _by_class(simulation: Simulation) -> dict[str, dict[str, float]]:
    """How good the models of each kind of device are: mean, standard deviation and worst tenth over its clients that
    may train."""
    fleet, who = simulation.fleet, simulation.learning.participants
    classes, accuracy = np.asarray(fleet.device_class)[who], simulation.learning.scores().accuracy[who]
    return {
        name: {"clients": int((classes == number).sum()), **spread(accuracy[classes == number])}
        for number, name in enumerate(fleet.class_names)
        if (classes == number).any()
    }


def _failures(simulation: Simulation) -> dict[str, Any]:
    """What attempts at phases took that had to begin anew (part of what was wasted), and clients never dispatched to
    for want of memory."""
    again = simulation.ledger.repeated
    skipped = [client for client in sorted(simulation.server.room.skipped) if not simulation.ledger.dispatched[client]]
    return {
        "repeated_s": again.ns / 1e9,
        "repeated_bytes": again.bytes_down + again.bytes_up,
        "repeated_flops": again.flops,
        "repeated_j": again.energy_j,
        "skipped_clients": len(skipped),
    }


def _by_phase(simulation: Simulation) -> dict[str, float]:
    joules = simulation.ledger.phase_j.sum(1)
    return {phase.name.lower(): float(joules[phase]) for phase in Phase}


def _target(simulation: Simulation, target: float | None) -> dict[str, float | None] | None:
    """What each cost had come to when the target was first reached; None where it never was."""
    if target is None:
        return None
    rows = np.array(simulation.recorder.state()["metrics"], np.float64)
    metrics = dict(zip(METRICS.names, rows.T, strict=True))
    return {"accuracy": target, **{name: first_reaching(metrics, target, name) for name in COSTS}}


def client_table(simulation: Simulation) -> dict[str, Any]:
    """The columns of clients.parquet: every second and joule of every client that may train."""
    ledger, fleet, now_ns = simulation.ledger, simulation.fleet, simulation.now_ns
    flight, nothing = simulation.server.flight, np.full(len(fleet), np.nan)
    able_ns, no_charge_ns = flight.able_ns()
    idle_ns = able_ns - ledger.phase_ns.sum(0)
    columns = {
        "client": np.arange(len(fleet)),
        "device_class": fleet.device_class,
        "accuracy": simulation.learning.scores().accuracy,
        "samples": simulation.learning.samples,
        "jobs_dispatched": ledger.dispatched,
        "jobs_aggregated": ledger.aggregated,
        "jobs_lost": ledger.lost + ledger.discarded,
        **{f"{phase.name.lower()}_s": ledger.phase_ns[phase] / 1e9 for phase in Phase},
        "idle_s": idle_ns / 1e9,
        "no_charge_s": no_charge_ns / 1e9,
        "off_s": (now_ns - able_ns - no_charge_ns) / 1e9,
        "bytes_down": ledger.bytes_down,
        "bytes_up": ledger.bytes_up,
        "flops": ledger.flops,
        "energy_j": ledger.phase_j.sum(0),
        "idle_j": (idle_ns + no_charge_ns) / 1e9 * fleet.idle_w,
        "battery_j": nothing if flight.power is None else flight.power.levels_j(now_ns),
        "carbon_g": nothing if flight.emissions is None else flight.emissions.grams,
        "memory_bytes": ledger.memory_bytes,
    }
    return {name: np.asarray(column)[simulation.learning.participants] for name, column in columns.items()}


def _unseen_table(simulation: Simulation) -> dict[str, Any] | None:
    """The columns of unseen.parquet; None where all clients may train."""
    fleet, learning = simulation.fleet, simulation.learning
    unseen = np.setdiff1d(np.arange(len(fleet)), learning.participants)
    if not len(unseen):
        return None
    return {
        "client": unseen,
        "device_class": fleet.device_class[unseen],
        "accuracy": learning.scores().accuracy[unseen],
        "samples": learning.samples[unseen],
    }


def off_intervals(simulation: Simulation) -> dict[str, list[Any]] | None:
    """When each client that may train was off line, or on line but kept from work by its battery, as
    columns.AVAILABILITY; None of a large fleet."""
    fleet, power, end_ns = simulation.fleet, simulation.server.flight.power, simulation.now_ns
    if len(fleet) > STOPS_UP_TO:
        return None
    clients = [] if fleet.availability.always else simulation.learning.participants.tolist()
    off = [span for client in clients for span in _spans(fleet, client, 0, end_ns, on=False)]
    stops = [] if power is None else power.stopped(end_ns)[1]
    empty = [span for stop in stops for span in _spans(fleet, *stop, on=True)]
    rows = sorted([(*span, OFF_LINE) for span in off] + [(*span, NO_CHARGE) for span in empty])
    columns = list(zip(*rows, strict=True)) or [()] * len(AVAILABILITY)
    return {name: list(column) for name, column in zip(AVAILABILITY.names, columns, strict=True)}


def _spans(fleet: Fleet, client: int, since_ns: int, until_ns: int, *, on: bool) -> Iterator[tuple[int, int, int]]:
    """The client, and from when to when it was on line, or off line, within [since, until)."""
    at_ns = since_ns
    while at_ns < until_ns:
        change_ns = fleet.availability.next_change_ns(client, at_ns)
        end_ns = until_ns if change_ns is None else min(change_ns, until_ns)
        if fleet.availability.is_on(client, at_ns) == on:
            yield client, at_ns, end_ns
        at_ns = end_ns
