"""PruneFL against its specification (arXiv:1909.12326; bibikar/feddst's version): stage 1, readjusting, bytes."""

from dataclasses import replace

import pytest
import torch
from plain import (
    CLIENTS,
    Model,
    assert_close,
    assert_in_use,
    doubled,
    gradient,
    here,
    mini_batches,
    rounds,
    stepped,
    under,
)
from toys import context, federation, task, trained

from edgesim.algorithms.contract import Cadence, Client, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.prunefl import PruneFl
from edgesim.devices.workload import NO_WORK
from edgesim.engine.learning import Received
from edgesim.errors import ScenarioError
from edgesim.execution.federation import Federation
from edgesim.learning.worth import worthwhile

SYNC = replace(context(task(40)), cadence=Cadence(kind="sync", concurrency=4, updates=4))
BUFFERED = replace(SYNC, cadence=Cadence(kind="buffered", concurrency=4, updates=4))
WEIGHTS = 1024 + 160  # digits, 64-16-10, and 26 biases


def round_of(world: Federation, turn: int, clients: range = range(4)) -> Federation:
    for client in clients:
        world.dispatch(100 * turn + client, client, turn)
    world.aggregate([Received(100 * turn + client, client, 0, 1.0) for client in clients])
    return world


def payloads(where: Context, algorithm: PruneFl, waited: int) -> list[dict[str, torch.Tensor]]:
    server = algorithm.init_server(where)
    server["stage"]["waited"] = torch.tensor(waited)
    clients = [Client(number, 20, algorithm.init_client(where, number)) for number in range(400)]
    return [algorithm.download(where, server, client).state["job"] for client in clients]


def test_stage_one_is_one_client_and_the_others_wait_for_a_byte() -> None:
    """Of 400 clients a quarter is meant, since 4 take part in a round; another quarter if nobody was there."""
    jobs = payloads(SYNC, PruneFl(), 0)
    chosen = [bool(job["first"]) for job in jobs]
    assert sum(chosen) == pytest.approx(100, abs=30)
    assert [bool(job["waits"]) for job in jobs] == [not first for first in chosen]
    assert chosen != [bool(job["first"]) for job in payloads(SYNC, PruneFl(), 1)]
    world = federation(PruneFl(), SYNC)
    assigned = [world.dispatch(number, number, 0) for number in range(40)]
    waiting = [job for job, first in zip(assigned, chosen, strict=False) if not first]
    assert {(job.download_bytes, job.upload_bytes, job.workload.flops) for job in waiting} == {(1, 1, NO_WORK.flops)}
    one = next(job for job, first in zip(assigned, chosen, strict=False) if first)
    plain = federation(FedAvg(), SYNC).dispatch(0, 0, 0).workload.steps
    assert one.workload.steps == 5 * plain + 1  # and the dense batch of its first readjustment
    assert one.upload_bytes is None


def test_stage_two_begins_with_the_model_and_mask_of_the_first_client() -> None:
    world = federation(PruneFl(), SYNC)
    first = next(n for n, job in enumerate(payloads(SYNC, PruneFl(), 0)) if job["first"])
    waiting = next(n for n, job in enumerate(payloads(SYNC, PruneFl(), 0)) if job["waits"])
    for job, client in enumerate((waiting, first)):
        world.dispatch(job, client, 0)
    order, trained = world._training.result(1)
    assert not world._training.result(0)[1].update["params"]["fc1.weight"].any()
    world.aggregate([Received(0, waiting, 0, 1.0), Received(1, first, 0, 1.0)])
    mask = trained.update["mask"]
    held = sum(int(tensor.sum()) for tensor in mask.values())
    assert 0.7 * WEIGHTS <= held < WEIGHTS
    for name, tensor in world._server["params"].items():
        torch.testing.assert_close(tensor, order.payload["params"][name] + trained.update["params"][name])
    assert torch.equal(world._server["mask"]["fc1.weight"], mask["fc1.weight"])
    assert not world._server["stage"]["first"]
    assert not world._server["params"]["fc1.weight"][~mask["fc1.weight"]].any()


def test_a_round_without_the_one_is_repeated() -> None:
    world = federation(PruneFl(), SYNC)
    waiting = [n for n, job in enumerate(payloads(SYNC, PruneFl(), 0)) if job["waits"]][:2]
    for client in waiting:
        world.dispatch(client, client, 0)
    world.aggregate([Received(client, client, 0, 1.0) for client in waiting])
    assert int(world._server["stage"]["waited"]) == 1
    assert world._server["stage"]["first"]


