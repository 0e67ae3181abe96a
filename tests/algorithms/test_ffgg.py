"""FFGG (arXiv:2305.18285): what a client does, what the server does, and what both cost."""

from dataclasses import replace

import pytest
import torch
from quadratics import module, problem, where
from toys import arrivals, bn_task, context, federation, play, task

from edgesim.algorithms.contract import Cadence, Client, Context
from edgesim.algorithms.ffgg import FFGG
from edgesim.errors import ScenarioError
from edgesim.execution.backend import BackendName
from edgesim.learning import quadratic
from edgesim.learning.batches import Batch
from edgesim.learning.quadratic import QuadraticKernel
from edgesim.learning.tree import Params

EXACT = FFGG(fine_tune="exact")


# ── what a client does ───────────────────────────────────────────────────────────────────────────────────────
def sent(algorithm: FFGG, setting: Context, backend: BackendName = "stacked") -> tuple[Params, Params, Params]:
    """What client 1 was sent, sends and keeps."""
    world = federation(algorithm, setting, backend)
    world.dispatch(0, 1, 0)
    order, (update, state) = world._training.result(0)
    return order.payload["params"], update["params"], state["personal"]


def test_what_is_sent_is_minus_the_gradient_at_the_fine_tuned_part() -> None:
    world = problem()
    theta, update, kept = sent(EXACT, where(world))
    batch = Batch(world.x[1:2, None], torch.zeros(1, 1), torch.ones(1, 1))
    at = {"theta": theta["theta"][None], "w": quadratic.solve({"theta": theta["theta"][None]}, batch)}
    torch.testing.assert_close(update["theta"], -QuadraticKernel().gradient(at, batch)["theta"][0])
    torch.testing.assert_close(kept["w"], at["w"][0])
    assert set(update) == {"theta"}


@pytest.mark.parametrize("start", ["warm", "zero", "normal"])
def test_as_many_conjugate_gradients_as_w_has_values_solve_exactly(start: str) -> None:
    exact = sent(EXACT, where(problem()))[2]["w"]
    conjugate = sent(FFGG(fine_tune="cg", tau=3, start=start), where(problem()))[2]["w"]  # type: ignore[arg-type]
    short = sent(FFGG(fine_tune="cg", tau=1, start=start), where(problem()))[2]["w"]  # type: ignore[arg-type]
    torch.testing.assert_close(conjugate, exact, rtol=1e-2, atol=1e-3)
    assert not torch.allclose(short, exact, rtol=1e-2, atol=1e-3)


def test_gradient_steps_approach_the_solution_and_a_warm_start_saves_them() -> None:
    exact = sent(EXACT, where(problem()))[2]["w"]
    errors = [float((sent(FFGG(tau=tau), where(problem()))[2]["w"] - exact).norm()) for tau in (1, 100, 1000)]
    assert errors[0] > errors[1] > errors[2]


def test_the_gradient_of_a_network_is_of_all_samples_at_the_tuned_head() -> None:
    """By torch itself, on the client's samples in one batch; the body was frozen while the head was tuned."""
    setting = context(task(8, alpha=0.3))
    body, update, head = sent(FFGG(tau=4), setting)
    params = {name: tensor.clone().requires_grad_() for name, tensor in (body | head).items()}
    samples = torch.from_numpy(setting.task.train.of(1))
    built = setting.task.model.build()
    logits = torch.func.functional_call(built, params, (setting.task.x[samples],))
    torch.nn.functional.cross_entropy(logits, setting.task.y[samples]).backward()  # type: ignore[no-untyped-call]
    for name, tensor in update.items():
        torch.testing.assert_close(tensor, -params[name].grad, rtol=1e-4, atol=1e-6)  # type: ignore[operator]
    assert not torch.equal(head["fc2.weight"], setting.task.model.init(0)["fc2.weight"])


def test_conjugate_gradients_fit_the_heads_of_a_network() -> None:
    setting = context(task(8, alpha=0.3))
    world = federation(FFGG(fine_tune="cg", tau=3), setting)
    play(world, 6)
    assert world.evaluate()["accuracy"] > 0.8


@pytest.mark.parametrize(
    "algorithm",
    [FFGG(), FFGG(start="normal", gradient_batch=7), FFGG(local_steps=3), FFGG(fine_tune="cg", start="zero", tau=2)],
    ids=["gd", "normal", "local", "cg"],
)
def test_a_cohort_trains_as_one_client_at_a_time(algorithm: FFGG) -> None:
    setting = context(task(8, alpha=0.3))
    backends: tuple[BackendName, ...] = ("stacked", "loop")
    results = []
    for backend in backends:
        world = federation(algorithm, setting, backend)
        for client in range(8):
            world.dispatch(client, client, 0)
        results.append([world._training.result(client)[1] for client in range(8)])
    for one, other in zip(*results, strict=True):
        for mine, theirs in (
            (one.update["params"], other.update["params"]),
            (one.state["personal"], other.state["personal"]),
        ):
            for name, tensor in mine.items():  # differences of gradients magnify rounding
                assert float((tensor - theirs[name]).norm()) < 1e-2 * float(tensor.norm())


