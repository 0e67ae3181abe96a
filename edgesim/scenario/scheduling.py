"""Scheduling: from a scenario's schedule to the engine's, and what it asks of an algorithm."""

from pathlib import Path

import numpy as np

from edgesim import streams
from edgesim.algorithms.compressed import without_codec
from edgesim.algorithms.contract import Algorithm, Cadence, Context, overrides
from edgesim.algorithms.lagtolerant import LagTolerant
from edgesim.algorithms.rules import ServerRule
from edgesim.devices.arrays import IntArray
from edgesim.engine import schedules
from edgesim.engine.backhaul import Link
from edgesim.engine.schedules import Schedule, Weight
from edgesim.errors import ScenarioError
from edgesim.execution import terms
from edgesim.execution.edges import EdgeFederation
from edgesim.execution.federation import Federation
from edgesim.execution.peers import PeerFederation, PeerTiming
from edgesim.execution.timing import TimingOnly
from edgesim.learning.task import Task, draw_unseen
from edgesim.scenario import gossip, hierarchy
from edgesim.scenario import schedule as kinds
from edgesim.scenario import staleness as weights
from edgesim.scenario.schema import Scenario
from edgesim.scenario.schema import Schedule as AnySchedule


def make_schedule(scenario: Scenario, folder: Path) -> Schedule:
    """The engine's schedule of a scenario whose relative paths count from `folder`."""
    unseen = _unseen(scenario)
    match scenario.schedule:
        case kinds.Sync() as it:
            return schedules.Sync(it.cohort)
        case kinds.Deadline() as it:
            late = it.late == "kept"
            return schedules.Deadline(it.cohort, it.selected, _ns(it.limit), late, _weight(scenario), it.max_staleness)
        case kinds.Async() as it:
            return schedules.Buffered(it.concurrency, 1, _weight(scenario), it.max_staleness)
        case kinds.Buffered() as it:
            return schedules.Buffered(it.concurrency, it.buffer, _weight(scenario), it.max_staleness)
        case kinds.Periodic() as it:
            at_once, every_ns = it.replace == "at-once", _ns(it.every)
            return schedules.Periodic(it.concurrency, every_ns, _weight(scenario), it.max_staleness, at_once)
        case kinds.Tiered() as it:
            return schedules.Tiered(it.tiers, it.cohort, it.retier, unseen.tolist())
        case kinds.Safa() as it:
            return schedules.Safa(it.quota, it.lag, _ns(it.limit))
        case kinds.TimelyFl() as it:
            return schedules.TimelyFl(it.concurrency, it.wait_for, it.partial, it.max_epochs, it.slack)
        case hierarchy.Hierarchical() as it:
            return _hierarchical(it, scenario, folder)
        case gossip.Gossip() as it:
            seed = scenario.seed
            neighbours = gossip.neighbours(it.graph, scenario.task.clients, seed, folder, unseen)
            if it.mode == "async":
                return schedules.AsyncGossip(neighbours=neighbours, seed=seed)
            return schedules.SyncGossip(neighbours=neighbours)


def _hierarchical(it: hierarchy.Hierarchical, scenario: Scenario, folder: Path) -> Schedule:
    dealt = streams.generator(scenario.seed, "edges").permutation(scenario.task.clients)
    edge_of = np.full(len(dealt), -1)
    dealt = dealt[~np.isin(dealt, _unseen(scenario))]
    edge_of[dealt] = np.arange(len(dealt)) % it.edges
    link = it.link
    return schedules.Hierarchical(
        edge_of.tolist(),
        lambda: make_schedule(at_edge(scenario), folder),
        link=Link(down_bps=link.down, up_bps=link.up, latency_s=link.latency, power_w=link.power),
        rounds=it.edge.rounds,
        quota=_quota(it),
        weight=_weight(scenario.model_copy(update={"schedule": it.cloud})),
    )


def _unseen(scenario: Scenario) -> IntArray:
    """Who is in no tier, at no edge and nobody's neighbour."""
    return draw_unseen(scenario.task.clients, scenario.task.unseen, scenario.seed)