def test_a_readjusting_round_costs_a_dense_gradient_of_32_bits_a_weight() -> None:
    """Up 4·1,184 B more in two parts, rounds 1, 51, …; and one dense batch of work."""
    algorithm = PruneFl(initial="none")
    server, client = algorithm.init_server(SYNC), Client(0, 20, algorithm.init_client(SYNC, 0))
    sizes, work = {}, {}
    for number in (0, 1, 2, 51):
        at = {**server, "stage": {**server["stage"], "round": torch.tensor(number)}}
        payload = algorithm.download(SYNC, at, client)
        sizes[number] = algorithm.upload_bytes(SYNC, payload, client)
        work[number] = algorithm.workload(SYNC, payload, client).flops
    plain = 4 * (WEIGHTS + 26) + 5
    assert sizes == {0: plain, 1: plain + 4 * WEIGHTS + 2, 2: plain, 51: plain + 4 * WEIGHTS + 2}
    assert work[1] - work[0] == (2 * 1024 * 2 + 2 * 160 * 3) * 5
    world = federation(algorithm, SYNC)
    round_of(world, 0)
    assert world.dispatch(900, 0, 1).upload_bytes == world.upload_bytes(900)


def test_the_server_readjusts_by_the_mean_gradient_once_a_round() -> None:
    world = federation(PruneFl(initial="none"), SYNC)
    assert all(mask.all() for mask in round_of(world, 0)._server["mask"].values())
    world.dispatch(900, 5, 1)  # of round 1, and late
    mask = round_of(world, 1)._server["mask"]
    held = sum(int(tensor.sum()) for tensor in mask.values())
    assert 0.7 * WEIGHTS <= held < WEIGHTS
    world.aggregate([Received(900, 5, 1, 1.0)])
    assert int(world._server["stage"]["times"]) == 1
    assert torch.equal(world._server["mask"]["fc1.weight"], mask["fc1.weight"])
    assert not world._server["params"]["fc1.weight"][~mask["fc1.weight"]].any()


def test_weights_are_taken_while_they_are_worth_their_time() -> None:
    """Active a (|w| 3), b (2), c (1), inactive d; t = 1 for a, b, 2 for c, d; ρ = 0.7, so b and c may go: ⌊0.7 · 3⌋.
    g² = 4, 9, 4, 2; a stays: Δ/T = 4/(1 + 1) = 2. b: 9 ≥ 2, then Δ/T = 13/3. c: 4/2 < 13/3 ends it."""
    params = {"x": torch.tensor([[3.0, 2.0]]), "y": torch.tensor([[1.0, 0.0]])}
    mask = {"x": torch.ones(1, 2, dtype=torch.bool), "y": torch.tensor([[True, False]])}
    gradient = {"x": torch.tensor([[2.0, -3.0]]), "y": torch.tensor([[2.0, 2.0**0.5]])}
    time = {"fixed": torch.tensor(1.0), "x": torch.tensor(1.0), "y": torch.tensor(2.0)}
    found = worthwhile(params, mask, gradient, time, 0.7)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"x": [[True, True]], "y": [[False, False]]}
    gradient["y"] = torch.tensor([[0.0, 4.0]])  # d: 16/2 ≥ 13/3 comes; c brings nothing
    found = worthwhile(params, mask, gradient, time, 0.7)
    assert found["y"].tolist() == [[False, True]]
    assert worthwhile(params, mask, gradient, time, 0.0)["y"].tolist() == [[True, True]]  # active ones all stay


def plainly(w: Model, mask: Model, slope: Model, time: dict[str, int], prunable: float) -> Model:
    """The readjusted mask, one weight after the other; there is nothing that cannot be masked, t_0 = 0."""
    places = [(name, i) for name, on in mask.items() for i in range(on.numel())]
    size = {(name, i): abs(float(w[name].flatten()[i])) for name, i in places}
    gain = {(name, i): float(slope[name].flatten()[i]) ** 2 for name, i in places}
    active = sorted((at for at in places if mask[at[0]].flatten()[at[1]]), key=size.__getitem__)
    stays = set(active[int(prunable * len(active)) :])
    whole, cost = sum(gain[at] for at in stays), sum(time[name] for name, _ in stays)
    for at in sorted(set(places) - stays, key=lambda at: -gain[at] / time[at[0]]):
        if gain[at] / time[at[0]] < whole / cost:
            break
        stays.add(at)
        whole, cost = whole + gain[at], cost + time[at[0]]
    return {
        name: torch.tensor([(name, i) in stays for i in range(on.numel())]).view(on.shape) for name, on in mask.items()
    }


