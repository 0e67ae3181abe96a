"""Plain SGD left to the kernel as a whole is what its steps one by one come to, for any sizes and in any company."""

from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from edgesim.algorithms.contract import Algorithm
from edgesim.learning import layered, masks, tree
from edgesim.learning.batches import Batch
from edgesim.learning.kernels import Autograd, Descending, Loop, kernel
from edgesim.learning.local import Order, local_update
from edgesim.learning.models import Model, make_model
from edgesim.learning.shards import Shards
from edgesim.learning.sparse_training import masked_step
from edgesim.learning.task import Task
from edgesim.learning.training import Learner, Training
from edgesim.learning.tree import Params, State


class StepByStep(Algorithm):
    """The same step, which nobody knows to be plain."""

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        return learner.descend(local, learner.gradient(local["params"], batch))


class Masked(Algorithm):
    """Under the mask that was sent."""

    def local_start(self, payload: State, client: State) -> State:
        return {"params": masks.apply(payload["mask"], payload["params"]), "mask": payload["mask"]}

    def local_run(self, local: State, learner: Learner) -> State:
        return learner.sgd(local)


class MaskedStepByStep(Masked):
    """The same, one step after the other."""

    def local_run(self, local: State, learner: Learner) -> State:
        return learner.run(local, masked_step)


@dataclass(frozen=True, kw_only=True)
class Bent(Algorithm):
    """By a solver that is pulled, shifted, and moves only some of the tensors."""

    pull: float
    only: tuple[str, ...] | None
    lr: float | None

    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        local = learner.sgd(dict(payload), pull=self.pull, only=self.only, lr=self.lr, steps=7)
        return self.local_end(payload, client, local, learner)


def bare_head(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Without biases, and two layers with nothing between them."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 7, bias=False), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, classes, bias=False)
    )


def model(name: str) -> Model:
    if name == "bare head":
        template = bare_head((1, 6, 6), 5).to("meta").requires_grad_(False)
        return Model(module=template, build=lambda: bare_head((1, 6, 6), 5), input_shape=(1, 6, 6), classes=5)
    params: dict[str, dict[str, object]] = {"mlp": {"hidden": [9, 5]}, "cnn": {"channels": [3, 4], "hidden": 8}}
    return make_model(name, params[name], input_shape=(1, 6, 6), classes=5, folder=Path())


MODELS = {name: model(name) for name in ("mlp", "bare head", "cnn")}
KINDS = [("mlp", "stacked"), ("bare head", "stacked"), ("mlp", "loop"), ("cnn", "loop")]


def world(name: str, sizes: list[int]) -> Task:
    rng, total = np.random.default_rng(1), sum(sizes)
    x = torch.from_numpy(rng.normal(size=(total, 1, 6, 6)).astype(np.float32))
    shards = Shards(index=rng.permutation(total), offset=np.cumsum([0, *sizes]))
    y = torch.from_numpy(rng.integers(0, 5, total))
    return Task(x=x, y=y, classes=5, train=shards, test=shards, model=MODELS[name])


def orders(task: Task, clients: list[int]) -> list[Order]:
    """Each client from a start of its own, at another version."""
    return [Order(10 + c, c, c % 3, {"params": task.model.init(c)}, {}) for c in clients]


def changes(
    task: Task, backend: str, training: Training, clients: list[int], algorithm: Algorithm | None = None
) -> list[Params]:
    by = kernel(task.model.module, backend)
    assert isinstance(by, Descending)
    results = local_update(algorithm or Algorithm(), task, training, by, 3, orders(task, clients))
    return [result.update["params"] for result in results]


