"""`execution.device: cuda` without a card: refused where it must be; and with one made of labels, every algorithm."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled import CARD, Labelled, Labels
from torch import nn
from torch.utils._pytree import tree_leaves
from whole import begun, ended, written

from edgesim.algorithms import registry
from edgesim.engine.simulation import Simulation
from edgesim.errors import RunError, ScenarioError
from edgesim.execution import backend, card
from edgesim.execution.backend import InProcess, choose
from edgesim.execution.pool import Pool
from edgesim.learning.placement import HOST
from edgesim.scenario import progress, running
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.learning import make_learning
from edgesim.scenario.loading import load
from edgesim.scenario.progress import Interrupted
from edgesim.scenario.samples import SCHEDULES

SCENARIO = """
name: card
task:
  dataset: {name: synthetic, samples: 120, features: 16, classes: 4}
  partition: {kind: dirichlet, alpha: 0.5}
  clients: 6
  model: {name: mlp, hidden: [12]}
training: {lr: 0.05, batch_size: 5}
fleet: [{device: raspberry-pi-4, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 3}
algorithm: fedavg
evaluate: {every: 2 aggregations}
stop: {aggregations: 3}
execution: {device: cuda}
"""
MODEL = """
from torch import nn

def plain(shape, classes):
    layers = [nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, classes))

def normed(shape, classes):
    layers = [nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, classes))
"""


def simulated(folder: Path, *overrides: str) -> Simulation:
    path = written(SCENARIO, folder)
    (folder / "model.py").write_text(MODEL)
    return ended(begun(path, *overrides))


def seen(simulation: Simulation) -> Any:
    """All that is written of a run: events to the nanosecond, bytes, joules, accuracies."""
    return simulation.recorder.state()


def on(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `cuda` is there, and is this device."""
    monkeypatch.setattr(card, "check", lambda device: None)
    monkeypatch.setattr(card, "taken", lambda name: device)


