"""HeteroFL and FjORD: slices of one model (arXiv:2010.01264, arXiv:2102.13451)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from toys import TRAINING, context, federation, play, task, trained

from edgesim.algorithms.contract import Algorithm, Client, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.fjord import FjORD
from edgesim.algorithms.heterofl import HeteroFL
from edgesim.algorithms.messages import dense_bytes
from edgesim.algorithms.nested import Nested
from edgesim.engine.learning import Received
from edgesim.errors import ScenarioError
from edgesim.execution.attackers import Attackers
from edgesim.learning import widths
from edgesim.learning.attacks import Gaussian
from edgesim.learning.statistics import statistics
from edgesim.learning.task import Task, make_task
from edgesim.learning.training import Training
from edgesim.learning.tree import Params, State

HERE = context()  # digits, 64-16-10
HARD = Training(lr=0.1, momentum=0.9, weight_decay=1e-2, clip=1.0, batch_size=5, epochs=2)
WHOLE = Training(lr=0.1, batch_size=1000, epochs=1)  # one step over all of a client's samples
PLAIN = HeteroFL(scaler=False, masked_loss=False)


@dataclass(frozen=True, kw_only=True)
class From(FedAvg):
    """FedAvg from a given start."""

    start: Params

    def init_server(self, context: Context) -> State:
        return {"params": self.start}


def world(model: str, hidden: int, channels: tuple[int, int] = (8, 4)) -> Task:
    params = {"hidden": [hidden]} if model == "mlp" else {"hidden": hidden, "channels": list(channels)}
    return make_task(dataset="digits", clients=8, model=model, model_params=params, seed=0)


def corner(params: Params, like: Params) -> Params:
    return {name: tensor[tuple(slice(size) for size in like[name].shape)] for name, tensor in params.items()}


def same(a: Params, b: Params) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


# ── a slice is a small dense model ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("large", "small"),
    [(world("mlp", 16), world("mlp", 8)), (world("cnn", 16), world("cnn", 8, (4, 2)))],
    ids=["mlp", "cnn"],
)
def test_a_client_of_half_width_trains_as_a_small_dense_model_alone(large: Task, small: Task) -> None:
    where, alone = context(large, HARD), context(small, HARD)
    algorithm = replace(PLAIN, rates=(0.5,))
    first = corner(large.model.init(0), small.model.init(0))
    update = trained(algorithm, [0, 3], where, "loop")
    expected = trained(From(start=first), [0, 3], alone, "loop")
    for mine, other in zip(update, expected, strict=True):
        torch.testing.assert_close(corner(mine.update["params"], first), other.update["params"], rtol=1e-3, atol=1e-5)
        outside = sum(int(t.count_nonzero()) for t in mine.update["params"].values())
        assert outside <= sum(t.numel() for t in first.values())  # nothing moves that it does not have
    client = Client(0, 20, algorithm.init_client(where, 0))
    payload = algorithm.download(where, algorithm.init_server(where), client)
    assert payload.size_bytes == algorithm.upload_bytes(where, payload, client) == alone.dense_bytes
    work, dense = algorithm.workload(where, payload, client), From(start=first).workload(alone, payload, client)
    assert (work.flops, work.memory_bytes, work.traffic_bytes) == (dense.flops, dense.memory_bytes, dense.traffic_bytes)
    assert work.layer_density.tolist() == [1.0] * len(work.layer_density)  # small, not sparse
    sent = federation(algorithm, where)
    sent.dispatch(0, 0, 0)
    assert sent.upload_bytes(0) == alone.dense_bytes


@pytest.mark.parametrize("algorithm", [HeteroFL(rates=(1.0,), masked_loss=False), FjORD(rates=(1.0,))])
def test_full_width_is_fedavg(algorithm: Nested) -> None:
    where = context(task(8, alpha=0.3), HARD)
    plain, nested = federation(FedAvg(weighting=algorithm.weighting), where), federation(algorithm, where)
    play(plain, 2)
    play(nested, 2)
    assert same(plain._server["params"], nested._server["params"])
    assert nested.evaluate() == plain.evaluate()


def test_groups_take_turns_and_memory_takes_what_fits() -> None:
    rates = (1.0, 0.5, 0.25)
    by_turn = [float(HeteroFL(rates=rates).init_client(HERE, c)["width"]["rate"]) for c in range(4)]
    assert by_turn == [1.0, 0.5, 0.25, 1.0]
    full = FedAvg().workload(HERE, FedAvg().download(HERE, {"params": {}}, Client(0, 0, {})), Client(0, 200, {}))
    limits = np.array([full.memory_bytes, full.memory_bytes // 2, 1, 0] * 2, np.int64)
    where = replace(HERE, memory_bytes=limits)
    by_memory = [
        float(HeteroFL(rates=rates, assigned="memory").init_client(where, c)["width"]["rate"]) for c in range(3)
    ]
    assert by_memory[0] == 1.0
    assert by_memory[1] < 1.0
    assert by_memory[2] == 0.25  # none fits: the smallest, and the device runs out of memory
    with pytest.raises(ScenarioError, match=r"algorithm\.assigned: memory needs a fleet of devices; use groups"):
        HeteroFL(assigned="memory").check(HERE)


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────
def test_values_are_averaged_over_who_holds_them() -> None:
    """Clients 0 and 1 of rates 1 and 1/2: the first 8 units by both, the others by client 0 alone, and whole."""
    algorithm = replace(PLAIN, rates=(1.0, 0.5))
    start = task().model.init(0)["fc1.weight"]
    whole, half = (result.update["params"]["fc1.weight"] for result in trained(algorithm, [0, 1]))
    moved = merged(algorithm, [0, 1])["fc1.weight"] - start
    torch.testing.assert_close(moved[:8], (whole[:8] + half[:8]) / 2)
    torch.testing.assert_close(moved[8:], whole[8:])
    assert not half[8:].any()


def test_what_nobody_holds_stays() -> None:
    start, moved = task().model.init(0), merged(replace(PLAIN, rates=(1.0, 0.5)), [1, 3])
    assert torch.equal(moved["fc1.weight"][8:], start["fc1.weight"][8:])
    assert torch.equal(moved["fc2.weight"][:, 8:], start["fc2.weight"][:, 8:])
    assert not torch.equal(moved["fc2.bias"], start["fc2.bias"])


def merged(algorithm: Algorithm, clients: list[int], where: Context = HERE) -> Params:
    one = federation(algorithm, where)
    for job, client in enumerate(clients):
        one.dispatch(job, client, 0)
        one.arrive(job, client)
    one.aggregate([Received(job, client, 0, 1.0) for job, client in enumerate(clients)])
    return one._server["params"]


def test_what_an_attackers_width_has_not_is_left_to_those_that_have_it() -> None:
    """Client 1, of half the width, sends noise; client 0 alone holds the second half."""
    algorithm = FjORD(rates=(1.0, 0.5))
    one = federation(algorithm)
    one._attackers = Attackers(Gaussian(), np.arange(8) == 1, 0)
    for client in (0, 1):
        one.dispatch(client, client, 0)
    before = one._server["params"]["fc1.weight"]
    one.aggregate([Received(client, client, 0, 1.0) for client in (0, 1)])
    moved, alone = (
        one._server["params"]["fc1.weight"] - before,
        trained(algorithm, [0])[0].update["params"]["fc1.weight"],
    )
    torch.testing.assert_close(moved[8:], alone[8:])
    assert (moved[:8] - alone[:8]).abs().max() > 0.1


def test_a_client_uses_what_it_can_hold() -> None:
    algorithm = replace(PLAIN, rates=(0.5,))
    server = algorithm.init_server(HERE)
    own = algorithm.client_model(server, Client(0, 20, algorithm.init_client(HERE, 0)))
    assert own["fc1.weight"][8:].abs().sum() == 0
    assert torch.equal(own["fc1.weight"][:8], server["params"]["fc1.weight"][:8])
    assert replace(algorithm, used="global").client_model(server, Client(0, 20, {})) is server["params"]


# ── scaler and masked loss ──────────────────────────────────────────────────────────────────────────────
def test_one_step_with_scaler_and_masked_labels_by_torch_alone() -> None:
    """Hidden outputs over r = 1/2 before the ReLU; logits of absent labels are set to 0."""
    where = context(task(8, alpha=0.1), WHOLE)
    world, algorithm = where.task, HeteroFL(rates=(0.5,))
    own = torch.from_numpy(world.train.of(2))
    x, y = world.x[own].flatten(1), world.y[own]
    absent = torch.ones(10, dtype=torch.bool)
    absent[y] = False
    assert 0 < int(absent.sum()) < 10
    p = {name: t.clone() for name, t in world.model.init(0).items()}
    p = {"w": p["fc1.weight"][:8], "b": p["fc1.bias"][:8], "v": p["fc2.weight"][:, :8], "c": p["fc2.bias"]}
    p = {name: tensor.clone().requires_grad_() for name, tensor in p.items()}
    hidden = torch.relu((x @ p["w"].T + p["b"]) / 0.5)
    logits = (hidden @ p["v"].T + p["c"]).masked_fill(absent, 0.0)
    wanted = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, y), list(p.values()))
    update = trained(algorithm, [2], where)[0].update["params"]
    found = (update["fc1.weight"][:8], update["fc1.bias"][:8], update["fc2.weight"][:, :8], update["fc2.bias"])
    for mine, gradient in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, -0.1 * gradient, rtol=1e-4, atol=1e-6)
    assert not update["fc2.weight"][absent].any()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_labels_that_a_client_lacks_are_left_to_those_that_have_them(decay: float) -> None:
    """What weight decay makes of their rows at a client that has none of them counts for nothing."""
    where = context(task(8, alpha=0.1), replace(TRAINING, weight_decay=decay))
    algorithm = HeteroFL(rates=(1.0,))
    has = [set(where.task.y[torch.from_numpy(where.task.train.of(client))].tolist()) for client in (0, 1)]
    label = min(has[0] - has[1])
    alone, other = (result.update["params"]["fc2.weight"][label] for result in trained(algorithm, [0, 1], where))
    assert bool(other.any()) == (decay > 0)
    moved = merged(algorithm, [0, 1], where)["fc2.weight"] - where.task.model.init(0)["fc2.weight"]
    torch.testing.assert_close(moved[label], alone)  # not halved by the client that has none of it


def test_the_slice_in_use_is_the_slice_that_was_trained() -> None:
    """The scaler is part of what a thin client trains, so its own model has it too."""
    algorithm = HeteroFL(rates=(0.25,))
    server = algorithm.init_server(HERE)
    own = algorithm.client_model(server, Client(0, 20, algorithm.init_client(HERE, 0)))
    torch.testing.assert_close(own["fc1.weight"][:4], 4 * server["params"]["fc1.weight"][:4])
    assert torch.equal(own["fc2.weight"][:, :4], server["params"]["fc2.weight"][:, :4])


# ── batch norm ──────────────────────────────────────────────────────────────────────────────────────────
NORMED = make_task(dataset="digits", clients=4, model="cnn-bn", model_params={"width": 0.05}, seed=0)
FEW = Training(lr=0.05, batch_size=100, epochs=1)


def test_static_statistics_are_those_of_all_samples_after_training() -> None:
    where = context(NORMED, FEW)
    result = trained(HeteroFL(rates=(0.5,)), [1], where, "loop")[0].update["params"]
    model, start = NORMED.model, NORMED.model.init(0)
    own = torch.from_numpy(NORMED.train.of(1))
    shapes = widths.shapes(model, 0.5)
    small = widths.narrow(model, 0.5).build().train()
    for name, part in small.named_modules():
        if name.startswith("norm"):
            part.momentum = 1.0  # the statistics of this one batch  # type: ignore[assignment]
    after = {n: (start[n] + result[n])[tuple(slice(size) for size in shapes[n])].clone() for n in start}
    scaled = widths.layout(model).free
    seen = {n: 2 * t if n in scaled else t.clone() for n, t in after.items()}
    torch.func.functional_call(small, seen, (NORMED.x[own],))
    for name in statistics(small):
        torch.testing.assert_close(seen[name], after[name], rtol=1e-3, atol=1e-5)


def test_statistics_are_averaged_over_who_has_the_channel() -> None:
    where = context(NORMED, FEW)
    algorithm = HeteroFL(rates=(1.0, 0.5))
    whole, half = (result.update["params"]["norm3.running_var"] for result in trained(algorithm, [0, 1], where, "loop"))
    one = federation(algorithm, where, "loop")
    for job in (0, 1):
        one.dispatch(job, job, 0)
    one.aggregate([Received(job, job, 0, 1.0) for job in (0, 1)])
    moved = one._server["params"]["norm3.running_var"] - NORMED.model.init(0)["norm3.running_var"]
    torch.testing.assert_close(moved[:3], (whole[:3] + half[:3]) / 2)
    torch.testing.assert_close(moved[3:], whole[3:])


def test_static_norms_cost_a_forward_pass() -> None:
    where = context(NORMED, FEW)
    works = []
    for algorithm in (HeteroFL(), HeteroFL(norms="tracked")):
        client = Client(0, 50, algorithm.init_client(where, 0))
        works.append(algorithm.workload(where, algorithm.download(where, {"params": {}}, client), client))
    assert works[0].flops - works[1].flops == 50 * where.profile.forward_flops.sum()


def test_fjord_refuses_batch_norms() -> None:
    with pytest.raises(ScenarioError, match="write norm: none, or take heterofl"):
        FjORD().check(context(NORMED, FEW))


# ── FjORD ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_mini_batch_moves_only_the_width_that_it_drew() -> None:
    """One step each, with weight decay: the units that moved are the first of one of the widths up to p_max."""
    where = context(training=replace(WHOLE, weight_decay=0.1))
    algorithm = FjORD(rates=(0.25, 0.5, 0.75, 1.0))
    counts = []
    for job, result in enumerate(trained(algorithm, [c for c in range(8) for _ in range(6)], where)):
        moved = result.update["params"]["fc1.weight"].abs().sum(1) > 0
        count = int(moved.sum())
        assert moved[:count].all()  # nested: the first ones
        assert count in (4, 8, 12, 16)[: (job // 6) % 4 + 1]
        counts.append(count)
    assert set(counts) == {4, 8, 12, 16}


@pytest.mark.parametrize(
    ("solver", "memory"),
    [({"momentum": 0.9}, "momentum"), ({"optimizer": "adam"}, "squares"), ({"optimizer": "adamw"}, "momentum")],
)
def test_moments_do_not_move_what_a_mini_batch_leaves_out(solver: dict[str, Any], memory: str) -> None:
    """Client 1 of rates 1/4 and 1/2 draws both in turn; each unit beyond 4 moves in its own steps only."""
    heavy = replace(TRAINING, weight_decay=0.1, **solver)
    where = context(training=heavy)
    algorithm = FjORD(rates=(0.25, 0.5))
    one = federation(algorithm, where)
    one.dispatch(0, 1, 0)
    order = one._training.result(0)[0]
    from edgesim.learning.local import cohort_of
    from edgesim.learning.training import learner

    who = learner(where.task, heavy, one._backend.kernel, seed=0, cohort=cohort_of([order]))
    payload = {group: {n: t[None] for n, t in params.items()} for group, params in order.payload.items()}
    state = {group: {n: t[None] for n, t in params.items()} for group, params in order.state.items()}
    seen, fast = [], []

    def look(local: State, batch: object, learner: object) -> State:
        after = algorithm.local_step(local, batch, learner)  # type: ignore[arg-type]
        seen.append((after["params"]["fc1.weight"] != local["params"]["fc1.weight"])[0].any(1).sum().item())
        fast.append(after[memory]["fc1.weight"][0].any(1).sum().item())
        return after

    who.run(algorithm.local_start(payload, state), look)
    assert set(seen) == {4, 8}
    assert fast == np.maximum.accumulate(seen).tolist()  # nor has it any before its first step
    assert fast[0] == 4


def test_fjord_costs_the_mean_of_its_widths_and_the_memory_of_the_widest() -> None:
    algorithm = FjORD(rates=(0.25, 0.5, 1.0))
    client = Client(1, 30, algorithm.init_client(HERE, 1))
    payload = algorithm.download(HERE, algorithm.init_server(HERE), client)
    work = algorithm.workload(HERE, payload, client)
    alone = []
    for rate in (0.25, 0.5):
        slim = replace(PLAIN, rates=(rate,))
        alone.append(slim.workload(HERE, payload, Client(1, 30, slim.init_client(HERE, 1))))
    for name in ("flops", "traffic_bytes", "activation_bytes"):
        assert getattr(work, name) == (getattr(alone[0], name) + getattr(alone[1], name)) / 2 > 0
    assert (work.memory_bytes, work.steps) == (alone[1].memory_bytes, alone[1].steps)
    assert payload.size_bytes == dense_bytes(widths.shapes(HERE.task.model, 0.5))


EVERY: list[Algorithm] = [HeteroFL(), PLAIN, FjORD()]


@pytest.mark.parametrize("algorithm", EVERY)
def test_a_cohort_of_mixed_widths_trains_as_one_client_at_a_time(algorithm: Algorithm) -> None:
    where = context(task(8, alpha=0.3), TRAINING)
    together, alone = trained(algorithm, range(8), where), trained(algorithm, range(8), where, "loop")
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.update["params"], b.update["params"], rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("algorithm", EVERY)
def test_slices_learn(algorithm: Algorithm) -> None:
    world = federation(algorithm, context(task(8, alpha=1.0)))
    before = world.evaluate()["loss"]
    play(world, 6)
    assert world.evaluate()["loss"] < 0.9 * before
