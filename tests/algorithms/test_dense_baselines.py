"""FedProx, fine-tuning, local training, SCAFFOLD, Ditto, pFedMe, Per-FedAvg, APFL: what their papers say of them."""

import math
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, grad, vjp
from toys import TRAINING, arrivals, bn_task, context, federation, play, task, trained

from edgesim.algorithms.apfl import Apfl
from edgesim.algorithms.contract import Algorithm, Client, Context
from edgesim.algorithms.ditto import Ditto
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fedavg_ft import FedAvgFineTuned
from edgesim.algorithms.fedprox import FedProx
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.local_only import LocalOnly
from edgesim.algorithms.perfedavg import PerFedAvg
from edgesim.algorithms.pfedme import PFedMe
from edgesim.algorithms.scaffold import Scaffold
from edgesim.errors import ScenarioError
from edgesim.learning.batches import Batch, halves
from edgesim.learning.kernels import kernel
from edgesim.learning.training import Learner, Training
from edgesim.learning.tree import Params, State

HERE = context()
WHOLE = Training(lr=0.1, batch_size=1000, epochs=1)  # one step over all of a client's samples


def same(a: Params, b: Params) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def away(a: Params, b: Params) -> float:
    return max(float((tensor - b[name]).abs().max()) for name, tensor in a.items())


def whole_gradient(client: int, params: Params) -> Params:
    """Of the mean loss over a client's samples, by torch alone."""
    world, module = task(), task().model.module
    own = torch.from_numpy(world.train.of(client))

    def loss(params: Params) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(functional_call(module, params, (world.x[own],)), world.y[own])

    return dict(grad(loss)(params))


# ── FedProx ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("step_by_step")
def test_no_pull_is_fedavg() -> None:
    plain, prox = trained(FedAvg()), trained(FedProx(mu=0.0))
    assert all(same(a.update["params"], b.update["params"]) for a, b in zip(plain, prox, strict=True))


def test_a_strong_pull_keeps_clients_near_the_server() -> None:
    norms = [
        sum(float(t.square().sum()) for t in trained(FedProx(mu=mu), [0])[0].update["params"].values())
        for mu in (0.0, 1.0, 5.0)
    ]
    assert norms[0] > norms[1] > norms[2]


