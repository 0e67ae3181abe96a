"""Clients that are tested and never train: who they are, that they have a part in nothing, and how they fare."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from whole import begun, written

import edgesim
from edgesim.algorithms.contract import Arrivals, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.lagtolerant import LagTolerant
from edgesim.algorithms.pfedla import PFedLA
from edgesim.engine.schedules import Gossip, Hierarchical, Tiered
from edgesim.engine.simulation import Simulation
from edgesim.errors import ScenarioError
from edgesim.execution.federation import Federation
from edgesim.learning.tree import State
from edgesim.plots.registry import find
from edgesim.results.store import Results, Run
from edgesim.results.table import summary_table
from edgesim.scenario import scheduling
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.loading import load, resolved, scenario_hash
from edgesim.scenario.samples import SCHEDULES
from edgesim.scenario.schema import Scenario

SCENARIO = """
name: newcomers
task:
  dataset: {name: synthetic, samples: 600, features: 12, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 12
  unseen: 25 %
  model: {name: mlp, hidden: [8]}
training: {lr: 0.1, batch_size: 10}
fleet:
  - {device: raspberry-pi-4, share: 0.5, link: wifi-home, variation: {compute: 0.5, link: 0.5}}
  - {device: phone-mid, share: 0.5, link: lte}
schedule: {kind: sync, cohort: 4}
algorithm: fedavg
evaluate: {every: 4 aggregations}
stop: {aggregations: 12}
"""
SCHEDULE = {kind: json.dumps({"kind": kind, **keys}) for kind, keys in SCHEDULES.items()}
ALL_AT_ONCE = "schedule={kind: sync, cohort: 9}"


def scenario(folder: Path, *overrides: str) -> Scenario:
    (planned,) = load(written(SCENARIO, folder), overrides).scenarios
    return planned.scenario


def simulation(folder: Path, *overrides: str) -> Simulation:
    return begun(written(SCENARIO, folder), *overrides)


def ran(folder: Path, *overrides: str) -> Results:
    """The runs of the scenario, through their files."""
    return edgesim.run(written(SCENARIO, folder), out=folder / "out", overrides=overrides)


def one(folder: Path, *overrides: str) -> Run:
    (run,) = ran(folder, *overrides).runs
    return run


def unseen(run: Run) -> list[int]:
    found = run.unseen()
    assert found is not None
    return list(found["client"])


@pytest.mark.parametrize("kind", SCHEDULES)
def test_who_is_unseen_has_no_job_and_no_cost_and_is_tested(tmp_path: Path, kind: str) -> None:
    run = one(tmp_path, f"schedule={SCHEDULE[kind]}")
    newcomers, clients = unseen(run), run.clients()
    assert len(newcomers) == 3
    assert set(run.events()["client"]).isdisjoint(newcomers)
    assert set(clients["client"]) == set(range(12)) - set(newcomers)
    assert clients["jobs_dispatched"].sum() == run.metrics()["jobs_dispatched"][-1] > 12
    summary, last = run.summary, run.metrics()["accuracy_unseen"][-1]
    assert summary is not None
    assert set(summary["conservation"].values()) == {"holds"}
    assert summary["final"]["accuracy"] == pytest.approx(clients["accuracy"].mean())
    table = run.unseen()
    assert table is not None
    assert summary["final"]["accuracy_unseen"] == last == pytest.approx(table["accuracy"].mean())
    assert summary["idle_j"] == pytest.approx(clients["idle_j"].sum())
    assert sum(part["clients"] for part in summary["by_device_class"].values()) == 9
    assert run.analysis()["participation"]["clients"] == 9


@pytest.mark.parametrize("selector", ["oort", "refl", "round-robin", "{kind: fastest-available, by: last}"])
def test_whoever_chooses_comes_round_to_all_others(tmp_path: Path, selector: str) -> None:
    """Nobody waits for those that never come."""
    run = one(tmp_path, f"selector={selector}", "stop.aggregations=40")
    assert (run.clients()["jobs_aggregated"] > 0).all()
    assert set(run.events()["client"]).isdisjoint(unseen(run))


def test_the_others_have_the_data_and_the_devices_that_they_had(tmp_path: Path) -> None:
    with_them, without = (scenario(tmp_path, f"task.unseen={share}") for share in (0.25, 0))
    one, other = (make_fleet(it, tmp_path) for it in (with_them, without))
    np.testing.assert_array_equal(one.compute_flops, other.compute_flops)
    np.testing.assert_array_equal(one.device_class, other.device_class)
    for samples in zip(
        *(simulation(tmp_path, f"task.unseen={share}").learning.samples for share in (0.25, 0)), strict=True
    ):
        assert samples[0] == samples[1]


def test_without_the_key_a_scenario_is_the_one_that_it_was(tmp_path: Path) -> None:
    """Its hash too: whether the key is left out, or nobody is unseen, is the same."""
    run = one(tmp_path, "task.unseen=0")
    assert run.unseen() is None
    assert not (run.path / "unseen.parquet").exists()
    assert np.isnan(run.metrics()["accuracy_unseen"]).all()
    assert len(run.clients()["client"]) == 12
    with pytest.raises(ScenarioError, match=r"all clients may train; write task\.unseen, e\.g\. 10 %"):
        find("curves")(Results.read(run.path), metric="accuracy_unseen")
    made = scenario(tmp_path, "task.unseen=0")
    before = resolved(made)
    del before["task"]["unseen"]
    (tmp_path / "before.yaml").write_text(json.dumps(before))
    assert scenario_hash(load(tmp_path / "before.yaml").scenarios[0].scenario) == run.record["hash"]
    assert scenario_hash(scenario(tmp_path)) != run.record["hash"]


def test_of_equal_data_newcomers_are_served_as_well_as_those_that_train(tmp_path: Path) -> None:
    """A global model of iid data is everybody's."""
    run = one(tmp_path, "task.partition=iid", "stop.aggregations=40", "task.dataset.samples=2400")
    last = {name: run.metrics()[name][-1] for name in ("accuracy", "accuracy_unseen")}
    assert last["accuracy"] > 0.8
    assert last["accuracy_unseen"] == pytest.approx(last["accuracy"], abs=0.06)


@pytest.mark.parametrize("algorithm", ["local", "fedper"])
def test_what_has_to_be_trained_at_home_newcomers_do_not_have(tmp_path: Path, algorithm: str) -> None:
    unlike = ("task.partition={kind: classes, per_client: 2}", "training.epochs=4")
    run = one(tmp_path, f"algorithm={algorithm}", ALL_AT_ONCE, "stop.aggregations=20", *unlike)
    assert run.metrics()["accuracy"][-1] > run.metrics()["accuracy_unseen"][-1] + 0.2


def test_a_personalised_model_is_personalised_for_newcomers_too(tmp_path: Path) -> None:
    plain, tuned = (one(tmp_path / name, f"algorithm={name}") for name in ("fedavg", "fedavg-ft"))
    assert tuned.metrics()["accuracy_unseen"][-1] > plain.metrics()["accuracy_unseen"][-1] + 0.02


def test_attackers_are_a_share_of_those_that_train(tmp_path: Path) -> None:
    world = simulation(tmp_path, "attackers={kind: label-flip, share: 67 %}").learning
    assert isinstance(world, Federation)
    assert world._attackers is not None
    hostile = np.flatnonzero(world._attackers.hostile)
    assert len(hostile) == 6  # of 9
    assert set(hostile) <= set(world.participants.tolist())
    scores = world.scores()
    honest = np.setdiff1d(world.participants, hostile)
    assert world.evaluate()["accuracy"] == pytest.approx(scores.accuracy[honest].mean())
    assert world.evaluate()["accuracy_unseen"] == pytest.approx(scores.accuracy[world._context.task.unseen].mean())


def test_tiers_and_edges_are_of_those_that_train(tmp_path: Path) -> None:
    run = simulation(tmp_path, "schedule={kind: tiered, tiers: 3, cohort: 2}")
    run.run()
    assert isinstance(run.server.schedule, Tiered)
    assert Counter(run.server.schedule.tier) == {0: 3, 1: 3, 2: 3, -1: 3}
    edges = simulation(tmp_path, f"schedule={SCHEDULE['hierarchical']}").server.schedule
    assert isinstance(edges, Hierarchical)
    assert [edge.clients for edge in edges.edges] == [5, 4]


@pytest.mark.parametrize("graph", ["ring", "complete", "grid", "{kind: regular, degree: 4}", "./own.graphml"])
def test_no_newcomer_is_a_neighbour(tmp_path: Path, graph: str) -> None:
    nodes, edges = "".join(f'<node id="{i}"/>' for i in range(12)), ""
    for one in range(12):
        edges += "".join(f'<edge source="{one}" target="{(one + step) % 12}"/>' for step in (1, 2, 3, 4))
    text = f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">{nodes}{edges}'
    (tmp_path / "own.graphml").write_text(text + "</graph></graphml>")
    chosen = f"{{kind: file, path: {graph}}}" if graph.startswith(".") else graph
    run = simulation(tmp_path, f"schedule={{kind: gossip, graph: {chosen}}}")
    schedule, away = run.server.schedule, set(range(12)) - set(run.learning.participants.tolist())
    assert isinstance(schedule, Gossip)
    assert len(away) == 3
    for client, peers in enumerate(schedule.neighbours):
        assert away.isdisjoint(peers)
        assert bool(peers) == (client not in away)
    if graph == "ring":
        assert {len(peers) for peers in schedule.neighbours} == {0, 2}


def test_shares_of_all_are_shares_of_those_that_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N of SCAFFOLD; what SAFA's cache is a mean over; what FLASH waits for; whose models pFedLA mixes."""
    populations, aggregate = list[int](), FedAvg.aggregate

    def noting(self: FedAvg, context: Context, server: State, arrivals: Arrivals) -> State:
        populations.append(arrivals.population)
        return aggregate(self, context, server, arrivals)

    monkeypatch.setattr(FedAvg, "aggregate", noting)
    simulation(tmp_path, "stop.aggregations=1").run()
    monkeypatch.undo()
    assert populations == [9]
    safa = simulation(tmp_path, f"schedule={SCHEDULE['safa']}").learning
    assert isinstance(safa, Federation)
    rule, newcomers = safa._context.rule, safa._context.task.unseen
    assert isinstance(rule, LagTolerant)
    assert (rule.samples[newcomers] == 0).all()
    assert np.count_nonzero(rule.samples) == 9
    mixing = simulation(tmp_path, "algorithm={name: pfedla, hidden: 8, embedding: 8}")
    mixing.run()
    world = mixing.learning
    assert isinstance(world, Federation)
    assert isinstance(world._algorithm, PFedLA)
    for client in world.participants.tolist():
        row = world._server[f"hyper/{client}"]["A"]
        assert not row[:, newcomers].any()
        assert row[:, world.participants].any()


def test_a_battery_of_a_newcomer_counts_for_nothing(tmp_path: Path) -> None:
    full = (
        "fleet.0.battery={capacity: 50 J, start: 100 %, drain: 0 W}",
        "fleet.1.battery={capacity: 50 J, start: 100 %, drain: 0 W}",
    )
    run = one(tmp_path, *full)
    spent_j = 9 * 50 - run.clients()["battery_j"].sum()
    assert spent_j > 0
    assert run.metrics()["battery_level"][-1] == pytest.approx(1 - spent_j / (9 * 50))


def test_an_estimate_dispatches_the_same_jobs(tmp_path: Path) -> None:
    trained, estimated = (
        one(tmp_path / name, *given) for name, given in (("a", []), ("b", ["execution.backend=none"]))
    )
    assert trained.events()["client"].tolist() == estimated.events()["client"].tolist()
    assert np.isnan(estimated.metrics()["accuracy_unseen"]).all()
    assert len(unseen(estimated)) == 3


def test_the_table_has_a_column_for_them(tmp_path: Path) -> None:
    results = ran(tmp_path, "sweep={task.unseen: [0, 25 %]}")
    table = summary_table(results)
    column = table.header.index("unseen")
    last = {run.variant: run.metrics()["accuracy_unseen"][-1] for run in results.runs}
    assert {row[0]: row[column] for row in table.rows} == {
        name: "–" if np.isnan(value) else f"{value:.3f}" for name, value in last.items()
    }
    assert "Unseen: accuracy of the clients that never train." in table.note
    assert "after a job" not in table.header  # which would change nothing


def test_a_job_of_their_own_gives_newcomers_what_others_have_trained_at_home(tmp_path: Path) -> None:
    """It costs nothing, leaves nothing behind, and of a model that all have in common nothing changes."""
    unlike = ("task.partition={kind: classes, per_client: 2}", "training.epochs=4", "stop.aggregations=20", ALL_AT_ONCE)
    plain, ditto = (one(tmp_path / name, f"algorithm={name}", *unlike) for name in ("fedavg", "ditto"))
    np.testing.assert_array_equal(plain.metrics()["accuracy_unseen"], plain.metrics()["accuracy_unseen_trained"])
    arriving, trained = (ditto.metrics()[name] for name in ("accuracy_unseen", "accuracy_unseen_trained"))
    assert (arriving == arriving[0]).all()  # the untrained model
    assert trained[-1] > arriving[-1] + 0.2
    assert set(ditto.events()["client"]).isdisjoint(unseen(ditto))
    table = summary_table(Results.read(ditto.path))
    assert table.rows[0][table.header.index("after a job")] == f"{trained[-1]:.3f}"
    assert "after a job: once each has trained at home." in table.note


def test_a_job_of_their_own_is_that_of_a_client_that_was_chosen(tmp_path: Path) -> None:
    """Of clients that are about to be chosen it leaves what their first jobs leave. One batch: the order of samples
    follows from a job's number."""
    whole = ("task.unseen=0", "training.batch_size=1000", "schedule={kind: sync, cohort: 12}", "stop.aggregations=1")
    given = ("algorithm=fedper", *whole)
    run = simulation(tmp_path, *given)
    world = run.learning
    assert isinstance(world, Federation)
    clients = [2, 5, 7]
    foreseen = world._backend.train([world._order(client) for client in clients])
    run.run()
    for client, before in zip(clients, foreseen, strict=True):
        after = world._state(client)
        assert after.keys() == before.state.keys()
        for group, tensors in after.items():
            for name, tensor in tensors.items():
                torch.testing.assert_close(tensor, before.state[group][name])


def test_among_peers_nobody_has_a_model_for_them(tmp_path: Path) -> None:
    run = one(tmp_path, "schedule={kind: gossip}", "stop.aggregations=4")
    arriving, trained = (run.metrics()[name] for name in ("accuracy_unseen", "accuracy_unseen_trained"))
    assert (arriving == arriving[0]).all()
    assert np.isnan(trained).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.unseen=3 %"], r"3 % of 12 clients, rounded, is nobody; write a share of at least one"),
        (["task.unseen=97 %"], r"97 % of 12 clients, rounded, is everybody; .* leaves at least one"),
        (["schedule.cohort=10"], r"10 of 9 clients that are not unseen; write at most 9, or .* less task.unseen"),
        (
            ["task.dataset=quadratic", "task.model=quadratic", "task.partition=iid"],
            r"unseen: quadratic problems have no",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario(tmp_path, *overrides)


def test_a_graph_that_falls_apart_without_them_is_refused(tmp_path: Path) -> None:
    """A star whose middle is unseen."""
    made = scenario(tmp_path)
    middle = int(scheduling._unseen(made)[0])
    rays = "".join(f'<edge source="{middle}" target="{i}"/>' for i in range(12) if i != middle)
    nodes = "".join(f'<node id="{i}"/>' for i in range(12))
    text = f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">{nodes}{rays}'
    (tmp_path / "star.graphml").write_text(text + "</graph></graphml>")
    with pytest.raises(ScenarioError, match="falls into 9 parts"):
        simulation(tmp_path, "schedule={kind: gossip, graph: {kind: file, path: star.graphml}}")