def test_whole_rounds_are_those_of_a_plain_version() -> None:
    """Stage 1 at client 3: three rounds of two epochs, and the mask anew after the second. Then FedAvg on the mask by
    samples, readjusted in rounds 1 and 3 by the mean gradient, with ρ = 0.6 and 0.3."""
    where = replace(here(), cadence=Cadence(kind="sync", concurrency=1, updates=1))
    algorithm = PruneFl(initial_rounds=3, readjust_every=2, prunable=0.6)
    w = doubled(algorithm.init_server(where)["params"])
    mask: Model = {name: torch.ones_like(t).bool() for name, t in w.items() if t.dim() > 1}
    time = {"fc1.weight": 4, "fc2.weight": 6, "fc3.weight": 6}  # forward, weight gradient and, but at first, input's
    readjusted = 0
    for turn, (made, jobs) in enumerate(rounds(algorithm, where, [[3], [0, 1, 2], [1, 3, 5], [0, 2], [4, 5]])):
        assert_close(made._server["params"], w)
        assert all(torch.equal(made._server["mask"][name], on) for name, on in mask.items())
        assert_in_use(made, where, [w] * CLIENTS)
        if turn == 0:
            ((job, client),) = jobs
            for number in range(3):
                for batch in mini_batches(where, client, job, f"first/{number}", epochs=2):
                    w = under(mask, stepped(w, batch, 0.1))
                if number == 1:
                    (probe,) = mini_batches(where, client, job, "probe", steps=1)
                    mask = plainly(w, mask, gradient(w, probe), time, 0.6)
                    w = under(mask, w)
            continue
        count = sum(int(where.task.train.count[client]) for _, client in jobs)
        change, slopes = [], []
        for job, client in jobs:
            local = w
            for batch in mini_batches(where, client, job, epochs=2):
                local = under(mask, stepped(local, batch, 0.1 * 0.5**turn))
            share = int(where.task.train.count[client]) / count
            change.append({name: share * (local[name] - t) for name, t in w.items()})
            (probe,) = mini_batches(where, client, job, "probe", steps=1)
            slopes.append(gradient(local, probe))
        if not jobs:
            break
        w = {name: t + sum(one[name] for one in change) for name, t in w.items()}
        if turn in (2, 4):  # rounds 1 and 3 of stage 2
            mean = {name: torch.stack([slope[name] for slope in slopes]).mean(0) for name in mask}
            mask = plainly(w, mask, mean, time, 0.6 * 0.5**readjusted)
            w, readjusted = under(mask, w), readjusted + 1
    assert 0 < sum(int(on.sum()) for on in mask.values()) < sum(on.numel() for on in mask.values())


def test_before_it_prunes_it_is_fedavg() -> None:
    worlds = [federation(algorithm, BUFFERED) for algorithm in (PruneFl(), FedAvg())]
    for world in worlds:
        round_of(world, 0)
    for name, tensor in worlds[1]._server["params"].items():
        torch.testing.assert_close(worlds[0]._server["params"][name], tensor)


def test_one_client_alone_is_refused_where_the_others_would_spin() -> None:
    PruneFl().check(BUFFERED)
    assert not PruneFl().init_server(BUFFERED)["stage"]["first"]
    with pytest.raises(ScenarioError, match=r"write initial: none, or schedule\.kind: sync"):
        PruneFl(initial="one").check(BUFFERED)


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    where = replace(context(task(6, alpha=0.5)), cadence=Cadence(concurrency=1, updates=1))
    for algorithm in (PruneFl(initial_rounds=2), PruneFl(initial="none", readjust_every=1)):
        whole, single = (trained(algorithm, range(6), where, cohort=cohort) for cohort in (128, 1))
        for (together, _), (alone, _) in zip(whole, single, strict=True):
            assert torch.equal(together["mask"]["fc1.weight"], alone["mask"]["fc1.weight"])
            torch.testing.assert_close(together["gradient"]["fc1.weight"], alone["gradient"]["fc1.weight"])
