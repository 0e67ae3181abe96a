"""Edges and a cloud over real learning: what flat rounds learn, one edge with everything learns, to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from whole import begun, ended, written

from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.async_rules import CacheAided
from edgesim.engine.learning import Join, Merging
from edgesim.engine.simulation import Simulation
from edgesim.errors import ScenarioError
from edgesim.execution.edges import Edges
from edgesim.execution.federation import Federation
from edgesim.learning.tree import Params, State
from edgesim.scenario import scheduling
from edgesim.scenario.loading import load

SCENARIO = """
name: edges
task:
  dataset: {name: synthetic, samples: 240, features: 16, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 8
  model: {name: mlp, hidden: [12]}
training: {lr: 0.1, lr_decay: 0.9, batch_size: 5}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home, variation: {compute: 0.5, link: 0.5}}]
schedule: {kind: sync, cohort: 4}
algorithm: fedavg
evaluate: {every: 1 aggregations}
stop: {aggregations: 4}
"""
AT_ONCE = "link: {down: 1000000000 Gbit/s, up: 1000000000 Gbit/s}"


def simulated(folder: Path, schedule: str, *overrides: str) -> Simulation:
    return ended(begun(written(SCENARIO, folder), f"schedule={schedule}", *overrides))


def rows(simulation: Simulation) -> Any:
    """Events, and metrics without the account of the backhaul."""
    state = simulation.state()["recorder"]
    return state["events"], str([row[:19] + row[23:] for row in state["metrics"]])


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "{name: fedspa, regrow: gradient}", "fedper"])
@pytest.mark.parametrize("edge", ["kind: sync, cohort: 4", "kind: buffered, concurrency: 4, buffer: 2"])
def test_one_edge_with_everything_is_flat_to_the_bit(tmp_path: Path, algorithm: str, edge: str) -> None:
    flat = simulated(tmp_path / "flat", f"{{{edge}}}", f"algorithm={algorithm}")
    schedule = f"{{kind: hierarchical, edges: 1, edge: {{{edge}}}, {AT_ONCE}}}"
    one = simulated(tmp_path / "one", schedule, f"algorithm={algorithm}")
    assert rows(flat) == rows(one)
    assert one.last["backhaul_bytes_up"] > 0 == flat.last["backhaul_bytes_up"]


def test_edges_that_merge_after_every_round_average_as_one_server_does(tmp_path: Path) -> None:
    """All eight clients, in two edges of four: the samples' means of means are the mean over all. Whole batches, since
    the order of samples goes by the number of the job."""
    whole = "training.batch_size=1000"
    flat = simulated(tmp_path / "flat", "{kind: sync, cohort: 8}", whole)
    schedule = f"{{kind: hierarchical, edges: 2, edge: {{kind: sync, cohort: 4}}, {AT_ONCE}}}"
    two = simulated(tmp_path / "two", schedule, whole)
    assert two.now_ns == flat.now_ns
    assert two.last["loss"] == pytest.approx(flat.last["loss"], rel=1e-5)
    assert isinstance(flat.learning, Federation)
    assert isinstance(two.learning, Federation)
    for name, tensor in flat.learning._server["params"].items():
        assert two.learning._server["params"][name].numpy() == pytest.approx(tensor.numpy(), abs=1e-6)


def test_a_clients_learning_rate_decays_with_its_edges_aggregations(tmp_path: Path) -> None:
    schedule = f"{{kind: hierarchical, edges: 2, edge: {{kind: sync, cohort: 4, rounds: 3}}, {AT_ONCE}}}"
    run = simulated(tmp_path, schedule)
    versions = {row[6] for row in run.state()["recorder"]["events"]}
    assert (run.version, run.updates, versions) == (4, 4 * 3 * 8, set(range(12)))


@pytest.mark.parametrize(
    ("cloud", "aggregations"), [("sync", 4), ("async", 16), ("{kind: buffered, buffer: 2}", 8)], ids=str
)
def test_the_horizon_is_what_an_edges_model_goes_through(tmp_path: Path, cloud: str, aggregations: int) -> None:
    """Four edges of three rounds each: a cloud that takes all, one or two of them at a time makes 4, 16 or 8 steps
    until each edge has been at it four times. FedSpa anneals by that, or half of its masks would never rest."""
    edges = "edges: 4, edge: {kind: sync, cohort: 2, rounds: 3}"
    schedule = f"{{kind: hierarchical, {edges}, cloud: {cloud}, {AT_ONCE}}}"
    (planned,) = load(
        written(SCENARIO, tmp_path), [f"schedule={schedule}", f"stop.aggregations={aggregations}"]
    ).scenarios
    assert scheduling.horizon(planned.scenario) == 12
    equal = "fleet.0.variation={compute: 0, link: 0}"
    even = simulated(tmp_path, schedule, f"stop.aggregations={aggregations}", equal, "task.partition=iid")
    assert max(row[6] for row in even.state()["recorder"]["events"]) + 1 == 12


@pytest.mark.parametrize(
    ("schedule", "clients"),
    [
        ("{kind: sync, cohort: 4}", 8),
        (f"{{kind: hierarchical, edges: 2, edge: {{kind: sync, cohort: 2}}, {AT_ONCE}}}", 4),
        ("{kind: tiered, tiers: 4, cohort: 2}", 2),
    ],
)
def test_a_rule_knows_how_many_clients_its_model_has(
    tmp_path: Path, schedule: str, clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At an edge, and in a tier, those of it: the h of ca2fl is the mean over them. Over all clients it would be too
    small by the number of edges, and so would its steps."""
    seen, whole = [], CacheAided.step

    def step(self: CacheAided, params: Params, memory: State, arrivals: Arrivals, *rest: Any) -> tuple[Params, State]:
        seen.append(arrivals.population)
        return whole(self, params, memory, arrivals, *rest)

    monkeypatch.setattr(CacheAided, "step", step)
    simulated(tmp_path, schedule, "server.rule=ca2fl")
    assert set(seen) == {clients}


