"""FFGG (arXiv:2305.18285): it reaches a stationary point where others stall; one gradient up; what that costs."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from test_partial import bn_task
from toys import arrivals, context, federation, task

import edgesim
from edgesim.algorithms.aggregators import Bucketing, Median
from edgesim.algorithms.contract import Algorithm, Cadence, Client, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.ffgg import FFGG
from edgesim.algorithms.l2gd import L2GD
from edgesim.algorithms.rules import Average
from edgesim.algorithms.scaffold import Scaffold
from edgesim.engine.learning import Received
from edgesim.errors import ScenarioError
from edgesim.execution.attackers import Attackers
from edgesim.execution.backend import BackendName, in_process
from edgesim.execution.federation import Federation
from edgesim.execution.store import ClientStore
from edgesim.learning import quadratic
from edgesim.learning.attacks import SignFlip
from edgesim.learning.batches import Batch
from edgesim.learning.quadratic import QuadraticKernel
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import Params

HOSTILE = 5  # of 21: 24 %, as ⌊32/3⌋ added to 32
STALLED = 1e-3
EXACT = FFGG(fine_tune="exact")


@cache
def problem(clients: int = 8, setting: str = "byzantine", zeta: float = 0.0) -> Task:
    params = {"setting": setting, "d_theta": 6, "d_w": 3, "rows": 60, "zeta": zeta}
    return make_task(dataset="quadratic", dataset_params=params, model="quadratic", clients=clients, seed=0)


def where(world: Task, epochs: int = 10) -> Context:
    """Ten local steps, so short that joint training of θ and w descends."""
    module = world.model.module
    lr = 1 / (module.smoothness + module.smoothness_w)  # type: ignore[operator]
    return context(world, Training(lr=lr, batch_size=1, epochs=epochs))


def stationarity(algorithm: Algorithm, setting: Context, rounds: int, cohort: int, hostile: int = 0) -> float:
    """‖∇F(θ)‖ after so many synchronous rounds of `cohort` clients; the last `hostile` flip what they send."""
    clients = setting.task.clients
    work = in_process("stacked", algorithm, setting.task, setting.training, seed=0, cohort=128)
    attackers = Attackers(SignFlip(), torch.arange(clients).ge(clients - hostile).numpy(), 0) if hostile else None
    world = Federation(algorithm, setting, work, ClientStore(), attackers)
    for number in range(rounds):
        jobs = [(number * cohort + i, (number * cohort + i) % clients) for i in range(cohort)]
        for job, client in jobs:
            world.dispatch(job, client, number)
        for job, client in jobs:
            world._training.result(job)
            world.arrive(job, client)
        world.aggregate([Received(job, client, 0, 1.0) for job, client in jobs])
    return world.evaluate()["gradient_norm"]


# ── where others stall ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("fine_tune", ["exact", "gd", "cg"])
def test_some_clients_a_round_are_enough_where_one_theta_fits_all(fine_tune: str) -> None:
    algorithm = FFGG(fine_tune=fine_tune)  # type: ignore[arg-type]
    assert stationarity(algorithm, where(problem()), rounds=150, cohort=2) < STALLED / 10


@pytest.mark.parametrize("algorithm", [FedAvg(), Scaffold(), L2GD()], ids=lambda algorithm: type(algorithm).__name__)
def test_others_stall_there_since_they_share_w_or_wander(algorithm: Algorithm) -> None:
    assert stationarity(algorithm, where(problem()), rounds=150, cohort=2) > 3 * STALLED


def test_with_all_clients_it_descends_whatever_their_differences_and_local_steps_do_not() -> None:
    """Nothing fits all here: F has a minimum above 0, which one gradient a round finds and client drift misses."""
    setting = where(problem(setting="comparison", zeta=1.0))
    assert stationarity(EXACT, setting, rounds=400, cohort=8) < STALLED / 3
    assert stationarity(FedAvg(), setting, rounds=400, cohort=8) > 10 * STALLED
    assert stationarity(FFGG(local_steps=10), setting, rounds=400, cohort=8) > 10 * STALLED


def test_local_steps_reach_it_sooner_where_one_theta_fits_all() -> None:
    setting = where(problem())
    single, local = (stationarity(FFGG(local_steps=n), setting, rounds=25, cohort=8) for n in (0, 10))
    assert local < single / 10


def test_flipped_gradients_do_not_keep_it_away_under_buckets_and_their_median() -> None:
    setting = where(problem(clients=21))
    robust = replace(setting, rule=Average(aggregator=Median(), before=Bucketing(size=2)))
    assert stationarity(EXACT, robust, rounds=200, cohort=21, hostile=HOSTILE) < STALLED
    for other in (FedAvg(), Scaffold()):
        assert stationarity(other, robust, rounds=200, cohort=21, hostile=HOSTILE) > 10 * STALLED


SCENARIO = """\
name: stale
task:
  dataset: {name: quadratic, setting: byzantine, d_theta: 6, d_w: 3, rows: 60}
  clients: 8
  model: quadratic