@pytest.mark.parametrize(("name", "backend"), KINDS)
@settings(max_examples=15)
@given(
    sizes=st.lists(st.integers(1, 13), min_size=1, max_size=6),
    batch_size=st.integers(1, 9),
    epochs=st.integers(1, 3),
    lr_decay=st.sampled_from([1.0, 0.7]),
    weight_decay=st.sampled_from([0.0, 0.1, 10.0]),
)
def test_a_whole_run_is_its_steps_one_by_one(
    name: str, backend: str, sizes: list[int], batch_size: int, epochs: int, lr_decay: float, weight_decay: float
) -> None:
    task, everyone = world(name, sizes), list(range(len(sizes)))
    training = Training(
        lr=0.1, lr_decay=lr_decay, weight_decay=weight_decay, batch_size=batch_size, epochs=epochs
    )  # fmt: skip
    whole = changes(task, backend, training, everyone)
    assume(any(float(tensor.abs().max()) > 1e-4 for one in whole for tensor in one.values()))  # ReLUs may all be off
    for one, other in zip(whole, changes(task, backend, training, everyone, StepByStep()), strict=True):
        for name, tensor in other.items():
            torch.testing.assert_close(one[name], tensor, rtol=1e-3, atol=2e-6)


def trained_under_masks(
    task: Task, backend: str, clients: list[int], algorithm: Algorithm, *, shared: bool
) -> list[tuple[Params, Params]]:
    """What each client's model is after training, and its mask: of half the weights and of a bias; one for all, or each
    its own."""
    names = [name for name, shape in task.model.shapes.items() if len(shape) > 1]
    names += [name for name in task.model.shapes if name.endswith("bias")][-1:]

    def drawn(seed: int) -> Params:
        draw = torch.Generator().manual_seed(seed)
        return {name: torch.rand(task.model.shapes[name], generator=draw) < 0.5 for name in names}

    one, model = drawn(0), task.model.init(0)
    sent = [{"params": model, "mask": one if shared else drawn(client)} for client in clients]
    placed = [Order(client, client, 0, payload, {}) for client, payload in zip(clients, sent, strict=True)]
    results = local_update(algorithm, task, PLAIN, kernel(task.model.module, backend), 3, placed)
    trained = [tree.add(model, result.update["params"]) for result in results]
    return [(params, payload["mask"]) for params, payload in zip(trained, sent, strict=True)]


@pytest.mark.parametrize("shared", [True, False], ids=["one mask", "own masks"])
@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_a_whole_run_under_a_mask_is_its_steps_one_by_one(name: str, backend: str, shared: bool) -> None:
    task, everyone = world(name, SIZES), list(range(len(SIZES)))
    whole = trained_under_masks(task, backend, everyone, Masked(), shared=shared)
    steps = trained_under_masks(task, backend, everyone, MaskedStepByStep(), shared=shared)
    for (one, mask), (other, _) in zip(whole, steps, strict=True):
        for name, tensor in other.items():
            torch.testing.assert_close(one[name], tensor, rtol=1e-3, atol=2e-6)
        assert all(not one[name][~on].any() for name, on in mask.items() if on.dim() > 1)
    free, masked = changes(task, backend, PLAIN, everyone), [params for params, _ in whole]
    assert any(not torch.allclose(a[n], b[n], atol=1e-4) for a, b in zip(free, masked, strict=True) for n in a)