# ── the server, and what it costs ────────────────────────────────────────────────────────────────────────────
def test_stale_gradients_are_shortened_when_the_step_adapts() -> None:
    """n = 4 at work, staleness 2, 4 and 16: lr · 4/max(4, τ) = 1, 1 and ¼ of lr; plain mean of three gradients −1:
    θ = 0.3 · (1 + 1 + ¼)/3 = 0.225, against 0.3."""
    setting = replace(where(problem()), cadence=Cadence(kind="buffered", concurrency=4, updates=1))
    three = arrivals({"params": {"theta": [[1.0]] * 3}}, samples=[1, 5, 9], staleness=[2, 4, 16])
    server = {"params": {"theta": torch.zeros(1), "w": torch.zeros(1)}}
    for step, expected in (("delay-adaptive", 0.225), ("constant", 0.3)):
        algorithm = FFGG(lr_out=0.3, step=step)  # type: ignore[arg-type]
        assert algorithm.aggregate(setting, server, three)["params"]["theta"].item() == pytest.approx(expected)


def test_by_default_quadratic_steps_are_one_over_the_smoothness_and_the_delay() -> None:
    setting = where(problem())
    smooth = module(setting.task).smoothness
    one = arrivals({"params": {"theta": [[1.0]]}}, samples=[1])
    server = {"params": {"theta": torch.zeros(1), "w": torch.zeros(1)}}
    tiers = Cadence(kind="tiered", concurrency=6, updates=2, late=False)
    for cadence, delay in ((Cadence(), 1), (Cadence(kind="buffered", concurrency=6, updates=2), 3), (tiers, 1)):
        moved = FFGG().aggregate(replace(setting, cadence=cadence), server, one)["params"]["theta"]
        assert moved.item() == pytest.approx(1 / (smooth * delay))


def test_one_gradient_of_the_shared_part_is_all_that_travels() -> None:
    """Digits, 64-16-10: 1,040 values down and up, a byte a tensor and one for their number; §3.6: dθ values."""
    for setting, values, tensors in ((context(), 1040, 2), (where(problem()), 6, 1)):
        for algorithm in (FFGG(), FFGG(local_steps=5), FFGG(start="zero")):
            client = Client(0, 20, algorithm.init_client(setting, 0))
            payload = algorithm.download(setting, algorithm.init_server(setting), client)
            assert payload.size_bytes == algorithm.upload_bytes(setting, payload, client) == 4 * values + tensors + 1


def test_work_is_head_steps_on_kept_features_and_one_gradient_of_the_body() -> None:
    """20 samples, batches of 5, τ = 10. The body once a sample; 50 samples of the head, forward and weight gradient;
    then 20 of the whole, forward, back through the head, and the body's weights. A batch of 8 is 8 of them."""
    body, head, setting = 2 * 1024, 2 * 160, context()

    def flops(algorithm: FFGG) -> float:
        client = Client(0, 20, algorithm.init_client(setting, 0))
        payload = algorithm.download(setting, algorithm.init_server(setting), client)
        return algorithm.workload(setting, payload, client).flops

    tuned, gradient = 20 * body + 50 * 2 * head, 2 * body + 2 * head
    assert flops(FFGG()) == tuned + 20 * gradient
    assert flops(FFGG(gradient_batch=8)) == tuned + 8 * gradient
    assert flops(FFGG(local_steps=6)) == tuned + 30 * gradient
    assert flops(FFGG(fine_tune="cg", tau=3)) == 20 * body + 9 * 20 * 2 * head + 20 * gradient
    assert flops(FFGG(personal="input")) == 50 * (2 * body + 2 * head) + 20 * (body + 2 * head)


def test_what_makes_no_sense_is_refused_with_the_way_out() -> None:
    with pytest.raises(ScenarioError, match=r"only quadratic problems .*; write gd, or cg"):
        EXACT.check(context())
    with pytest.raises(ScenarioError, match=r"norm1\.running_mean.* write personal: norm"):
        FFGG().check(context(bn_task()))
    with pytest.raises(ScenarioError, match="write start: warm"):
        FFGG(personal="norm", start="zero").check(context(bn_task()))
    with pytest.raises(ScenarioError, match=r"with local_steps .*; write training\.lr: 0\.3, or local_steps: 0"):
        FFGG(local_steps=2, lr_out=0.3).check(context())
    with pytest.raises(ScenarioError, match=r"delay-adaptive is of gradients.* write schedule\.staleness"):
        FFGG(local_steps=2, step="delay-adaptive").check(context())
    FFGG(personal="norm").check(context(bn_task()))
    EXACT.check(where(problem()))