training: {lr: 0.1, batch_size: 1, epochs: 10}
fleet: [{device: raspberry-pi-4, share: 1.0, link: wifi-home, variation: {compute: 0.3, link: 0.3}}]
schedule: {kind: buffered, concurrency: 8, buffer: 1}
algorithm: ffgg
evaluate: {every: 800 aggregations}
stop: {aggregations: 800}
"""


def test_stale_gradients_do_not_keep_it_away(tmp_path: Path) -> None:
    """The real engine: eight clients at work, each gradient merged as it comes, about seven versions old. Others'
    steps are divided by eight, or they would diverge."""
    path = tmp_path / "stale.yaml"
    path.write_text(SCENARIO, encoding="utf-8")

    def reached(algorithm: str, *overrides: str) -> float:
        run = edgesim.run(path, out=tmp_path / algorithm, overrides=[f"algorithm={algorithm}", *overrides]).runs[0]
        return float(run.metrics()["gradient_norm"][-1])

    assert reached("ffgg") < STALLED
    assert reached("{name: ffgg, step: delay-adaptive}") < STALLED
    slowly = "server={optimizer: {name: sgd, lr: 0.125}}"
    assert min(reached(other, slowly) for other in ("fedavg", "scaffold")) > 3 * STALLED


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
    module = setting.task.model.build()
    logits = torch.func.functional_call(module, params, (setting.task.x[samples],))
    torch.nn.functional.cross_entropy(logits, setting.task.y[samples]).backward()  # type: ignore[no-untyped-call]
    for name, tensor in update.items():
        torch.testing.assert_close(tensor, -params[name].grad, rtol=1e-4, atol=1e-6)  # type: ignore[arg-type,operator]
    assert not torch.equal(head["fc2.weight"], setting.task.model.init(0)["fc2.weight"])


def test_conjugate_gradients_on_a_network_never_raise_the_loss() -> None:
    setting = context(task(8, alpha=0.3))
    world = federation(FFGG(fine_tune="cg"), setting)
    for number in range(6):
        for client in range(8):
            world.dispatch(8 * number + client, client, number)
            world._training.result(8 * number + client)
            world.arrive(8 * number + client, client)
        world.aggregate([Received(8 * number + client, client, 0, 1.0) for client in range(8)])
    assert world.evaluate()["accuracy"] > 0.6


@pytest.mark.parametrize(
    "algorithm",
    [FFGG(), FFGG(start="normal", gradient_batch=7), FFGG(local_steps=3), FFGG(fine_tune="cg", start="zero", tau=3)],
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
        for group in ("params",):
            for name, tensor in one.update[group].items():
                torch.testing.assert_close(tensor, other.update[group][name], rtol=2e-3, atol=1e-4)
        for name, tensor in one.state["personal"].items():
            torch.testing.assert_close(tensor, other.state["personal"][name], rtol=2e-3, atol=1e-3)


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
    smooth = setting.task.model.module.smoothness
    one = arrivals({"params": {"theta": [[1.0]]}}, samples=[1])
    server = {"params": {"theta": torch.zeros(1), "w": torch.zeros(1)}}
    for cadence, delay in ((Cadence(), 1), (Cadence(kind="buffered", concurrency=6, updates=2), 3)):
        moved = FFGG().aggregate(replace(setting, cadence=cadence), server, one)["params"]["theta"]
        assert moved.item() == pytest.approx(1 / (smooth * delay))  # type: ignore[operator]


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
    assert flops(FFGG(fine_tune="cg", tau=3)) == 20 * body + 5 * 20 * 2 * head + 20 * gradient
    assert flops(FFGG(personal="input")) == 50 * (2 * body + 2 * head) + 20 * (body + 2 * head)


def test_what_makes_no_sense_is_refused_with_the_way_out() -> None:
    with pytest.raises(ScenarioError, match=r"only quadratic problems .*; write gd, or cg"):
        EXACT.check(context())
    with pytest.raises(ScenarioError, match=r"norm1\.running_mean.* write personal: norm"):
        FFGG().check(context(bn_task()))
    with pytest.raises(ScenarioError, match="write start: warm"):
        FFGG(personal="norm", start="zero").check(context(bn_task()))
    FFGG(personal="norm").check(context(bn_task()))
    EXACT.check(where(problem()))
