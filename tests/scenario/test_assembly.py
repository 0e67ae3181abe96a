"""Whole runs from scenario files, in this process: laws that tie schedules, costs and the user's own code together."""

import gc
import weakref
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from whole import written

import edgesim
from edgesim import devices
from edgesim.engine.ledger import Ledger
from edgesim.errors import ScenarioError
from edgesim.execution.federation import Federation
from edgesim.results.store import Run

BASE = """
name: small
task: {dataset: digits, clients: 12, model: {name: mlp, hidden: [16]}, partition: {kind: dirichlet, alpha: 0.5}}
training: {lr: 0.1, batch_size: 10}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 12}
algorithm: fedavg
evaluate: {every: 1 aggregation}
stop: {aggregations: 4}
"""


def one(folder: Path, *overrides: str, name: str = "out") -> Run:
    (run,) = edgesim.run(written(BASE, folder), out=folder / name, overrides=overrides).runs
    assert run.finished
    return run


def test_a_full_buffer_of_equal_clients_learns_what_synchronous_fedavg_learns(tmp_path: Path) -> None:
    """buffer = concurrency = all, equal speeds, no staleness weight: the same rounds, times and accuracies.
    Equal speeds need equal shares of data: iid over 12 clients leaves 112 or 113 training samples each, so take
    a size that divides."""
    even = ["task.partition=iid", "task.dataset={name: synthetic, samples: 480, features: 20, classes: 4}"]
    sync = one(tmp_path, *even, name="sync")
    buffered = one(tmp_path, *even, "schedule={kind: buffered, concurrency: 12, buffer: 12}", name="buffered")
    a, b = sync.metrics(), buffered.metrics()
    assert len(a["time_s"]) == 5
    for column in ("time_s", "version", "updates", "bytes_up", "jobs_aggregated"):
        assert a[column].tolist() == b[column].tolist()
    np.testing.assert_allclose(a["accuracy"], b["accuracy"], atol=1e-6)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


def test_halving_the_density_lowers_transfer_time_energy_work_and_memory(tmp_path: Path) -> None:
    fedspa = "algorithm={{name: fedspa, masking: rsm, density: {}}}"
    dense, sparse = (
        one(tmp_path, fedspa.format(density), "costs.sparse_speedup=ideal", name=str(density)) for density in (0.8, 0.4)
    )

    def per_job(run: Run, column: str) -> float:
        clients = run.clients()
        return float(clients[column].sum() / clients["jobs_dispatched"].sum())

    for column in ("bytes_up", "bytes_down", "upload_s", "download_s", "flops", "energy_j"):
        assert per_job(sparse, column) < per_job(dense, column), column
    assert (sparse.clients()["memory_bytes"] < dense.clients()["memory_bytes"]).all()


def test_memory_is_that_of_the_jobs_that_a_client_was_given(tmp_path: Path) -> None:
    """mlp of 16 units on digits, N = 1,210 values and a = 64 + 16 + 16 + 10 activations: weights and gradients take
    8 N, a batch's activations with their gradients 8 a each; small clients have small batches; no job, no memory."""
    clients = one(tmp_path, "task.partition={kind: quantity, alpha: 0.1}", "schedule.cohort=4").clients()
    batch = np.minimum(10, clients["samples"])
    assert batch.min() < 10
    wanted = np.where(clients["jobs_dispatched"] > 0, 8 * 1210 + 8 * 106 * batch, 0)
    assert clients["memory_bytes"].tolist() == wanted.tolist()


def test_of_jobs_that_need_more_and_less_the_most_is_kept_one_by_one_or_together() -> None:
    known = np.random.default_rng(0)
    by_one, at_once = Ledger(40), Ledger(40)
    for _ in range(5):
        clients, memory = known.permutation(40)[:30].tolist(), known.integers(1, 100, 30).tolist()
        at_once.need(clients, memory)
        for client, wanted in zip(clients, memory, strict=True):
            by_one.need([client], [wanted])
    assert by_one.memory_bytes.tolist() == at_once.memory_bytes.tolist()
    again = Ledger(40)
    again.restore(by_one.state())
    assert again.memory_bytes.tolist() == by_one.memory_bytes.tolist()
    assert again.memory_bytes.max() > 90


