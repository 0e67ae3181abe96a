"""Evaluation: each client's own model on its own test part."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgesim.learning import evaluation
from edgesim.learning.evaluation import Scores, evaluate, evaluate_shared
from edgesim.learning.kernels import kernel
from edgesim.learning.task import make_task
from edgesim.learning.tree import Params

TASK = make_task(
    dataset="digits", clients=7, partition="dirichlet", partition_params={"alpha": 0.5}, model="mlp", seed=0
)  # fmt: skip


def model(client: int) -> Params:
    return TASK.model.init(client)


def models(clients: Sequence[int]) -> list[Params]:
    return [model(client) for client in clients]


def alike(clients: Sequence[int]) -> list[Params]:
    """One model for all, but to each a copy of its own."""
    return [{name: tensor.clone() for name, tensor in model(0).items()} for _ in clients]


@pytest.mark.parametrize("backend", ["stacked", "loop"])
def test_every_client_is_scored_under_its_own_model_on_its_own_samples(backend: str) -> None:
    """Against the module itself, client by client; test parts are of unequal size."""
    scores = evaluate(TASK, kernel(TASK.model.module, backend), models)
    assert len(set(TASK.test.count)) > 1
    for client in range(7):
        module = TASK.model.build()
        module.load_state_dict(model(client))
        samples = torch.from_numpy(TASK.test.of(client))
        with torch.no_grad():
            logits = module(TASK.x[samples])
        assert scores.right[client] == int((logits.argmax(1) == TASK.y[samples]).sum())
        loss = F.cross_entropy(logits, TASK.y[samples], reduction="sum")
        assert scores.loss[client] == pytest.approx(float(loss), rel=1e-5)
    assert scores.samples.tolist() == TASK.test.count.tolist()


def test_a_model_that_all_share_is_scored_as_if_each_had_its_own() -> None:
    shared = model(0)
    together = evaluate(TASK, kernel(TASK.model.module, "stacked"), lambda clients: [shared] * len(clients))
    apart = evaluate(TASK, kernel(TASK.model.module, "stacked"), alike)
    assert together.right.tolist() == apart.right.tolist()
    np.testing.assert_allclose(together.loss, apart.loss, rtol=1e-5)


@pytest.mark.parametrize("at_once", [50, 10_000])
@pytest.mark.parametrize("backend", ["stacked", "loop"])
def test_one_model_for_all_is_scored_without_asking_each(
    backend: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = kernel(TASK.model.module, backend)
    apart = evaluate(TASK, by, alike)
    monkeypatch.setattr(evaluation, "_SAMPLES_AT_ONCE", at_once)
    one = evaluate_shared(TASK, by, model(0))
    assert len(TASK.test.index) > 50
    assert one.right.tolist() == apart.right.tolist()
    np.testing.assert_allclose(one.loss, apart.loss, rtol=1e-5)
    assert one.samples.tolist() == apart.samples.tolist()
    assert one.active.tolist() == apart.active.tolist()


def test_active_is_the_share_of_weights_that_are_not_zero() -> None:
    half = {name: tensor.clone() for name, tensor in model(0).items()}
    half["fc1.weight"].view(-1)[::2] = 0
    total = sum(tensor.numel() for tensor in half.values())
    own = [half if client == 3 else model(0) for client in range(7)]
    scores = evaluate(TASK, kernel(TASK.model.module, "stacked"), lambda clients: own[clients.start : clients.stop])
    assert scores.active[3] == pytest.approx(1 - 64 * 64 / 2 / total)
    assert scores.active[0] == 1.0


@pytest.mark.parametrize(
    ("accuracies", "worst"),
    [
        ([0.5], 0.5),
        ([0.2, 0.8, 0.6], 0.2),  # ⌈0.3⌉ = 1 client, where others take none and divide by zero
        ([0.1, 0.3, *[0.9] * 9], 0.2),  # ⌈1.1⌉ = 2 of 11
    ],
)
def test_the_worst_tenth_is_defined_for_any_number_of_clients(accuracies: list[float], worst: float) -> None:
    n = len(accuracies)
    right = np.round(np.array(accuracies) * 10).astype(np.int64)
    scores = Scores(right=right, loss=np.ones(n), samples=np.full(n, 10), active=np.ones(n))
    assert scores.summary()["accuracy_worst10"] == pytest.approx(worst)
    assert scores.summary()["accuracy"] == pytest.approx(np.mean(accuracies))
    assert scores.summary()["accuracy_std"] == pytest.approx(
        np.sqrt(np.mean((np.array(accuracies) - np.mean(accuracies)) ** 2))
    )
    assert scores.summary()["loss"] == pytest.approx(0.1)


def test_pooled_figures_count_every_sample_once_and_the_others_every_client() -> None:
    """1 of 2 right and 8 of 10: 9 of 12, where the mean over clients is 0.65; losses of 3 and 9 in all."""
    scores = Scores(
        right=np.array([1, 8]), loss=np.array([3.0, 9.0]), samples=np.array([2, 10]), active=np.array([1.0, 0.5])
    )
    found = scores.summary()
    assert (found["accuracy_pooled"], found["loss"], found["density"]) == (0.75, 1.0, 0.75)
    assert found["accuracy"] == pytest.approx(0.65)
    assert scores.of(np.array([False, True])).summary()["accuracy_pooled"] == 0.8