@pytest.mark.parametrize("shared", [True, False], ids=["one mask", "own masks"])
@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_company_changes_not_a_bit_under_a_mask(
    name: str, backend: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither who else trains, nor how many at once."""
    task = world(name, SIZES)
    together = trained_under_masks(task, backend, list(range(len(SIZES))), Masked(), shared=shared)
    monkeypatch.setattr(layered, "_TOGETHER", 1000)
    cut = trained_under_masks(task, backend, list(range(len(SIZES))), Masked(), shared=shared)
    some = dict(zip([5, 0, 3], trained_under_masks(task, backend, [5, 0, 3], Masked(), shared=shared), strict=True))
    for client, (expected, _) in enumerate(together):
        for got, _ in (cut[client], some.get(client, cut[client])):
            assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(("name", "backend"), KINDS)
@settings(max_examples=12)
@given(
    pull=st.sampled_from([0.0, 1.5]),
    shifted=st.sampled_from(["nothing", "all", "the last"]),
    masked=st.booleans(),
    moving=st.sampled_from(["all", "first", "last", "biases"]),
    lr=st.sampled_from([None, 0.02]),
    lr_decay=st.sampled_from([1.0, 0.7]),
    trained=st.booleans(),
)
def test_a_bent_run_is_its_steps_one_by_one_and_knows_no_company(
    name: str, backend: str, pull: float, shifted: str, masked: bool, moving: str, lr: float | None, lr_decay: float,
    trained: bool,
) -> None:  # fmt: skip
    task = world(name, SIZES)
    shapes = task.model.shapes
    draw, names = torch.Generator().manual_seed(1), list(shapes)

    def like(*some: str) -> Params:
        return {name: 0.1 * torch.randn(shapes[name], generator=draw) for name in some}

    chosen = {"all": None, "first": tuple(names[:1]), "last": tuple(names[-1:])}
    only = chosen.get(moving, tuple(name for name in names if name.endswith("bias")))
    of_shift = {"nothing": [], "all": names, "the last": names[-1:]}[shifted]
    anchor, sent = like(*names), []  # one anchor for all, and a shift and a mask of its own for each
    for client in range(len(SIZES)):
        mask = {names[0]: torch.rand(shapes[names[0]], generator=draw) < 0.5} if masked else {}
        params = masks.apply(mask, task.model.init(client))
        sent.append({"params": params, "anchor": anchor, "shift": like(*of_shift), "mask": mask})
    decay = 0.0 if pull else PLAIN.weight_decay
    training = replace(
        PLAIN, lr_decay=lr_decay, weight_decay=decay, trained=tuple(names[1:]) if trained else None
    )  # fmt: skip

    def run(*clients: int) -> list[Params]:
        placed = [Order(client, client, client % 3, sent[client], {}) for client in clients]
        by = kernel(task.model.module, backend)
        results = local_update(Bent(pull=pull, only=only, lr=lr), task, training, by, 3, placed)
        return [result.update["params"] for result in results]

    whole = run(*range(len(SIZES)))
    with mock.patch.object(Learner, "_descending", return_value=None):
        steps = run(*range(len(SIZES)))
    for one, other in zip(whole, steps, strict=True):
        for name, tensor in other.items():
            torch.testing.assert_close(one[name], tensor, rtol=2e-3, atol=3e-6)
            still = (only is not None and name not in only) or (trained and name == names[0])
            assert not (still and one[name].any())
    for client, one in zip([5, 0, 3], run(5, 0, 3), strict=True):
        assert all(torch.equal(whole[client][name], tensor) for name, tensor in one.items())


@pytest.mark.parametrize("backend", ["stacked", "loop"])
@pytest.mark.parametrize(
    ("sent", "only", "told"),
    [
        ({}, ("fc3.wieght",), "only: no tensor 'fc3.wieght'; did you mean fc3.weight"),
        ({"shift": {"head": torch.ones(5)}}, None, "shift: no tensor 'head'"),
        ({"mask": {"fc9.weight": torch.ones(5) > 0}}, None, "mask: no tensor 'fc9.weight'"),
        ({"anchor": None}, None, r"a pull wants local\["),
    ],
)
def test_names_of_tensors_are_checked(
    backend: str, sent: dict[str, Params | None], only: tuple[str, ...] | None, told: str
) -> None:
    task = world("mlp", SIZES)
    params = task.model.init(0)
    payload = {
        group: given for group, given in {"params": params, "anchor": params, **sent}.items() if given is not None
    }
    algorithm = Bent(pull=1.0, only=only, lr=None)
    with pytest.raises(ValueError, match=told):
        local_update(
            algorithm, task, PLAIN, kernel(task.model.module, backend), 3, [Order(0, 0, 0, payload, {})]
        )  # fmt: skip


@pytest.mark.parametrize("backend", ["stacked", "loop"])
def test_who_is_where_the_anchor_is_stays_there(backend: str) -> None:
    """Weights of features that are always 0 have no gradient: with a pull that is rounded they would drift."""
    task = world("mlp", SIZES)
    task.x[..., :3, :] = 0
    still = torch.zeros(36, dtype=torch.bool)
    still[:18] = True
    sent = {"params": task.model.init(0), "anchor": task.model.init(0)}
    placed = [Order(client, client, client % 3, sent, {}) for client in range(len(SIZES))]
    training = replace(PLAIN, weight_decay=0.0)
    algorithm = Bent(pull=0.013, only=None, lr=None)
    for result in local_update(algorithm, task, training, kernel(task.model.module, backend), 3, placed):
        moved = result.update["params"]["fc1.weight"]
        assert not moved[:, still].any()
        assert moved[:, ~still].any()


def test_a_head_alone_knows_no_company_whatever_the_sizes() -> None:
    """What is below it is the same in any company, too: 784-200-10, and shards of 1 to 20."""
    sizes = [*range(20, 0, -1), 20, 20, 3]
    large = make_model("mlp", {"hidden": [200]}, input_shape=(1, 28, 28), classes=10, folder=Path())
    rng, total = np.random.default_rng(1), sum(sizes)
    small = world("mlp", sizes)
    x = torch.from_numpy(rng.standard_normal((total, 1, 28, 28)).astype(np.float32))
    task = replace(small, x=x, y=small.y[:total], model=large)
    head = replace(PLAIN, trained=("fc2.weight", "fc2.bias"))
    together = changes(task, "stacked", head, list(range(len(sizes))))
    for clients in ([0], [19, 3], [4, 8, 15, 16, 22], list(range(7, 23))):
        for client, got in zip(clients, changes(task, "stacked", head, clients), strict=True):
            assert all(torch.equal(got[name], tensor) for name, tensor in together[client].items())


SIZES = [13, 1, 7, 8, 12, 3, 20, 1]
PLAIN = Training(lr=0.1, lr_decay=0.9, weight_decay=0.05, batch_size=5, epochs=2)


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_company_changes_not_a_bit(name: str, backend: str) -> None:
    task = world(name, SIZES)
    together = changes(task, backend, PLAIN, list(range(len(SIZES))))
    some = dict(zip([5, 0, 3], changes(task, backend, PLAIN, [5, 0, 3]), strict=True))
    for client, expected in enumerate(together):
        for got in (changes(task, backend, PLAIN, [client])[0], some.get(client, expected)):
            assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("weights", [1, 1000])
def test_how_many_descend_at_once_changes_not_a_bit(weights: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task, everyone = world("mlp", SIZES), list(range(len(SIZES)))
    whole = changes(task, "stacked", PLAIN, everyone)
    monkeypatch.setattr(layered, "_TOGETHER", weights)
    for one, other in zip(whole, changes(task, "stacked", PLAIN, everyone), strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_what_was_sent_is_not_changed(name: str, backend: str) -> None:
    """One tree for all, as servers send it."""
    task = world(name, SIZES)
    sent, data = task.model.init(0), task.x.clone()
    before = {name: tensor.clone() for name, tensor in sent.items()}
    placed = [Order(client, client, 0, {"params": sent}, {}) for client in range(len(SIZES))]
    local_update(Algorithm(), task, PLAIN, kernel(task.model.module, backend), 3, placed)
    assert torch.equal(task.x, data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in sent.items())


@pytest.mark.parametrize(
    "other",
    [{"momentum": 0.9}, {"weight_decay": 0.1}, {"clip": 0.5}, {"trained": ("fc1.weight",)}],
    ids=lambda other: next(iter(other)),
)
def test_a_rule_that_is_not_plain_keeps_its_terms(other: dict[str, object]) -> None:
    """Step by step and as a whole, by the kernel or by autograd, momentum and the like count."""
    task, everyone = world("mlp", SIZES), list(range(len(SIZES)))
    training = Training(lr=0.1, batch_size=5, epochs=2, **other)  # type: ignore[arg-type]
    ruled = changes(task, "stacked", training, everyone)
    oracle = Loop(Autograd(task.model.module))
    alone = local_update(Algorithm(), task, training, oracle, 3, orders(task, everyone))
    plain = changes(task, "stacked", Training(lr=0.1, batch_size=5, epochs=2), everyone)
    for one, result in zip(ruled, alone, strict=True):
        for name, tensor in result.update["params"].items():
            torch.testing.assert_close(one[name], tensor, rtol=1e-3, atol=2e-6)
    assert any(not torch.allclose(a[n], b[n], atol=1e-4) for a, b in zip(ruled, plain, strict=True) for n in a)