WIRED_AND_NOT = (
    "fleet=[{name: wired, device: raspberry-pi-4, share: 0.5, link: ethernet}, "
    "{device: raspberry-pi-4, share: 0.5, link: lte}]"
)


def test_one_device_on_two_links_is_told_apart_by_a_name(tmp_path: Path) -> None:
    """In results, and where devices are put behind gateways."""
    behind = (
        "network={sharing: max-min, topology: {kind: tree, gateways: 2, gateway_down: 1 Mbit/s, gateway_up: %s, %s}}"
    )
    near = "placement: {wired: [gateway-0], raspberry-pi-4: [gateway-1]}"
    run = one(tmp_path, WIRED_AND_NOT, behind % ("1 Mbit/s", near))
    classes, up_s = run.clients()["device_class"], run.clients()["upload_s"]
    assert np.unique(classes, return_counts=True)[0].tolist() == ["raspberry-pi-4", "wired"]
    assert run.summary is not None
    assert {name: of["clients"] for name, of in run.summary["by_device_class"].items()} == {
        "wired": 6, "raspberry-pi-4": 6,
    }  # fmt: skip
    crowded = one(tmp_path, WIRED_AND_NOT, behind % ("1 Mbit/s", "placement: {wired: [gateway-0]}"), name="crowded")
    assert crowded.clients()["upload_s"][classes == "wired"].sum() > up_s[classes == "wired"].sum()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("{device: raspberry-pi-4, share: 0.5, link: lte}, {device: mine.yaml, share: 0.5, link: lte}",
         "fleet.1.device: the devices of an earlier entry are called 'raspberry-pi-4', too, and have other figures; "
         "give this one a name of its own, e.g. name: my-raspberry-pi-4, to tell them apart by"),
        ("{name: a, device: raspberry-pi-4, share: 0.5, link: lte}, {name: a, device: pixel-4, share: 0.5, link: lte}",
         "fleet.1.name: the devices of an earlier entry are called 'a', too, and have other figures"),
        ("{name: My Pi, device: raspberry-pi-4, share: 1, link: lte}", "fleet.0.name: got 'My Pi'; write lower-case"),
    ],
    ids=["a copy of the catalogue's", "two of a name", "no name"],
)  # fmt: skip
def test_unlike_devices_of_one_name_are_refused(tmp_path: Path, entries: str, message: str) -> None:
    profile = (Path(devices.__file__).parent / "raspberry-pi-4.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(profile.replace("9 GFLOP/s\n", "12 GFLOP/s\n", 1))
    with pytest.raises(ScenarioError, match=message):
        one(tmp_path, f"fleet=[{entries}]")


def test_every_client_second_and_joule_is_accounted_for(tmp_path: Path) -> None:
    run = one(
        tmp_path, "fleet=[{device: phone-low, share: 1, link: lte, availability: {kind: markov, on: 3 s, off: 2 s}}]",
        "stop={time: 20 s}", "evaluate.every=4 s",
    )  # fmt: skip
    clients, metrics = run.clients(), run.metrics()
    parts = sum(clients[f"{part}_s"] for part in ("download", "train", "upload", "idle", "off"))
    np.testing.assert_allclose(parts, 20.0, rtol=1e-12)
    assert clients["energy_j"].sum() == pytest.approx(metrics["energy_j"][-1])
    assert clients["off_s"].min() > 0
    assert metrics["jobs_lost"][-1] > 0
    events = run.events()
    assert events["energy_j"].sum() == pytest.approx(metrics["energy_j"][-1])
    assert events["bytes"].sum() == metrics["bytes_down"][-1] + metrics["bytes_up"][-1]
    lost = np.isin(events["job"], events["job"][events["outcome"] == "lost"])
    assert events["energy_j"][lost].sum() == pytest.approx(metrics["wasted_j"][-1])


def test_one_file_adds_an_algorithm_and_a_model(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        dedent(
            '''
            from dataclasses import dataclass
            from typing import Annotated

            from annotated_types import Gt
            from torch import nn

            from edgesim.algorithms.contract import Algorithm
            from edgesim.learning import tree


            @dataclass(frozen=True, kw_only=True)
            class Half(Algorithm):
                """Takes a share of the mean update."""

                step: Annotated[float, Gt(0)] = 0.5

                def aggregate(self, context, server, arrivals):
                    mean = {name: rows.mean(0) for name, rows in arrivals.update["params"].items()}
                    return {"params": tree.add(server["params"], tree.scale(self.step, mean))}


            def net(input_shape, classes, width=8):
                return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, classes))
            '''
        )
    )
    run = one(tmp_path, "algorithm={name: ./mine.py:Half, step: 0.9}", "task.model={name: ./mine.py:net, width: 12}")
    assert run.metrics()["accuracy"][-1] > run.metrics()["accuracy"][0] + 0.2
    assert run.summary is not None
    assert run.summary["backend"] == "stacked"


def test_a_mistake_that_only_the_data_shows_stops_before_anything_runs(tmp_path: Path) -> None:
    """digits has ten classes; eleven for a client cannot be."""
    with pytest.raises(ScenarioError, match=r"task\.partition .*11"):
        one(tmp_path, "task.partition={kind: classes, per_client: 11}")
    assert not (tmp_path / "out").exists()


HOLDERS = "takes whole vectors, and this algorithm divides each weight among those that hold it; "


@pytest.mark.parametrize(
    ("algorithm", "given", "told"),
    [
        ("subfedavg", "server.aggregator=median", f"aggregator: Median {HOLDERS}write aggregator: mean"),
        ("lotteryfl", "server.before={name: bucketing, size: 2}", f"before: Bucketing {HOLDERS}leave it out"),
        ("feddst", "server.aggregator=krum", f"aggregator: Krum {HOLDERS}write aggregator: mean"),
        ("heterofl", "server.rule=ca2fl", "rule: ca2fl divides by all updates"),
        ("fjord", "server.aggregator=median", f"aggregator: Median {HOLDERS}write aggregator: mean"),
        ("{name: fedspa, divisor: holders}", "server.rule=ca2fl", "rule: ca2fl divides by all updates"),
        ("{name: flash, update_mode: masked}", "server.aggregator=median", f"aggregator: Median {HOLDERS}write"),
        ("local", "codec=qsgd", "codec: LocalOnly sends no update of a model; leave codec out"),
    ],
)
def test_what_the_algorithm_cannot_be_merged_with_stops_before_anything_runs(
    tmp_path: Path, algorithm: str, given: str, told: str
) -> None:
    with pytest.raises(ScenarioError) as error:
        one(tmp_path, f"algorithm={algorithm}", given)
    assert told in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "algorithm", ["fedspa", "{name: flash, density: 0.5}", "{name: heterofl, rates: [1], masked_loss: false}", "zerofl"]
)
def test_what_divides_by_all_updates_goes_with_any_aggregator(tmp_path: Path, algorithm: str) -> None:
    assert one(tmp_path, f"algorithm={algorithm}", "server.aggregator=median", "stop.aggregations=1").finished