def _quota(it: hierarchy.Hierarchical) -> int:
    """How many edges' models make a step of the cloud."""
    return 1 if isinstance(it.cloud, hierarchy.CloudAsync) else getattr(it.cloud, "buffer", it.edges)


def federation(scenario: Scenario) -> type[Federation]:
    """What holds the models of a run."""
    if isinstance(scenario.schedule, gossip.Gossip):
        return PeerFederation
    return EdgeFederation if isinstance(scenario.schedule, hierarchy.Hierarchical) else Federation


def timing(scenario: Scenario) -> type[TimingOnly]:
    """What counts the costs of a run that trains nothing."""
    return PeerTiming if isinstance(scenario.schedule, gossip.Gossip) else TimingOnly


def at_edge(scenario: Scenario) -> Scenario:
    """The scenario with the schedule that each edge runs; the same one where there are no edges."""
    it = scenario.schedule
    return scenario.model_copy(update={"schedule": it.edge}) if isinstance(it, hierarchy.Hierarchical) else scenario


def horizon(scenario: Scenario) -> int | None:
    """The aggregations that a client's model goes through until the run stops, if it says; edges are taken as equally
    often at the cloud."""
    it, aggregations = scenario.schedule, scenario.stop.aggregations
    if aggregations is not None and isinstance(it, hierarchy.Hierarchical):
        return -(-aggregations * it.edge.rounds * _quota(it) // it.edges)
    if isinstance(it, gossip.Gossip) and it.mode == "async":
        return None
    return aggregations


def _weight(scenario: Scenario) -> Weight:
    """The factor of updates by their staleness."""
    choice = getattr(scenario.schedule, "staleness", None)
    match choice:
        case weights.Polynomial():
            return schedules.Polynomial(choice.exponent)
        case weights.Hinge():
            return schedules.Hinge(choice.slope, choice.grace)
        case weights.Threshold():
            return schedules.Threshold(choice.cutoff, choice.value)
        case weights.DelayAdaptive():
            return schedules.DelayAdaptive(scenario.schedule.busiest[1])
        case weights.Capped():
            return schedules.Capped(scenario.schedule.busiest[1], scenario.training.lr, choice.smoothness)
    return schedules.constant


def cadence(scenario: Scenario) -> Cadence:
    """The schedule as algorithms may know it."""
    it = at_edge(scenario).schedule
    _, concurrency = it.busiest
    if isinstance(it, kinds.Safa | gossip.Gossip):
        concurrency = scenario.task.participants
    kind, updates = scenario.schedule.kind, _updates(it, concurrency)
    return Cadence(kind=kind, concurrency=concurrency, updates=updates, late=_late(it))


def _late(it: AnySchedule) -> bool:
    """Whether a model may have been merged into while a client trains from it."""
    match it:
        case kinds.Deadline():
            return it.late == "kept"
        case gossip.Gossip():
            return it.mode == "async"
    return not isinstance(it, kinds.Sync | kinds.Tiered | kinds.TimelyFl)


def _updates(it: AnySchedule, concurrency: int) -> int:
    """How many make an aggregation: at most, or as a rule where more may come."""
    match it:
        case gossip.Gossip():
            return 1
        case kinds.Async():
            return 1
        case kinds.Buffered():
            return it.buffer
        case kinds.Safa():
            return it.quota
        case kinds.Sync() | kinds.Deadline() | kinds.Tiered():
            return it.cohort
    return concurrency


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)


def own_rule(scenario: Scenario, algorithm: Algorithm, task: Task) -> ServerRule | None:
    """The server rule that is part of the schedule; None: the scenario's.

    Raises ScenarioError where the scenario or the algorithm has one of its own.
    """
    if scenario.schedule.kind != "safa":
        return None
    for key in scenario.server.merging:
        raise ScenarioError(f"server.{key}: safa merges by its cache of models; leave this out")
    inner = without_codec(algorithm)
    if not terms.is_mean(inner):
        raise ScenarioError(
            f"schedule.kind: safa replaces the server's average by its cache of models, and {scenario.algorithm.name} "
            "does more than average; take fedavg or fedprox, or schedule: {kind: deadline, late: kept}"
        )
    count = task.train.count.astype(np.float64)
    samples = np.ones_like(count) if getattr(inner, "weighting", "") == "uniform" else count
    samples[task.unseen] = 0.0
    return LagTolerant(samples=samples)


