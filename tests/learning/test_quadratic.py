"""Quadratic problems: closed forms against the rows they come from and against differences, by hand where small."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgesim.devices.arrays import FloatArray
from edgesim.errors import RunError, ScenarioError
from edgesim.learning import quadratic
from edgesim.learning.batches import Batch
from edgesim.learning.evaluation import evaluate
from edgesim.learning.kernels import kernel
from edgesim.learning.profile import profile_model
from edgesim.learning.quadratic import Problem, Quadratic, QuadraticKernel
from edgesim.learning.task import Task, make_task
from edgesim.learning.tree import Params


def task(setting: str = "comparison", clients: int = 3, seed: int = 0, **params: object) -> Task:
    chosen = {"setting": setting, "d_theta": 4, "d_w": 2, "rows": 30, **params}
    return make_task(dataset="quadratic", dataset_params=chosen, model="quadratic", clients=clients, seed=seed)


def batch(world: Task) -> Batch:
    return Batch(world.x.unsqueeze(1), world.y.unsqueeze(1), torch.ones(world.clients, 1))


def anywhere(world: Task) -> Params:
    generator = torch.Generator().manual_seed(1)
    shapes = world.model.shapes
    return {name: torch.randn(world.clients, *shape, generator=generator) for name, shape in shapes.items()}


def test_the_matrix_of_a_client_says_what_its_rows_say() -> None:
    """One θ, one w: H = (2), b = 3, A = (1), B = (4), y = 5 at θ = 1, w = 2:
    f = ½(2 − 3)² + ½(1 + 8 − 5)² = 8.5, ∇_θ = 2·(−1) + 1·4 = 2, ∇_w = 4·4 = 16, w* = (5 − 1)/4 = 1."""
    rows = torch.tensor([[2.0, 0.0, -3.0], [1.0, 4.0, -5.0]])
    one = Batch((rows.T @ rows)[None, None], torch.zeros(1, 1), torch.ones(1, 1))
    params = {"theta": torch.tensor([[[1.0]]]), "w": torch.tensor([[[2.0]]])}
    found = QuadraticKernel().gradient(params, one)
    assert QuadraticKernel().loss(params, one).tolist() == [8.5]
    assert [found["theta"].item(), found["w"].item()] == [2.0, 16.0]
    assert quadratic.solve(params, one).item() == pytest.approx(1.0)


def test_gradients_are_those_of_the_loss() -> None:
    world = task()
    params = {name: tensor.requires_grad_() for name, tensor in anywhere(world).items()}
    loss = QuadraticKernel().loss(params, batch(world)).sum()
    expected = torch.autograd.grad(loss, list(params.values()))
    found = QuadraticKernel().gradient(params, batch(world))
    for name, gradient in zip(params, expected, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


def test_the_measured_gradient_is_that_of_the_loss_minimised_in_w() -> None:
    """Envelope theorem: ∇F = ∇_θ f at w*; and the run's figure is the norm of the mean over clients."""
    world = task(zeta=1.0)
    params = anywhere(world)
    params["theta"] = params["theta"][:1].expand(3, -1, -1)
    solved = {**params, "w": quadratic.solve(params, batch(world))}
    expected = QuadraticKernel().gradient(solved, batch(world))
    assert float(expected["w"].abs().max()) < 1e-4
    _, gradient = quadratic.measure(world.x, params["theta"], params["w"])
    np.testing.assert_allclose(gradient, expected["theta"][:, :, 0].numpy(), rtol=1e-3, atol=1e-4)
    model = {name: tensor[0] for name, tensor in params.items()}
    summary = evaluate(world, kernel(world.model.module, "loop"), lambda clients: [model] * len(clients)).summary()
    assert summary["gradient_norm"] == pytest.approx(float(expected["theta"].mean(0).norm()), rel=1e-3)
    assert np.isnan([summary["accuracy"], summary["accuracy_worst10"], summary["accuracy_pooled"]]).all()