def test_stops_come_whichever_is_first(tmp_path: Path) -> None:
    for stop, why in (
        ("{updates: 20, aggregations: 100}", "updates"),
        ("{energy: 5 J, aggregations: 100}", "energy"),
        ("{bytes: 200 kB, aggregations: 100}", "bytes"),
        ("{accuracy: 0.6, aggregations: 100}", "accuracy"),
        ("{time: 1 s, aggregations: 1000}", "time"),
    ):
        run = one(tmp_path, f"stop={stop}", name=why)
        assert run.summary is not None
        assert run.summary["stopped_by"] == why
    assert run.metrics()["time_s"][-1] == 1.0


@pytest.mark.parametrize("algorithm", ["fedavg", "fedspa", "pfedla"])
def test_runs_and_checks_that_are_over_leave_nothing_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """The collector may be long in coming: it counts objects, and a model is few of them."""
    made: list[weakref.ref[Federation]] = []
    begin = Federation.__init__

    def watched(self: Federation, *args: Any) -> None:
        begin(self, *args)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Federation, "__init__", watched)
    gc.disable()
    try:
        edgesim.run(written(BASE, tmp_path), out=tmp_path / "out", overrides=[f"sweep.algorithm=[{algorithm}, local]"])
    finally:
        gc.enable()
    assert len(made) == 4  # two checks, two runs
    assert not any(federation() for federation in made)