@pytest.mark.parametrize("base", [FedProx, Scaffold, FedSpa, Flash])
def test_a_subclass_with_a_step_of_its_own_is_heard(base: type[Algorithm]) -> None:
    def local_step(self: Algorithm, local: State, batch: Batch, learner: Learner) -> State:
        return {**local, "params": {name: tensor - 1.0 for name, tensor in local["params"].items()}}

    own = type("Own", (base,), {"local_step": local_step})
    hyper = {"mode": "pdst"} if base is Flash else {}  # without a stage 1, of which no weights are sent
    one = trained(own(**hyper), [0])[0]
    steps = TRAINING.epochs * -(-int(task().train.count[0]) // TRAINING.batch_size)
    assert (one.update["params"]["fc1.bias"] < 0.01 - steps).all()


def test_the_pull_counts_its_copy_of_the_model() -> None:
    client = Client(0, 20, {})
    payload = FedProx().download(HERE, FedProx().init_server(HERE), client)
    plain, prox = FedAvg().workload(HERE, payload, client), FedProx().workload(HERE, payload, client)
    assert prox.memory_bytes - plain.memory_bytes == 4 * (1024 + 16 + 160 + 10)
    assert prox.flops == plain.flops


# ── fine-tuning and local training ──────────────────────────────────────────────────────────────────────
def test_fine_tuning_changes_only_what_clients_use() -> None:
    where = context(task(8, alpha=0.2))
    plain, tuned = federation(FedAvg(), where), federation(FedAvgFineTuned(tuning_epochs=2), where)
    play(plain, 3)
    play(tuned, 3)
    assert same(plain._server["params"], tuned._server["params"])
    assert tuned.evaluate()["accuracy"] > plain.evaluate()["accuracy"]


def test_fine_tuning_one_at_a_time_is_fine_tuning_together() -> None:
    where = context(task(8, alpha=0.2))
    scores = [federation(FedAvgFineTuned(), where, backend).evaluate()["loss"] for backend in ("stacked", "loop")]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_local_training_sends_nothing_and_learns_alone() -> None:
    world = federation(LocalOnly())
    assigned = world.dispatch(0, 3, 0)
    assert (assigned.download_bytes, assigned.upload_bytes) == (0, 0)
    alone, together = trained(LocalOnly(), [3])[0], trained(FedAvg(), [3])[0]
    start = task().model.init(0)
    for name, tensor in alone.state["params"].items():
        torch.testing.assert_close(tensor, start[name] + together.update["params"][name])
    before = world._server["params"]
    play(world, 2)
    assert same(world._server["params"], before)


# ── SCAFFOLD ────────────────────────────────────────────────────────────────────────────────────────────
def test_control_variates_cost_fedavgs_bytes_twice() -> None:
    assigned = federation(Scaffold()).dispatch(0, 0, 0)
    assert assigned.download_bytes == assigned.upload_bytes == 2 * HERE.dense_bytes


@pytest.mark.usefixtures("step_by_step")
def test_the_model_received_and_both_controls_are_in_memory() -> None:
    """A step needs c_k − c; what goes up, w − w_k less c; what is kept, all three."""
    client, payload = Client(0, 20, {}), FedAvg().download(HERE, FedAvg().init_server(HERE), Client(0, 20, {}))
    plain, controlled = (algorithm.workload(HERE, payload, client) for algorithm in (FedAvg(), Scaffold()))
    assert controlled.memory_bytes - plain.memory_bytes == 3 * 4 * (1024 + 16 + 160 + 10)


def test_the_first_round_of_scaffold_is_fedavgs() -> None:
    plain, controlled = trained(FedAvg()), trained(Scaffold())
    assert all(same(a.update["params"], b.update["params"]) for a, b in zip(plain, controlled, strict=True))


@pytest.mark.parametrize("control", ["steps", "gradient"])
def test_after_one_whole_step_both_options_give_the_gradient_at_the_start(control: str) -> None:
    where = context(training=WHOLE)
    result = trained(Scaffold(control=control), [2], where)[0]  # type: ignore[arg-type]
    expected = whole_gradient(2, task().model.init(0))
    assert away(result.state["control"], expected) < 1e-6


def test_the_second_control_is_that_of_the_steps_and_what_is_sent_is_its_change() -> None:
    """c_k⁺ = c_k − c + (w − w_k)/(steps · η) of a client that has a c_k, and is sent a c, already."""
    world = federation(Scaffold())
    play(world, 1)
    world.dispatch(8, 2, 1)
    order, (update, after) = world._training.result(8)
    steps = TRAINING.epochs * -(-int(task().train.count[2]) // TRAINING.batch_size)
    for name, own in order.state["control"].items():
        everyones = order.payload["control"][name]
        assert own.any()
        assert not torch.equal(own, everyones)
        expected = own - everyones - update["params"][name] / (steps * TRAINING.lr)
        torch.testing.assert_close(after["control"][name], expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(update["control"][name], after["control"][name] - own)


def test_the_servers_control_moves_by_the_share_that_took_part() -> None:
    """N = 8, |S| = 2: c ← 0 + (2/8) · (1 + 3)/2 = 0.5, and w by the plain mean."""
    server = {"params": {"w": torch.tensor([0.0])}, "control": {"w": torch.tensor([0.0])}}
    two = arrivals({"params": {"w": [[2.0], [6.0]]}, "control": {"w": [[1.0], [3.0]]}}, samples=[10, 90])
    moved = Scaffold().aggregate(HERE, server, two)
    assert moved["control"]["w"].item() == 0.5
    assert moved["params"]["w"].item() == 4.0


def test_option_two_refuses_momentum() -> None:
    where = context(training=replace(TRAINING, momentum=0.9))
    with pytest.raises(ScenarioError, match=r"write control: gradient, or leave these out of training"):
        Scaffold().check(where)
    Scaffold(control="gradient").check(where)
    with pytest.raises(ScenarioError, match=r"which momentum, clip and adam change"):
        Scaffold().check(context(training=replace(TRAINING, clip=1.0)))
    Scaffold().check(context())


def test_controls_undo_client_drift() -> None:
    """Skewed clients, many local steps: after the same rounds SCAFFOLD's model has the smaller whole gradient."""
    where = context(task(8, alpha=0.1), Training(lr=0.05, batch_size=5, epochs=5))
    norms = []
    for algorithm in (FedAvg(weighting="uniform"), Scaffold()):
        world = federation(algorithm, where)
        play(world, 15)
        total: Params = {}
        for client in range(8):
            own = torch.from_numpy(where.task.train.of(client))
            k = kernel(where.task.model.module, "stacked")
            batch = Batch(where.task.x[own][None], where.task.y[own][None], torch.full((1, len(own)), 1 / len(own)))
            one = {name: tensor[None] for name, tensor in world._server["params"].items()}
            total = {n: total.get(n, torch.zeros(())) + g[0] / 8 for n, g in k.gradient(one, batch).items()}
        norms.append(sum(float(t.square().sum()) for t in total.values()) ** 0.5)
    assert norms[1] < 0.7 * norms[0]


def test_the_whole_gradient_costs_its_work_and_no_more_memory() -> None:
    """It adds up over mini-batches: 1,000 samples at once would take two hundred times their activations."""
    client = Client(0, 1000, {})
    payload = FedAvg().download(HERE, FedAvg().init_server(HERE), client)
    steps, whole = (it.workload(HERE, payload, client) for it in (Scaffold(), Scaffold(control="gradient")))
    assert whole.flops - steps.flops == 1000 * HERE.profile.total_flops
    assert whole.memory_bytes == steps.memory_bytes


# ── Ditto ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("step_by_step")
def test_without_pull_dittos_personal_model_is_local_training() -> None:
    for own, alone in zip(trained(Ditto(pull=0.0)), trained(LocalOnly()), strict=True):
        assert same(own.state["personal"], alone.state["params"])


@pytest.mark.usefixtures("step_by_step")
def test_the_personal_model_has_epochs_of_its_own() -> None:
    where = context(training=replace(TRAINING, epochs=4))
    for own, alone in zip(trained(Ditto(pull=0.0, personal_epochs=4)), trained(LocalOnly(), where=where), strict=True):
        assert same(own.state["personal"], alone.state["params"])


def test_dittos_global_model_is_fedavgs() -> None:
    for own, plain in zip(trained(Ditto()), trained(FedAvg()), strict=True):
        assert same(own.update["params"], plain.update["params"])


def test_a_strong_pull_makes_the_personal_model_the_global_one() -> None:
    start = task().model.init(0)
    near, free = (trained(Ditto(pull=pull), [0])[0].state["personal"] for pull in (9.0, 0.0))
    assert away(near, start) < 0.5 * away(free, start)


def test_ditto_works_twice_and_sends_once() -> None:
    client = Client(0, 20, {})
    payload = Ditto().download(HERE, Ditto().init_server(HERE), client)
    plain = FedAvg().workload(HERE, payload, client)
    assert Ditto().workload(HERE, payload, client).flops == 2 * plain.flops
    assert Ditto(personal_epochs=4).workload(HERE, payload, client).flops == 3 * plain.flops  # 2 + 4 of 2
    assert federation(Ditto()).dispatch(0, 0, 0).upload_bytes == HERE.dense_bytes


# ── pFedMe ──────────────────────────────────────────────────────────────────────────────────────────────
def test_many_inner_steps_solve_the_moreau_problem() -> None:
    """∇F(θ) + λ (θ − w) = 0 on the one batch, and w moves by ηλ (θ − w)."""
    where = context(training=WHOLE)
    result = trained(PFedMe(pull=2.0, inner_steps=400, personal_lr=0.1), [1], where)[0]
    start, theta = task().model.init(0), dict(result.state["personal"])
    gradient = whole_gradient(1, theta)
    residual = {name: g + 2.0 * (theta[name] - start[name]) for name, g in gradient.items()}
    scale = max(float(g.abs().max()) for g in gradient.values())
    assert max(float(r.abs().max()) for r in residual.values()) < 0.05 * scale  # ReLU kinks leave a little
    for name, moved in result.update["params"].items():
        torch.testing.assert_close(moved, 0.1 * 2.0 * (theta[name] - start[name]), rtol=1e-3, atol=1e-6)


def test_inner_steps_are_counted() -> None:
    client = Client(0, 20, {})
    payload = PFedMe().download(HERE, PFedMe().init_server(HERE), client)
    assert (
        PFedMe(inner_steps=5).workload(HERE, payload, client).flops
        == 5 * FedAvg().workload(HERE, payload, client).flops
    )


# ── Per-FedAvg ──────────────────────────────────────────────────────────────────────────────────────────
def by_hand(client: int, order: str, alpha: float) -> Params:
    """One outer step over two halves of all samples, with torch's own derivatives."""
    world, module = task(), task().model.module
    where = context(training=WHOLE)
    whole = federation(FedAvg(), where)
    whole.dispatch(0, client, 0)
    order_ = whole._training.result(0)[0]
    from edgesim.learning.local import cohort_of
    from edgesim.learning.training import learner

    who = learner(world, WHOLE, whole._backend.kernel, seed=0, cohort=cohort_of([order_]))
    seen: list[Batch] = []

    def look(local: dict[str, Params], batch: Batch, _: object) -> dict[str, Params]:
        seen.append(batch)
        return local

    who.run({"params": {"x": torch.zeros(1)}}, look, batch_size=2000)
    first, second = halves(seen[0])

    def loss(params: Params, batch: Batch) -> torch.Tensor:
        each = torch.nn.functional.cross_entropy(
            functional_call(module, params, (batch.x[0],)), batch.y[0], reduction="none"
        )
        return (each * batch.weight[0]).sum()

    params = world.model.init(0)
    g1 = grad(loss)(params, first)
    inner = {name: tensor - alpha * g1[name] for name, tensor in params.items()}
    g = grad(loss)(inner, second)
    if order == "first":
        return {name: -WHOLE.lr * tensor for name, tensor in g.items()}
    pull = vjp(lambda p: grad(loss)(p, first), params)[1]
    (product,) = pull(g)  # the exact Hessian-vector product: the Hessian is symmetric
    return {name: -WHOLE.lr * (tensor - alpha * product[name]) for name, tensor in g.items()}


@pytest.mark.parametrize("order", ["first", "hessian-free"])
def test_the_outer_gradient_is_taken_at_the_inner_point(order: str) -> None:
    where = context(training=WHOLE)
    result = trained(PerFedAvg(inner_lr=0.5, order=order), [4], where)[0]  # type: ignore[arg-type]
    expected = by_hand(4, order, 0.5)
    wrong = by_hand(4, "first", 0.0)  # at w itself
    error, usual = away(result.update["params"], expected), away(result.update["params"], wrong)
    assert error < 0.02 * usual


def test_a_single_sample_is_both_halves() -> None:
    batch = Batch(torch.ones(2, 3, 4), torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([[1 / 3] * 3, [1.0, 0, 0]]))
    first, second = halves(batch)
    assert first.weight.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert second.y[:, 0].tolist() == [2, 4]
    assert second.weight.tolist() == [[1.0], [1.0]]


def test_halves_of_pictures_are_their_even_and_odd_places() -> None:
    """The second client has one picture, which is in both of its halves; the first's three are two and one."""
    x = torch.arange(24.0).view(2, 3, 1, 2, 2)
    y = torch.tensor([[1, 2, 3], [4, 0, 0]])
    first, second = halves(Batch(x, y, torch.tensor([[1 / 3] * 3, [1.0, 0, 0]])))
    assert torch.equal(first.x[0], x[0, ::2])
    assert torch.equal(second.x[0], x[0, 1::2])
    assert torch.equal(second.x[1], x[1, :1])


def test_one_step_from_the_start_is_what_clients_use() -> None:
    where = context(task(8, alpha=0.2))
    plain, meta = federation(FedAvg(), where), federation(PerFedAvg(inner_lr=0.3), where)
    play(plain, 6)
    play(meta, 6)
    assert meta.evaluate()["accuracy"] > plain.evaluate()["accuracy"]


# ── APFL ────────────────────────────────────────────────────────────────────────────────────────────────
def test_all_its_own_is_local_training_and_none_is_fedavg() -> None:
    own, alone = trained(Apfl(alpha=1.0, adaptive=False)), trained(LocalOnly())
    for a, b in zip(own, alone, strict=True):
        assert away(a.state["personal"], b.state["params"]) < 1e-6
    world = federation(Apfl(alpha=0.0, adaptive=False))
    play(world, 1)
    client = Client(0, 1, world._state(0))
    assert same(Apfl().client_model(world._server, client), world._server["params"])


def test_each_of_the_two_models_has_a_momentum() -> None:
    client, payload = Client(0, 100, {}), Apfl().download(HERE, Apfl().init_server(HERE), Client(0, 100, {}))
    plain, heavy = (
        Apfl().workload(where, payload, client) for where in (HERE, context(training=replace(TRAINING, momentum=0.9)))
    )
    assert heavy.memory_bytes - plain.memory_bytes == 2 * 4 * (1024 + 16 + 160 + 10)


def test_statistics_of_the_mixture_are_averages_and_no_differences() -> None:
    """α = 0: v̄ is w_k, so that v's statistics see the same batches and differ from w_k's by 0.9^steps of what they did
    at first. Moved by the mixture's instead, variances of 0.01 under the server's of 50 would fall to about −5."""
    world = federation(Apfl(alpha=0.0, adaptive=False), context(bn_task()), "loop")
    model, state = world._context.task.model, world._first.of(2)
    variances = [name for name in model.statistics if name.endswith("running_var")]
    low, high = ({name: torch.full_like(state["personal"][name], v) for name in variances} for v in (0.01, 50.0))
    world._clients.put(2, {**state, "personal": {**state["personal"], **low}})
    world._server = {**world._server, "params": {**world._server["params"], **high}}
    world.dispatch(0, 2, 0)
    trained = world._training.result(0)[1]
    steps = 2 * math.ceil(world._context.task.train.count[2] / 5)
    for name in variances:
        whole = high[name] + trained.update["params"][name]
        torch.testing.assert_close(trained.state["personal"][name] - whole, 0.9**steps * (low[name] - high[name]))


def test_the_share_moves_along_its_gradient_and_stays_a_share() -> None:
    """After one step v − w = 0, so α stays; after more it moves, and never leaves [0, 1]."""
    first = trained(Apfl(alpha=0.5), [0], context(training=WHOLE))[0]
    assert first.state["share"]["alpha"].item() == 0.5
    later = trained(Apfl(alpha=0.5), [0, 1], context(training=Training(lr=0.5, batch_size=5, epochs=10)))
    shares = [result.state["share"]["alpha"].item() for result in later]
    assert all(0 <= share <= 1 for share in shares)
    assert all(share != 0.5 for share in shares)


EVERY: list[Algorithm] = [
    FedProx(), FedAvgFineTuned(), LocalOnly(), Scaffold(), Scaffold(control="gradient"), Ditto(), PFedMe(), PerFedAvg(),
    PerFedAvg(order="hessian-free"), Apfl(),
]  # fmt: skip


@pytest.mark.parametrize("algorithm", EVERY, ids=lambda a: type(a).__name__)
def test_a_cohort_trains_as_one_client_at_a_time(algorithm: Algorithm) -> None:
    where: Context = context(task(8, alpha=0.3))
    together, alone = trained(algorithm, range(4), where), trained(algorithm, range(4), where, "loop")
    for a, b in zip(together, alone, strict=True):
        for mine, other in zip(a, b, strict=True):
            for group, params in mine.items():
                for name, tensor in params.items():
                    torch.testing.assert_close(tensor, other[group][name], rtol=2e-3, atol=2e-5)
