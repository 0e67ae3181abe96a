"""FLASH against its specification (arXiv:2208.13092; SaraBabakN/flash_fl): warm-up, masks, merging, budgets, costs."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from toys import TRAINING, context, federation, play, task

from edgesim.algorithms.contract import Cadence, Client, Context
from edgesim.algorithms.fedavg import FedAvg
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.levels import drawn
from edgesim.engine.learning import Received
from edgesim.errors import ScenarioError
from edgesim.learning import masks
from edgesim.learning.tree import Params, State

MLP = context()  # digits, 64-16-10; the classifier stays dense, so fc1.weight's 1,024 are all that is maskable
CNN = context(task(model="cnn"))


def begun(algorithm: Flash, where: Context = MLP) -> State:
    """The server's state at the beginning of stage 2, which with 8 clients takes one report."""
    return play(federation(algorithm, where), 1, clients=1)._server


# ── stage 1 ─────────────────────────────────────────────────────────────────────────────────────────────
def test_spdst_keeps_layer_densities_only_and_draws_mask_and_weights_anew() -> None:
    algorithm = Flash(density=0.3, layers="conv+linear")
    first, second = algorithm.init_server(MLP), begun(algorithm)
    assert first["stage"]["warm"]
    for mask in first["mask"].values():  # of uniform density, and not ERK's, which leaves fc2 dense
        assert float(mask.float().mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / mask.numel()) ** 0.5)
    assert not second["stage"]["warm"]
    for name, mask in second["mask"].items():
        share = float(mask.float().mean())
        both = float((mask & first["mask"][name]).float().mean())
        assert both == pytest.approx(share * float(first["mask"][name].float().mean()), abs=0.05)  # independent places
        fresh = second["params"][name][mask & first["mask"][name]]
        assert not torch.isin(fresh, first["params"][name]).any()  # neither start nor trained values
    size = {name: tensor.numel() for name, tensor in second["mask"].items()}
    reports = {name: float(second["reports"][name]) for name in size}
    ratio = 0.3 * sum(size.values()) / sum(reports[name] * size[name] for name in size)
    for name, mask in second["mask"].items():  # four standard deviations of a Bernoulli mask
        wanted = min(1.0, reports[name] * ratio)
        assert float(mask.float().mean()) == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / size[name]) ** 0.5)


def test_the_warm_up_waits_for_its_share_of_the_clients_and_finds_unequal_densities() -> None:
    """A quarter of 8 clients: two reports; ⌊0.01 · 8⌋ = 0 still wants one."""
    world = federation(Flash(density=0.3, warm_up_share=0.25, layers="conv+linear"))
    assert play(world, 1, clients=1)._server["stage"]["warm"]
    assert not play(world, 1, clients=1, first=1)._server["stage"]["warm"]
    assert not begun(Flash(warm_up_share=0.01))["stage"]["warm"]
    found = world._server["reports"]
    assert float(found["fc2.weight"]) > float(found["fc1.weight"])  # the small classifier is the more sensitive


def test_a_warm_up_job_is_ten_times_the_work_and_sends_up_only_densities() -> None:
    """Up: 1 B of parts, 1 B of form, 4 B for each of two tensors. Down: active values, 2 + 2 words for the mask."""
    algorithm = Flash(density=0.3, layers="conv+linear")
    server, client = algorithm.init_server(MLP), Client(0, 20, algorithm.init_client(MLP, 0))
    payload = algorithm.download(MLP, server, client)
    active = sum(int(mask.sum()) for mask in server["mask"].values())
    assert payload.training == replace(TRAINING, epochs=10)
    assert algorithm.upload_bytes(MLP, payload, client) == 1 + 1 + 4 * 2
    assert payload.size_bytes == 4 * (active + 26) + 4 * (2 + 2) + 1 + 5
    later = algorithm.download(MLP, begun(algorithm), client)
    long, short = algorithm.workload(MLP, payload, client), algorithm.workload(MLP, later, client)
    assert long.steps == 10 / 2 * short.steps


def test_reports_that_come_after_the_warm_up_are_ignored() -> None:
    world = federation(Flash(density=0.3))
    world.dispatch(0, 0, 0)
    world.dispatch(1, 1, 0)
    world.aggregate([Received(0, 0, 0, 1.0)])
    before = world._server
    assert not before["stage"]["warm"]
    world.aggregate([Received(1, 1, 1, 1.0)])
    assert world._server["params"] is before["params"]
    assert world._server["reports"] is before["reports"]
    assert world._server["stage"]["round"] == 0
    world.dispatch(2, 2, 2)
    world.dispatch(3, 1, 2)
    world.aggregate([Received(2, 2, 0, 1.0), Received(3, 1, 0, 1.0)])
    assert int(world._server["stage"]["round"]) == 1