def accept(algorithm: Algorithm, context: Context, scenario: Scenario, folder: Path) -> None:
    """Raise ScenarioError if the algorithm makes no sense under the schedule."""
    it, name = scenario.schedule, scenario.algorithm.name
    refuses = without_codec(algorithm).refuses
    if it.kind in refuses:
        raise ScenarioError(f"schedule.kind: {name} does not run under {it.kind}: {refuses[it.kind]}")
    if isinstance(it, hierarchy.Hierarchical):
        _check_edges(algorithm, context, scenario)
    if isinstance(it, gossip.Gossip):
        _check_peers(algorithm, scenario)
        make_schedule(scenario, folder)  # there must be a graph
    if isinstance(it, kinds.Tiered):
        others = sorted(set(algorithm.init_server(context)) - {"params"})
        if others:
            raise ScenarioError(
                f"schedule.kind: tiered combines the models of the tiers, and {name}'s server keeps "
                f"{', '.join(others)} besides its model; take fedavg or fedprox, or kind: buffered"
            )
    if isinstance(it, kinds.TimelyFl):
        terms.check_epochs(algorithm, context)
        if it.partial:
            terms.check_layers(algorithm, context)


def _check_edges(algorithm: Algorithm, context: Context, scenario: Scenario) -> None:
    """Raise ScenarioError unless the cloud can merge what the edges have."""
    name = scenario.algorithm.name
    others = sorted(set(algorithm.init_server(context)) - {"params"})
    if others:
        raise ScenarioError(
            f"schedule.kind: the cloud merges the models of the edges, and {name}'s server keeps {', '.join(others)} "
            "besides its model; take fedavg, fedprox or fedspa, or kind: buffered"
        )
    if overrides(without_codec(algorithm), "server_work"):
        raise ScenarioError(
            f"schedule.kind: {name}'s server has much to compute, and edges have no machine of their own here; take "
            "fedavg, fedprox or fedspa, or kind: buffered"
        )
    if scenario.network.sharing != "none":
        raise ScenarioError(
            f"network.sharing: {scenario.network.sharing} leads every transfer to one server, and under hierarchical "
            "devices reach their edge; write sharing: none"
        )


def _check_peers(algorithm: Algorithm, scenario: Scenario) -> None:
    """Raise ScenarioError for whatever needs a server where there is none."""
    name = scenario.algorithm.name
    if scenario.codec is not None:
        raise ScenarioError("codec: it makes updates to a server smaller, and gossip sends models; leave it out")
    if not overrides(algorithm, "mix"):
        raise ScenarioError(
            f"schedule.kind: {name} needs a server, and under gossip there is none; take fedavg, fedprox, ditto or "
            "dispfl, or kind: sync"
        )
    if scenario.network.sharing != "none":
        raise ScenarioError(
            f"network.sharing: {scenario.network.sharing} leads every transfer to a server, and under gossip there is "
            "none; write sharing: none"
        )
    for key in scenario.server.merging:
        raise ScenarioError(f"server.{key}: under gossip there is no server; leave this out")
    if scenario.selector.name != "uniform":
        raise ScenarioError("selector: under gossip nobody chooses, every client works; leave it out")
    failures = scenario.failures
    if failures.transfer.kind != "abort":
        raise ScenarioError(
            f"failures.transfer: {failures.transfer.kind} has no meaning for exchanges under gossip, which are left "
            "out when they break off; write abort"
        )
    for key in ("corruption", "server_outages"):
        if getattr(failures, key) is not None:
            raise ScenarioError(f"failures.{key}: it befalls transfers to a server; leave it out under gossip")