def test_the_measured_loss_is_each_clients_at_its_own_point_and_never_below_nothing() -> None:
    """Half of zᵀ S z, which rounding of S may take below 0."""
    world = task(zeta=1.0)
    params = anywhere(world)
    loss, _ = quadratic.measure(world.x, params["theta"], params["w"])
    np.testing.assert_allclose(loss, QuadraticKernel().loss(params, batch(world)).numpy(), rtol=1e-4)
    low, _ = quadratic.measure(-1e-9 * torch.eye(3)[None], torch.ones(1, 1, 1), torch.ones(1, 1, 1))
    assert low.tolist() == [0.0]


def test_one_theta_fits_all_clients_of_the_byzantine_setting_and_no_client_of_the_other() -> None:
    for setting, fits in (("byzantine", True), ("comparison", False)):
        world = task(setting, zeta=1.0)
        problem = world.x[:, [0, 1, 2, 3, -1]][:, :, [0, 1, 2, 3, -1]].double()
        across = world.x[:, [0, 1, 2, 3, -1]][:, :, 4:6].double()
        schur = problem - across @ torch.linalg.solve(world.x[:, 4:6, 4:6].double(), across.transpose(1, 2))
        best = torch.linalg.solve(schur[:, :4, :4].sum(0), -schur[:, :4, 4].sum(0))
        _, gradient = quadratic.measure(world.x, best.float().view(1, 4, 1).expand(3, 4, 1), torch.zeros(3, 2, 1))
        assert np.linalg.norm(gradient.mean(0)) < 1e-5
        assert (np.linalg.norm(gradient, axis=1).max() < 1e-5) == fits


def test_noise_has_mean_zero() -> None:
    """The published code draws a scalar of mean n: every target shifted by noise · n, and ‖noise‖² ≈ n · (noise n)²."""
    zero, noisy = (task(noise=noise, rows=400, clients=1).x[0, -1, -1] for noise in (0.0, 0.01))
    assert abs(float(noisy - zero)) < 2.0  # 2n · 0.01² = 0.08 and cross terms; the shift by 4 would add 12,800


def test_smoothness_is_the_largest_over_the_clients_and_gradient_steps_of_one_over_it_descend() -> None:
    world = task(zeta=3.0, clients=6)
    module = world.model.module
    assert isinstance(module, Quadratic)
    alone = [quadratic._client(Problem(setting="comparison", d_theta=4, d_w=2, rows=30, noise=1e-3, zeta=3.0), m, 0)
             for m in range(6)]  # fmt: skip
    assert module.smoothness == max(smooth for _, smooth, _ in alone)
    assert module.smoothness > alone[-1][1]


@pytest.mark.parametrize(("setting", "larger"), [("comparison", 1), ("async", 0)])
def test_smoothness_is_the_larger_of_its_two_bounds(setting: quadratic.Setting, larger: int) -> None:
    """‖Aᵀ (I − B B⁺) A‖_F, in which w has been minimised, and the largest eigenvalue of HᵀH; in w that of BᵀB."""
    problem = Problem(setting=setting, d_theta=4, d_w=2, rows=30, noise=0.0, zeta=3.0)
    (h, a, b), _ = quadratic._matrices(problem, 0, 0)
    bounds = np.linalg.norm(a.T @ (np.eye(30) - b @ np.linalg.pinv(b)) @ a), np.linalg.eigvalsh(h.T @ h).max()
    _, smooth, smooth_w = quadratic._client(problem, 0, 0)
    assert smooth == pytest.approx(max(bounds)) == pytest.approx(bounds[larger])
    assert smooth_w == pytest.approx(np.linalg.eigvalsh(b.T @ b).max())