@pytest.mark.usefixtures("step_by_step")
# ── stage 2 ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("mode", ["dense", "pdst", "spdst", "jmwst", "nst"])
def test_at_density_one_every_mode_is_fedavg_with_equal_weights(mode: str) -> None:
    flash = federation(Flash(mode=mode, density=1.0, layers="conv+linear"))  # type: ignore[arg-type]
    if mode in ("spdst", "jmwst"):
        play(flash, 1, clients=1)
    fedavg = federation(FedAvg(weighting="uniform"))
    fedavg._server = {"params": flash._server["params"]}
    for turn in (1, 2):
        play(flash, 1, clients=4, first=turn)
        play(fedavg, 1, clients=4, first=turn)
    for name, tensor in fedavg._server["params"].items():
        assert torch.equal(flash._server["params"][name], tensor)


def test_a_fixed_mask_stays_and_so_do_the_weights_that_are_off() -> None:
    world = play(federation(Flash(mode="pdst", density=0.2)), 3, clients=4)
    mask, params = world._server["mask"]["fc1.weight"], world._server["params"]["fc1.weight"]
    assert torch.equal(mask, Flash(mode="pdst", density=0.2).init_server(MLP)["mask"]["fc1.weight"])
    assert not params[~mask].any()
    assert params[mask].all()
    assert world._server["params"]["fc2.weight"].all()  # the classifier is dense


def test_jmwst_masks_agree_more_than_those_of_nst() -> None:
    """Mean overlap |a ∧ b| / |a ∨ b| of what four clients hold after four rounds."""
    overlap = {}
    for mode, start in (("nst", 0), ("jmwst", 1)):
        world = federation(Flash(mode=mode, density=0.2))  # type: ignore[arg-type]
        if start:
            play(world, 1, clients=1)
        play(world, 4, clients=4, first=start)
        for client in range(4):
            world.dispatch(900 + client, client, 5)
        held = [world._training.result(900 + client)[1].update["mask"]["fc1.weight"] for client in range(4)]
        overlap[mode] = np.mean([float((a & b).sum() / (a | b).sum()) for a, b in combinations(held, 2)])
    assert overlap["jmwst"] > 1.3 * overlap["nst"]


@pytest.mark.parametrize("recalibration", ["avg", "aggregate"])
def test_jmwst_makes_a_mask_of_the_largest_weights_every_r_int_rounds(recalibration: str) -> None:
    algorithm = Flash(mode="jmwst", density=0.2, r_int=2, recalibration=recalibration)  # type: ignore[arg-type]
    world = play(federation(algorithm), 1, clients=1)
    seen = []
    for turn in (1, 2, 3):
        play(world, 1, clients=4, first=turn)
        seen.append(world._server["mask"]["fc1.weight"])
        params = world._server["params"]["fc1.weight"]
        assert not params[~seen[-1]].any()
        assert float(seen[-1].float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(seen[0], seen[1])  # round 1 trains under the frozen mask
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("update_mode", ["mean", "masked"])
def test_the_model_stays_under_the_mask_where_a_late_client_holds_more(update_mode: str) -> None:
    """Two clients begin while masks move; the first one's update brings a new mask, which then rests for a round, and
    the second one's comes in that round: places of its own that the mask has off are not part of the model in use."""
    algorithm = Flash(mode="jmwst", density=0.2, r_int=2, update_mode=update_mode)  # type: ignore[arg-type]
    world = play(federation(algorithm), 1, clients=1)
    world.dispatch(98, 1, 1)
    world.dispatch(99, 2, 1)
    world.aggregate([Received(98, 1, 0, 1.0)])
    held = world._training.result(99)[1].update["mask"]["fc1.weight"]
    world.aggregate([Received(99, 2, 1, 1.0)])
    mask = world._server["mask"]["fc1.weight"]
    assert (held & ~mask).any()
    assert not world._server["params"]["fc1.weight"][~mask].any()
    assert world._server["params"]["fc1.weight"][held & mask].any()


def test_the_masked_mean_divides_by_the_holders_and_the_mean_by_all() -> None:
    """w = (1, 2, 4, 8); A trains to (3, 4, 0, 0), B to (5, 0, 0, 6); held: A 1, 2; B 1, 4.
    mean: (8, 4, 0, 6) / 2. masked: (8/2, 4/1, nobody: 0, 6/1)."""
    trained = torch.tensor([[3.0, 4.0, 0.0, 0.0], [5.0, 0.0, 0.0, 6.0]]).unsqueeze(1)
    start = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    held = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 1]], dtype=torch.bool).unsqueeze(1)
    from toys import arrivals

    job = {"warm": [False] * 2, "moves": [True] * 2, "level": [1.0] * 2}
    two = arrivals({"params": {"w": (trained - start).tolist()}, "mask": {"w": held.tolist()}, "job": job})
    server: State = {
        "params": {"w": start},
        "mask": {"w": torch.ones(1, 4, dtype=torch.bool)},
        "stage": {"warm": torch.tensor(False), "round": torch.tensor(1)},
    }
    mean = Flash(mode="nst").aggregate(MLP, server, two)["params"]["w"]
    masked = Flash(mode="nst", update_mode="masked").aggregate(MLP, server, two)["params"]["w"]
    assert mean.tolist() == [[4.0, 2.0, 0.0, 3.0]]
    assert masked.tolist() == [[4.0, 4.0, 0.0, 6.0]]