PHONES = (
    "fleet=[{device: pixel-6, share: 1, region: DEU, link: lte, availability: {kind: markov, on: 400 ms, off: 200 ms}, "
    "battery: {capacity: 2 kJ, start: 0.9, charger: 0 W}}]",
    "costs.carbon=national", "stop={time: 4 s}", "evaluate.every=150 ms",
)  # fmt: skip


@pytest.mark.parametrize(
    "chosen",
    [
        ("schedule={kind: buffered, concurrency: 8, buffer: 3}", "network={sharing: max-min, server_down: 1 Mbit/s}",
         "failures={transfer: resume, training: resume}", "task.model.hidden=[300]"),
        ("schedule={kind: gossip, graph: {kind: regular, degree: 4}, mode: async}", "failures={training: resume}"),
        ("schedule={kind: gossip, graph: {kind: regular, degree: 4}, mode: sync}", "failures={training: resume}"),
        ("schedule={kind: hierarchical, edges: 3, edge: {kind: periodic, concurrency: 3, every: 200 ms, rounds: 3}, "
         "cloud: sync, link: {down: 10 Mbit/s, up: 5 Mbit/s, latency: 10 ms}}", "stop={updates: 50}",
         "evaluate.every=200 ms"),
        ("schedule={kind: async, concurrency: 8, max_staleness: 6}", "failures={transfer: resume, training: resume}"),
    ],
    ids=["shared network", "gossip", "gossip in rounds", "edges", "too stale"],
)  # fmt: skip
def test_the_last_row_of_metrics_is_what_the_clients_have_spent(tmp_path: Path, chosen: tuple[str, ...]) -> None:
    run = one(tmp_path, *PHONES, *chosen)
    clients, last = run.clients(), {name: column[-1] for name, column in run.metrics().items()}
    for column in ("energy_j", "carbon_g", "bytes_up", "bytes_down", "jobs_aggregated"):
        assert clients[column].sum() == pytest.approx(last[column], rel=1e-12), column
    assert clients["jobs_lost"].sum() == last["jobs_lost"] + last["jobs_discarded"]
    assert last["jobs_discarded"] > 0 or "max_staleness" not in chosen[0]
    assert clients["battery_j"].mean() / 2000 == pytest.approx(last["battery_level"], rel=1e-12)
    assert last["updates"] == last["jobs_aggregated"]


def test_jobs_in_flight_are_those_of_the_metrics(tmp_path: Path) -> None:
    run = one(
        tmp_path, *PHONES, "schedule={kind: gossip, graph: {kind: regular, degree: 4}, mode: async}",
        "failures={training: resume}", "evaluate.every=10 ms",
    )  # fmt: skip
    in_flight = run.metrics()["jobs_in_flight"]
    assert run.analysis()["concurrency"]["all"]["jobs"] == pytest.approx(in_flight.mean(), rel=0.02)