def test_matrices_differ_between_clients_as_in_the_settings() -> None:
    """U[0, 1]/d; comparison adds ζ times a fresh one, async a matrix of norm ζ, of H of norm 1 (there the code has no
    ζ); byzantine has fresh ones."""

    def matrices(setting: quadratic.Setting, zeta: float, client: int = 1) -> list[FloatArray]:
        problem = Problem(setting=setting, d_theta=4, d_w=2, rows=30, noise=0.0, zeta=zeta)
        return quadratic._matrices(problem, client, 0)[0]

    base = matrices("comparison", 0.0)
    for one, other, d in zip(base, matrices("comparison", 0.0, client=2), (4, 4, 2), strict=True):
        assert np.array_equal(one, other)
        assert 0.9 < one.max() * d < 1
    for one, other, d in zip(matrices("comparison", 3.0), base, (4, 4, 2), strict=True):
        assert 0.9 < (one - other).max() * d / 3 < 1
    moved = [np.linalg.norm(one - other) for one, other in zip(matrices("async", 3.0), base, strict=True)]
    assert moved == pytest.approx([1, 3, 3])
    for one, other in zip(matrices("byzantine", 0.0), matrices("byzantine", 0.0, client=2), strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.4


@pytest.mark.parametrize(
    ("setting", "d_theta", "rows", "noise", "zeta"),
    [("comparison", 100, 1000, 1e-3, 0.0), ("byzantine", 100, 10_000, 0.0, 0.0), ("async", 400, 10_000, 1e-3, 10.0)],
)
def test_the_settings_are_the_published_ones(
    setting: quadratic.Setting, d_theta: int, rows: int, noise: float, zeta: float
) -> None:
    expected = Problem(setting=setting, d_theta=d_theta, d_w=50, rows=rows, noise=noise, zeta=zeta)
    assert quadratic.quadratic(None, setting=setting) == expected


def test_a_problem_follows_from_the_seed_and_from_no_other_client() -> None:
    assert torch.equal(task(clients=2).x, task(clients=5).x[:2])
    assert not torch.equal(task(seed=1).x, task(seed=0).x)
    assert not torch.equal(task("async").x[0], task("async").x[1])


def test_the_work_of_a_gradient_is_two_products_with_the_matrix() -> None:
    """Loss and gradient, each 2·7² FLOPs, shared out by the sizes of θ and w; the constant's column with them."""
    costs = profile_model(task().model)
    assert costs.names == ("theta", "w")
    assert costs.total_flops == pytest.approx(2 * 2 * 7 * 7)
    assert costs.training_flops.tolist() == pytest.approx([2 * 98 * 4 / 6, 2 * 98 * 2 / 6])


def test_what_makes_no_sense_is_refused_with_the_way_out() -> None:
    with pytest.raises(ScenarioError, match=r"task\.model: .*write quadratic for 'mlp'"):
        make_task(dataset="quadratic", model="mlp", clients=2, seed=0)
    with pytest.raises(ScenarioError, match=r"task\.dataset: .*write quadratic for 'digits'"):
        make_task(dataset="digits", model="quadratic", clients=2, seed=0)
    with pytest.raises(ScenarioError, match="leave out 'dirichlet'"):
        make_task(dataset="quadratic", model="quadratic", partition="dirichlet", clients=2, seed=0)
    with pytest.raises(ScenarioError, match="write rows: 4"):
        task(rows=1)
    with pytest.raises(RunError, match="predicts nothing"):
        QuadraticKernel().logits({}, torch.zeros(1))


def test_a_scenario_that_waits_for_an_accuracy_is_refused(tmp_path: Path) -> None:
    from edgesim.scenario.loading import load

    text = """\
name: quadratic
task: {dataset: quadratic, model: quadratic, clients: 2}
training: {lr: 0.1}
fleet: [{device: raspberry-pi-4, share: 1.0, link: wifi-home}]
schedule: {kind: sync, cohort: 2}
algorithm: ffgg
evaluate: {every: 10 aggregations}
stop: {aggregations: 10, accuracy: 0.9}
"""
    (tmp_path / "quadratic.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match="quadratic problems have no accuracy"):
        load(tmp_path / "quadratic.yaml", [])
    load(tmp_path / "quadratic.yaml", ["stop.accuracy=null"])