def test_weights_that_all_clients_have_off_leave_no_trace() -> None:
    """w − w/3 − w/3 − w/3 is not 0 in single precision for a quarter of all numbers; they would count as active, and so
    make tensors' budgets larger."""
    from toys import arrivals

    start = torch.linspace(0.1, 1.0, 100).view(1, 100)
    server: State = {
        "params": {"w": start},
        "mask": {"w": torch.ones(1, 100, dtype=torch.bool)},
        "stage": {"warm": torch.tensor(False), "round": torch.tensor(1)},
    }
    job = {"warm": [False] * 3, "moves": [True] * 3, "level": [1.0] * 3}
    held = torch.arange(100).lt(10).expand(3, 1, 100)
    three = arrivals({"params": {"w": [[[0.5] * 100]] * 3}, "mask": {"w": held.tolist()}, "job": job})
    after = Flash(mode="nst").aggregate(MLP, server, three)["params"]["w"]
    assert int(torch.count_nonzero(after)) == 10
    torch.testing.assert_close(after[held[0]], start[held[0]] + 0.5)


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────────────
HETERO = Flash(density=0.4, budgets="positions", update_mode="masked")


def test_sub_masks_are_nested_and_thinner_by_their_level() -> None:
    world = play(federation(HETERO), 1, clients=1)
    server = play(world, 2, clients=4, first=1)._server
    full = int(torch.count_nonzero(server["params"]["fc1.weight"]))
    half, most = server["mask/0.5"]["fc1.weight"], server["mask/0.75"]["fc1.weight"]
    assert not (half & ~most).any()
    assert not (most & ~server["mask"]["fc1.weight"]).any()
    assert (int(half.sum()), int(most.sum())) == (int(0.2 * 1024), int(0.3 * 1024))
    assert full == pytest.approx(0.4 * 1024, abs=60)


def test_levels_are_drawn_anew_for_each_round_in_the_shares_of_the_paper() -> None:
    """0.5 : 0.75 : 1 as 3 : 3 : 4; everybody has the full mask in the first round."""
    server = begun(HETERO)
    client = [Client(number, 20, HETERO.init_client(MLP, number)) for number in range(400)]
    assert {float(HETERO.download(MLP, server, who).state["job"]["level"]) for who in client} == {1.0}
    later = {**server, "stage": {**server["stage"], "round": torch.tensor(3)}}
    drawn = [float(HETERO.download(MLP, later, who).state["job"]["level"]) for who in client]
    assert [drawn.count(level) / 400 for level in (0.5, 0.75, 1.0)] == pytest.approx([0.3, 0.3, 0.4], abs=0.08)
    other = {**server, "stage": {**server["stage"], "round": torch.tensor(4)}}
    assert drawn != [float(HETERO.download(MLP, other, who).state["job"]["level"]) for who in client]