def both(folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[Simulation, Simulation, Labels]:
    """The same run by the code for GPUs on the host, and on the card of labels."""
    on(HOST, monkeypatch)
    host = simulated(folder / "host", *overrides)
    on(CARD, monkeypatch)
    with Labels() as labels:
        return host, simulated(folder / "card", *overrides), labels


# Options that make device hooks take other ways than by default.
VARIANTS = [
    "{name: flash, mode: jmwst, density: 0.5, warm_up_epochs: 2}",
    "{name: flash, mode: nst, density: 0.5}",
    "{name: flash, mode: spdst, density: 0.5, budgets: positions, update_mode: masked, warm_up_epochs: 2}",
    "{name: fedspa, rounds: 5, regrow: random}",
    "{name: per-fedavg, order: hessian-free}",
    "{name: scaffold, control: gradient}",
    "{name: ffgg, fine_tune: cg, start: normal}",
    "{name: ffgg, local_steps: 2, gradient_batch: 3}",
    "{name: pfedla, retained: 1, upload_retained: false}",
    "{name: heterofl, masked_loss: false, rates: [1.0, 0.5]}",
    "{name: feddst, rounds: 20, settle_epochs: 0}",
    "{name: subfedavg, distance: 0.0, accuracy: 0.0}",
    "{name: lotteryfl, start_accuracy: 0.0}",
    "{name: prunefl, initial: none, readjust_every: 1}",
]


@pytest.mark.parametrize("algorithm", [*sorted(registry.names()), *VARIANTS])
def test_every_algorithm_keeps_to_the_device_that_it_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """No operation mixes devices, nothing is left on the card, and all that a run writes is the same."""
    name = algorithm.strip("{").partition("name: ")[2].partition(",")[0] or algorithm
    kind = "gossip" if "sync" in registry.find(name, Path()).refuses else "sync"
    overrides = [f"algorithm={algorithm}", f"schedule={json.dumps({'kind': kind, **SCHEDULES[kind]})}"]
    overrides += ["task.model=./model.py:normed"] if name == "fedbn" else []
    host, labelled, labels = both(tmp_path, monkeypatch, *overrides)
    assert_same(host, labelled, labels)


# What else meets the device: options of the local solver, other models and kernels, what stands around an algorithm.
WORLDS = [
    ["training={lr: 0.05, batch_size: 5, epochs: 2, lr_decay: 0.9, momentum: 0.9, weight_decay: 0.01, clip: 1.0}"],
    ["task.model=./model.py:plain"],
    ["task.model=./model.py:plain", "execution.backend=loop"],
    ["task.model={name: mlp, hidden: [12]}", "execution.backend=loop"],
    ["task.model=./model.py:normed", "algorithm=fedavg-ft"],
    [
        "task.dataset=digits",
        "task.model={name: cnn-bn, width: 0.05}",
        "training={lr: 0.1, batch_size: 500}",
        "algorithm=heterofl",
        "stop.aggregations=1",
    ],
    [
        "task.dataset=quadratic",
        "task.partition=iid",
        "task.model=quadratic",
        "algorithm={name: ffgg, fine_tune: exact}",
    ],
    ["selector=oort"],
    ["codec={name: top-k, share: 0.2}"],
    ["codec=qsgd", "algorithm={name: fedspa, rounds: 5}"],
    ["attackers={kind: alie, share: 0.34}"],
    ["schedule={kind: timelyfl, concurrency: 4, wait_for: 2}"],
]


@pytest.mark.parametrize("overrides", WORLDS, ids=[" ".join(world) for world in WORLDS])
def test_so_does_all_that_goes_with_an_algorithm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    assert_same(*both(tmp_path, monkeypatch, *overrides))


def assert_same(host: Simulation, labelled: Simulation, labels: Labels) -> None:
    np.testing.assert_equal(seen(labelled), seen(host))
    assert not any(isinstance(leaf, Labelled) for leaf in tree_leaves(labelled.state()))
    assert min(labels.moved.values()) > 0


def test_a_tensor_of_the_host_among_those_of_the_card_is_an_error() -> None:
    """As on a real card, or the tests above would prove nothing."""
    with Labels():
        there, here = torch.arange(6.0).view(2, 3).to(CARD), torch.ones(2, 3)
        assert torch.equal((there * 2 + torch.tensor(1.0)).cpu(), torch.tensor([[1.0, 3, 5], [7, 9, 11]]))
        assert torch.zeros_like(there).device == CARD
        place = there[0].long() % 2
        for mixed in (lambda: there + here, lambda: torch.stack([there, here]), lambda: here[place]):
            with pytest.raises(RuntimeError, match="expected all tensors on one device"):
                mixed()  # type: ignore[no-untyped-call]
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()


def test_events_on_the_card_are_those_of_the_cpu_and_accuracies_nearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other kernels round otherwise; no event hangs on that here."""
    cpu = simulated(tmp_path / "cpu", "execution.device=cpu")
    with monkeypatch.context() as patch, Labels():
        on(CARD, patch)
        there = simulated(tmp_path / "card")
    assert_close(cpu, there)
    assert (cpu.learning.backend, there.learning.backend) == ("stacked", "stacked on cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card here")
@pytest.mark.parametrize("overrides", [[], ["task.model=./model.py:plain"], ["task.model=./model.py:normed"]])
def test_so_are_they_on_a_real_one(tmp_path: Path, overrides: list[str], restored: None) -> None:
    cpu = simulated(tmp_path / "cpu", "execution.device=cpu", *overrides)
    first = simulated(tmp_path / "first", *overrides)
    assert_close(cpu, first)
    np.testing.assert_equal(seen(simulated(tmp_path / "again", *overrides)), seen(first))


def assert_close(cpu: Simulation, there: Simulation) -> None:
    ours, theirs = seen(cpu), seen(there)
    assert theirs["events"] == ours["events"]
    assert theirs["aggregations"] == ours["aggregations"]
    assert there.last["accuracy"] == pytest.approx(cpu.last["accuracy"], abs=0.05)
    assert there.last["loss"] == pytest.approx(cpu.last["loss"], rel=0.01)


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def restored() -> Iterator[None]:
    """What a card asks of torch is torch's for the whole process."""
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = False, True
    card.taken.cache_clear()


@pytest.mark.parametrize(
    ("cuda", "told"),
    [(None, r"was built for CPUs alone; write device: cpu, or install torch"), ("12.9", "finds no GPU; write device")],
)
def test_a_card_that_is_not_there_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, told: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(ScenarioError, match=f"execution.device: got cuda, but .*{told}"):
        simulated(tmp_path / "run")
    assert not (tmp_path / "run" / "run").exists()


def test_nor_is_a_card_beyond_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "H200")
    card.check("cuda:1")
    with pytest.raises(ScenarioError, match=r"got cuda:2, but there is only cuda:0 \(H200\), cuda:1 \(H200\)"):
        card.check("cuda:2")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("{device: gpu}", r"execution.device: got 'gpu'; write cpu, cuda, or cuda:1"),
        ("{device: 'cuda:01'}", "execution.device: got 'cuda:01'; write cpu"),
        ("{kind: ray, device: cuda}", "execution.device: a worker of the Ray cluster is lent no GPU; write gpus_per"),
        ("{kind: ray, device: 'cuda:1', gpus_per_worker: 1}", "execution.device: got 'cuda:1', but the Ray cluster"),
    ],
)
def test_a_device_that_no_machine_has_is_a_mistake_in_the_file(tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        simulated(tmp_path / "run", f"execution={override}")


def test_a_cluster_with_cards_needs_none_here(tmp_path: Path) -> None:
    """And evaluates here, on the CPU."""
    path = written(SCENARIO, tmp_path)
    (planned,) = load(path, ["execution={kind: ray, device: cuda, gpus_per_worker: 0.5}"]).scenarios
    learning: Any = make_learning(planned.scenario, tmp_path, make_fleet(planned.scenario, tmp_path))
    assert learning.backend == "stacked on cuda"
    assert learning._backend.placed.x.device == HOST
    assert 0 <= learning.evaluate()["accuracy"] <= 1


def test_an_estimate_needs_no_card(tmp_path: Path) -> None:
    assert simulated(tmp_path / "run", "execution.backend=none").version == 3


def test_a_run_begun_on_a_card_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a word in its own file, which its hash does not know of."""
    with monkeypatch.context() as patch:
        on(HOST, patch)
        patch.setattr(progress, "LOOK_EVERY_S", 0.0)
        (directory,) = running.prepare(load(written(SCENARIO, tmp_path)), tmp_path / "out", replace=False)
        with pytest.raises(Interrupted, match="stopped at"):
            running.run(directory, notify=lambda _: None, asked_to_stop=lambda: True)
    path = directory / "scenario.yaml"
    path.write_text(path.read_text().replace("device: cuda", "device: cpu"))
    running.run(directory, notify=lambda _: None, asked_to_stop=lambda: False)
    assert json.loads((directory / "summary.json").read_text())["backend"] == "stacked"


# ── how it computes ─────────────────────────────────────────────────────────────────────────────────────────
def test_the_card_is_left_to_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a CPU would be shared among several: one client at a time, four processes."""
    on(HOST, monkeypatch)
    path, made = written(SCENARIO, tmp_path), {}
    for device in ("cpu", "cuda"):
        overrides = ["execution.backend=loop", f"execution.device={device}"]
        (planned,) = load(path, overrides).scenarios
        learning: Any = make_learning(planned.scenario, tmp_path, make_fleet(planned.scenario, tmp_path), processes=4)
        made[device] = type(learning._backend)
    assert made == {"cpu": Pool, "cuda": InProcess}


def test_a_card_is_told_to_compute_the_same_again(monkeypatch: pytest.MonkeyPatch, restored: None) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(card, "check", lambda device: None)
    card.taken.cache_clear()
    assert card.taken("cuda:1") == torch.device("cuda:1")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(("clients", "told"), [(3, r"cohort: 1"), (1, "device: cpu")])
def test_a_cohort_too_large_for_the_card_says_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: int, told: str
) -> None:
    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB")

    on(HOST, monkeypatch)
    monkeypatch.setattr(backend, "local_update", full)
    said = rf"for the training of {clients} clients at once \(CUDA out of memory\); write execution\.{told}"
    with pytest.raises(RunError, match=said):
        simulated(tmp_path / "run", f"execution.cohort={clients}")


def test_data_too_large_for_the_card_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB")

    on(HOST, monkeypatch)
    monkeypatch.setattr(backend, "placed", full)
    with pytest.raises(RunError, match=r"too little memory for the data .*; write execution\.device: cpu"):
        simulated(tmp_path / "run")


@pytest.mark.parametrize(
    ("model", "cpu", "gpu"),
    [
        (nn.Linear(4, 2), "stacked", "stacked"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)), "loop", "stacked"),
        (nn.Embedding(4, 2), "loop", "stacked"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), "loop", "loop"),
    ],
)
def test_what_can_be_stacked_is_stacked_on_a_card(model: nn.Module, cpu: str, gpu: str) -> None:
    assert (choose(model, "auto"), choose(model, "auto", "cuda")) == (cpu, gpu)
    assert choose(model, "loop", "cuda") == "loop"