def test_algorithms_whose_server_keeps_more_than_a_model_are_refused_with_the_reason(tmp_path: Path) -> None:
    schedule = f"{{kind: hierarchical, edges: 2, edge: {{kind: sync, cohort: 4}}, {AT_ONCE}}}"
    with pytest.raises(ScenarioError, match="scaffold's server keeps control besides its model; take fedavg"):
        simulated(tmp_path, schedule, "algorithm=scaffold")


def test_an_estimate_times_the_hierarchy_like_the_run(tmp_path: Path) -> None:
    schedule = (
        "{kind: hierarchical, edges: 3, edge: {kind: sync, cohort: 2, rounds: 2}, cloud: {kind: buffered, buffer: 2},"
        " link: {down: 10 Mbit/s, up: 1 Mbit/s, latency: 20 ms, power: 4 W}}"
    )
    whole, estimate = (
        simulated(tmp_path / name, schedule, *extra)
        for name, extra in (("run", ()), ("none", ("execution.backend=none",)))
    )
    assert estimate.now_ns == whole.now_ns
    assert estimate.state()["recorder"]["events"] == whole.state()["recorder"]["events"]
    assert [estimate.last[f"backhaul_{name}"] for name in ("s", "bytes_up", "j")] == [
        whole.last[f"backhaul_{name}"] for name in ("s", "bytes_up", "j")
    ]


def test_edges_variances_are_averaged_at_the_cloud() -> None:
    """Both edges were sent a variance of 1 and a weight of 1, and come to 0.25, one after the other: the weight goes by
    their steps, to −0.5, and the variance to what they have."""
    start = {"params": {name: torch.ones(1) for name in ("weight", "norm.running_var")}}
    edges, cloud = Edges(start), start
    for edge in (0, 1):
        edges.blended(Merging(group=edge), {"params": {n: t * 0.25 for n, t in start["params"].items()}}, cloud)
        edges.count(edge, 10)
        cloud = edges.joined([Join(group=edge, discount=1.0, updates=1)], cloud, {"norm.running_var"})
    assert {n: t.item() for n, t in cloud["params"].items()} == {"weight": -0.5, "norm.running_var": 0.25}