def test_a_devices_memory_decides_its_budget() -> None:
    """Room for the training of level 1, of 0.75 but not 1, and of none, which gets the smallest."""
    algorithm = replace(HETERO, budgets="memory")
    ample = _with_memory(10**9)
    server, client = begun(algorithm, ample), algorithm.init_client(ample, 0)
    wanted = []
    for level in (1.0, 0.75, 0.5):
        only = replace(algorithm, levels=(level,)).download(ample, server, Client(0, 20, client))
        wanted.append(algorithm.workload(ample, only, Client(0, 20, client)).memory_bytes)
    assert wanted == sorted(wanted, reverse=True)
    for memory, level in ((wanted[0], 1.0), (wanted[0] - 1, 0.75), (wanted[2] - 1, 0.5)):
        sent = algorithm.download(_with_memory(memory), server, Client(0, 20, client))
        assert float(sent.state["job"]["level"]) == level


def test_the_model_in_use_is_what_the_device_can_hold() -> None:
    """The sub-mask of its level, also where a client was never asked for anything."""
    algorithm = replace(HETERO, budgets="memory")
    for memory, level in ((1, "mask/0.5"), (10**9, "mask")):
        world = play(federation(algorithm, _with_memory(memory)), 3, clients=2)
        mask = world._server[level]["fc1.weight"]
        for client in (0, 5):
            in_use = algorithm.client_model(world._server, world._who(client))["fc1.weight"]
            assert torch.equal(in_use, world._server["params"]["fc1.weight"] * mask)


