"""Peers over real learning: what gossip makes of models, what it costs, and that a pause changes nothing."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from whole import assembled, begun, ended, written

from edgesim.engine.simulation import Simulation
from edgesim.errors import ScenarioError
from edgesim.execution.federation import Federation
from edgesim.execution.peers import PeerFederation
from edgesim.results.recorder import Recorder

SCENARIO = """
name: peers
task:
  dataset: {name: synthetic, samples: 240, features: 16, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 6
  model: {name: mlp, hidden: [12]}
training: {lr: 0.1, lr_decay: 0.9, batch_size: 1000}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home, variation: {compute: 0.5, link: 0.5}}]
schedule: {kind: gossip, graph: complete}
algorithm: {name: fedavg, weighting: uniform}
evaluate: {every: 1 aggregations}
stop: {aggregations: 3}
"""
ASYNC = "schedule={kind: gossip, graph: ring, mode: async}"


def simulated(folder: Path, *overrides: str) -> Simulation:
    return ended(begun(written(SCENARIO, folder), *overrides))


def models(simulation: Simulation) -> Sequence[Any]:
    learning = simulation.learning
    assert isinstance(learning, PeerFederation)
    return [learning._groups.of(client)["params"] for client in range(6)]


def test_gossip_on_a_complete_graph_is_the_mean_of_all(tmp_path: Path) -> None:
    """Every weight is 1/6: after each round all have what FedAvg's server has, when all take part and count alike."""
    gossip = simulated(tmp_path / "gossip")
    flat = simulated(tmp_path / "flat", "schedule={kind: sync, cohort: 6}")
    assert isinstance(flat.learning, Federation)
    for name, tensor in flat.learning._server["params"].items():
        for model in models(gossip):
            assert model[name].numpy() == pytest.approx(tensor.numpy(), abs=1e-6)
    assert gossip.last["accuracy"] == pytest.approx(flat.last["accuracy"], abs=1e-9)
    assert gossip.last["loss"] == pytest.approx(flat.last["loss"], rel=1e-5)


def test_everyone_sends_its_whole_model_to_each_neighbour(tmp_path: Path) -> None:
    run = simulated(tmp_path, "schedule={kind: gossip, graph: ring}")
    assert run.last["bytes_up"] == run.last["bytes_down"] == 3 * 6 * 2 * run.learning.model_bytes
    assert run.server.work.summary(run.now_ns)["device"] is None


def test_rounds_bring_the_models_of_a_ring_together(tmp_path: Path) -> None:
    """Without training, which a learning rate of nearly 0 comes to, mixing keeps the mean and shrinks the spread."""
    runs = [
        simulated(
            tmp_path / str(n),
            "schedule={kind: gossip, graph: ring}",
            f"stop.aggregations={n}",
            "training.lr_decay=1e-9",
        )
        for n in (1, 6)
    ]
    first, last = ([[model[name] for model in models(run)] for name in models(run)[0]] for run in runs)
    for before, after in zip(first, last, strict=True):
        start, end = (sum(m.double() for m in them) / 6 for them in (before, after))
        assert end.numpy() == pytest.approx(start.numpy(), abs=1e-6)
        far = [max(float((m - mean).abs().max()) for m in them) for them, mean in ((before, start), (after, end))]
        assert far[1] < 0.2 * far[0]  # the second eigenvalue of the ring of six is 2/3, and (2/3)^5 = 0.13


@pytest.mark.parametrize("algorithm", ["fedprox", "{name: dispfl, rounds: 3}"])
@pytest.mark.parametrize("mode", ["schedule={kind: gossip, graph: {kind: regular, degree: 3}}", ASYNC])
def test_an_estimate_takes_the_time_of_the_run(tmp_path: Path, algorithm: str, mode: str) -> None:
    settings = (mode, f"algorithm={algorithm}", "task.model={name: mlp, hidden: [64]}")
    run = simulated(tmp_path / "run", *settings)
    estimate = simulated(tmp_path / "estimate", *settings, "execution.backend=none")
    assert estimate.state()["recorder"]["events"] == run.state()["recorder"]["events"]
    assert run.version == 3


@pytest.mark.parametrize("algorithm", ["fedavg", "{name: dispfl, rounds: 5}"])
@pytest.mark.parametrize("mode", ["schedule={kind: gossip, graph: ring}", ASYNC])
def test_a_pause_anywhere_changes_nothing(tmp_path: Path, algorithm: str, mode: str) -> None:
    settings = (mode, f"algorithm={algorithm}", "training.batch_size=5", "stop.aggregations=5")
    whole = simulated(tmp_path / "whole", *settings)
    for instants in (1, 9, 25):
        path = written(SCENARIO, tmp_path / f"at-{instants}")
        broken = begun(path, *settings)
        left = iter(range(instants))
        broken.run(lambda _, left=left: next(left, None) is None, events=0)  # type: ignore[misc]
        state = copy.deepcopy(broken.state())
        Recorder.restore(path.parent / "run", state["recorder"])
        again = ended(assembled(path, *settings, state=state))
        assert again.state()["recorder"] == whole.state()["recorder"]


def test_a_client_s_learning_rate_decays_with_its_own_turns(tmp_path: Path) -> None:
    run = simulated(tmp_path, ASYNC, "stop.aggregations=12")
    turns: dict[int, set[int]] = {}
    for row in run.state()["recorder"]["events"]:
        turns.setdefault(row[1], set()).add(row[6])
    assert all(versions == set(range(len(versions))) for versions in turns.values())
    assert sum(max(versions) for versions in turns.values()) <= 2 * 12


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["algorithm=scaffold"], "scaffold needs a server, and under gossip there is none; take fedavg"),
        (["algorithm=fedspa"], "fedspa needs a server"),
        (["algorithm=heterofl"], "heterofl does not run under gossip: "),
        (["algorithm=dispfl", "schedule={kind: sync, cohort: 2}"], "dispfl does not run under sync: it has no server"),
        (["server.aggregator=median"], "server.aggregator: under gossip there is no server"),
        (["failures.transfer=resume"], "failures.transfer: resume has no meaning"),
        (["schedule.graph={kind: regular, degree: 6}"], "no graph of 6 clients has 6 neighbours for each"),
        (["schedule.graph={kind: erdos-renyi, probability: 0.05}"], r"it falls into \d parts"),
        (["schedule.graph=grid", "task.clients=7"], "a grid of 7 clients would be a single row"),
    ],
)
def test_what_makes_no_sense_without_a_server_is_refused(tmp_path: Path, overrides: list[str], what: str) -> None:
    with pytest.raises(ScenarioError, match=what):
        simulated(tmp_path, *overrides)


def test_a_graph_of_ones_own(tmp_path: Path) -> None:
    star = nx.star_graph(5)
    nx.write_graphml(star, tmp_path / "star.graphml")
    run = simulated(tmp_path, "schedule.graph={kind: file, path: star.graphml}", "stop.aggregations=1")
    assert run.last["bytes_up"] == 5 * 2 * run.learning.model_bytes
    nx.write_graphml(nx.star_graph(6), tmp_path / "star.graphml")
    with pytest.raises(ScenarioError, match="its nodes must be the clients 0 to 5; 6 is missing or too many"):
        simulated(tmp_path / "other", "schedule.graph={kind: file, path: ../star.graphml}")