def test_small_devices_warm_up_small_and_report_in_shares_of_their_level() -> None:
    """0.2 of fc1 are active, at density 0.4 and level 0.5: what is reported is 0.4."""
    algorithm, small = replace(HETERO, budgets="memory"), _with_memory(1)
    job = algorithm.download(small, algorithm.init_server(small), Client(0, 20, algorithm.init_client(small, 0))).state
    assert job["job"]["warm"]
    assert float(job["mask"]["fc1.weight"].float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(begun(algorithm, small)["reports"]["fc1.weight"]) == pytest.approx(0.4, abs=0.05)


def _with_memory(limit_bytes: int) -> Context:
    return replace(context(), memory_bytes=np.full(8, limit_bytes))


def test_a_weight_that_nobody_was_sent_stays() -> None:
    """Only level 0.5 takes part: the rest of the mask keeps its values, though no one holds it."""
    algorithm = replace(HETERO, budgets="memory")
    world = play(federation(algorithm, _with_memory(1)), 1, clients=1)
    before = world._server
    after = play(world, 1, clients=4, first=1)._server["params"]["fc1.weight"]
    beyond = before["mask"]["fc1.weight"] & ~before["mask/0.5"]["fc1.weight"]
    assert torch.equal(after[beyond], before["params"]["fc1.weight"][beyond])
    assert not torch.equal(after, before["params"]["fc1.weight"])


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        (Flash(budgets="positions"), "update_mode: masked"),
        (Flash(mode="pdst", budgets="positions", update_mode="masked"), "want mode spdst or jmwst"),
        (replace(HETERO, mode="jmwst"), "budgets want aggregate"),
        (replace(HETERO, levels=(0.5, 0.75)), "it must be 1"),
        (replace(HETERO, budgets="memory"), "memory needs a fleet"),
        (Flash(layers="conv"), "nothing to mask; use conv"),
    ],
)
def test_what_makes_no_sense_is_refused(algorithm: Flash, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        algorithm.check(MLP)


# ── costs ───────────────────────────────────────────────────────────────────────────────────────────────
def _bytes(algorithm: Flash, server: State, client: Client, where: Context = MLP) -> tuple[int, int | None]:
    payload = algorithm.download(where, server, client)
    return payload.size_bytes, algorithm.upload_bytes(where, payload, client)


def test_spdst_sends_the_active_values_both_ways_and_its_mask_once_as_a_seed() -> None:
    """d·P: 4 B for each active weight of fc1 and all 186 others; 5 B of framing; at first 3 words and a form more."""
    algorithm = Flash(density=0.1)
    server, state = begun(algorithm), algorithm.init_client(MLP, 5)
    values = 4 * (int(server["mask"]["fc1.weight"].sum()) + 160 + 26) + 5
    assert _bytes(algorithm, server, Client(5, 20, state)) == (values + 4 * (2 + 1) + 1, values)
    seen = {**state, "seen": {**state["seen"], "version": server["seen"]["version"]}}
    assert _bytes(algorithm, server, Client(5, 20, seen)) == (values, values)


def test_jmwst_sends_masks_both_ways() -> None:
    """Down a bitmap of 1,024 / 8 B once the mask is not a random one; up the client's own."""
    world = play(federation(Flash(mode="jmwst", density=0.2)), 1, clients=1)
    server = play(world, 1, clients=4, first=1)._server
    algorithm = Flash(mode="jmwst", density=0.2)
    down, up = _bytes(algorithm, server, Client(0, 20, algorithm.init_client(MLP, 0)))
    assert down == 4 * (int(server["mask"]["fc1.weight"].sum()) + 186) + 5 + 128
    assert up is None
    world.dispatch(99, 0, 2)
    held = world._training.result(99)[1].update["mask"]["fc1.weight"]
    assert world.upload_bytes(99) == 4 * (int(held.sum()) + 186) + 5 + 128


def test_a_client_that_was_sent_a_sub_mask_has_yet_to_be_told_the_whole_one() -> None:
    """Of one mask: a sub-mask in one round, with its places; all of it in the next, 3 words and a form more; and then
    no more."""
    world = play(federation(HETERO), 2, clients=1)
    level = {turn: [drawn(MLP, HETERO.levels, turn, client) for client in range(8)] for turn in (1, 2)}
    client = next(c for c in range(1, 8) if level[1][c] < 1 == level[2][c])
    sub = world._server[f"mask/{level[1][client]:g}"]["fc1.weight"]
    assert _bytes(HETERO, world._server, world._who(client))[0] == 4 * (int(sub.sum()) + 186) + 5 + 1024 // 8
    world.dispatch(99, client, 2)
    world.arrive(99, client)
    world.aggregate([Received(99, client, 0, 1.0)])
    values = 4 * (int(world._server["mask"]["fc1.weight"].sum()) + 186) + 5
    assert _bytes(HETERO, world._server, world._who(client))[0] == values + 4 * (2 + 1) + 1
    world.dispatch(100, client, 3)
    world.arrive(100, client)
    assert _bytes(HETERO, world._server, world._who(client))[0] == values


def test_random_regrowth_costs_no_dense_gradients() -> None:
    """FLOPs: fc1 has forward and weight gradient only, fc2 all three; nst and pdst cost the same."""
    work = []
    for mode in ("nst", "pdst"):
        algorithm = Flash(mode=mode, density=0.5)
        client = Client(0, 20, algorithm.init_client(MLP, 0))
        payload = algorithm.download(MLP, algorithm.init_server(MLP), client)
        share = masks.densities(payload.state["mask"])["fc1.weight"]
        work.append(algorithm.workload(MLP, payload, client).flops)
        assert work[-1] == pytest.approx((2 * 1024 * 2 * share + 2 * 160 * 3) * 20 * 2)
    assert work[0] == work[1]


def test_convolutions_are_what_is_masked_where_there_are_any() -> None:
    assert set(Flash().init_server(CNN)["mask"]) == {"conv1.weight", "conv2.weight"}
    assert set(Flash(layers="conv+linear").init_server(CNN)["mask"]) > {"conv1.weight", "conv2.weight"}
    assert "conv1.weight" not in Flash(layers="middle").init_server(CNN)["mask"]


@pytest.mark.parametrize("mode", ["nst", "jmwst"])
def test_a_cohort_trains_as_one_client_at_a_time(mode: str) -> None:
    """Clients of unequal sizes, whose masks move at different steps."""
    where = context(task(6, alpha=0.5))
    algorithm = Flash(mode=mode, density=0.3, layers="conv+linear")  # type: ignore[arg-type]
    results: list[list[Params]] = []
    for cohort in (128, 1):
        world = federation(algorithm, where, cohort=cohort)
        for client in range(6):
            world.dispatch(client, client, 0)
        results.append([world._training.result(client)[1].update["mask"] for client in range(6)])
    for together, alone in zip(*results, strict=True):
        for name in together:
            assert torch.equal(together[name], alone[name])


def test_the_learning_rate_decays_from_stage_2_on() -> None:
    """Four clients, buffers of one: two aggregations are stage 1's, a third one's report comes too late."""
    where = replace(context(training=replace(TRAINING, lr=0.1, lr_decay=0.5)), cadence=Cadence(kind="buffered"))
    world = federation(Flash(density=0.3, warm_up_share=0.25), where)

    def rate(job: int, version: int) -> float:
        world.dispatch(job, job, version)
        order, _ = world._training.result(job)
        solver = order.training or where.training
        return solver.lr * solver.lr_decay**version

    assert [rate(job, 0) for job in range(3)] == [0.1] * 3
    for job in range(3):
        world.aggregate([Received(job, job, job, 1.0)])
    assert rate(3, 3) == pytest.approx(0.1)
    world.aggregate([Received(3, 3, 0, 1.0)])
    assert rate(4, 4) == pytest.approx(0.05)
