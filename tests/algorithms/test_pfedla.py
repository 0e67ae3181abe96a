"""pFedLA and HeurpFedLA: the sign of the hypernetwork's step, its cheap form, and which layers travel."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from toys import arrivals, bn_task, context, federation, play, task, trained

from edgesim.algorithms import hypernetwork
from edgesim.algorithms.contract import Arrivals, Client, Context
from edgesim.algorithms.messages import dense_bytes
from edgesim.algorithms.pfedla import PFedLA
from edgesim.errors import ScenarioError
from edgesim.learning.models import Model
from edgesim.learning.tree import Params, State

HERE = context()  # digits, 64-16-10: layers fc1 and fc2


def alpha(server: State, client: int) -> torch.Tensor:
    return hypernetwork.rows(server[f"hyper/{client}"], client)


def test_rows_are_weights_over_clients() -> None:
    server = PFedLA().init_server(HERE)
    for client in range(8):
        rows = alpha(server, client)
        assert rows.shape == (2, 8)
        assert (rows >= 0).all()
        torch.testing.assert_close(rows.sum(1), torch.ones(2))


def test_layers_are_blocks_or_tensors() -> None:
    model = HERE.task.model
    assert hypernetwork.layers(model, "block") == {"fc1.weight": 0, "fc1.bias": 0, "fc2.weight": 1, "fc2.bias": 1}
    assert list(hypernetwork.layers(model, "tensor").values()) == [0, 1, 2, 3]


class Lone(nn.Module):
    """Two parameters of no layer beside one that has a name."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift, self.one = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1)), nn.Linear(4, 4)


def normed() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (normed, {"0.weight": 0, "0.bias": 0, "1.weight": 1, "1.bias": 1, "2.weight": 1, "2.running_mean": -1}),
        (Lone, {"scale": 0, "shift": 1, "one.weight": 2, "one.bias": 2}),
    ],
)
def test_norms_belong_to_the_layer_before_them_if_there_is_one(
    build: Callable[[], nn.Module], wanted: dict[str, int]
) -> None:
    """Statistics are of no layer, and parameters that are of none make one each."""
    found = hypernetwork.layers(Model(module=build(), build=build, input_shape=(4,), classes=4), "block")
    assert {name: found[name] for name in wanted} == wanted


def test_networks_start_as_torch_starts_linear_maps() -> None:
    """Within ±1/√width, of 16 and then of 64; v from N(0, 1), output weights from U(0, 1), no output bias."""
    one, other = hypernetwork.start(np.random.default_rng(0), 2, rows=3, embedding=16, hidden=64)
    for name, low, high in [("W1", -0.25, 0.25), ("W2", -0.125, 0.125), ("W3", -0.125, 0.125), ("A", 0.0, 1.0)]:
        assert low <= float(one[name].min()) < low + 0.02 * (high - low)
        assert high >= float(one[name].max()) > high - 0.02 * (high - low)
        assert not torch.equal(one[name], other[name])
    assert [float(one[name].abs().max()) <= bound for name, bound in (("b1", 0.25), ("b2", 0.125))] == [True, True]
    assert float(torch.cat([one["b1"], one["b2"], one["b3"]]).abs().min()) > 0
    assert float(torch.cat([one["v"], other["v"]]).std()) == pytest.approx(1.0, abs=0.4)
    assert not one["a"].any()
    thin = {**one, "A": one["A"] / 1e4}  # only shares count, however small the sum
    torch.testing.assert_close(hypernetwork.rows(thin, 0), hypernetwork.rows(one, 0))


def test_a_model_is_the_weighted_sum_of_everyones_layers() -> None:
    algorithm = PFedLA()
    server = algorithm.init_server(HERE)
    models = {n: torch.randn(t.shape, generator=torch.Generator().manual_seed(1)) for n, t in server["models"].items()}
    server = {**server, "models": models}
    sent = algorithm.download(HERE, server, Client(3, 1, {})).state["params"]
    rows = alpha(server, 3)
    torch.testing.assert_close(sent["fc1.weight"], torch.einsum("j,jab->ab", rows[0], models["fc1.weight"]))
    torch.testing.assert_close(sent["fc2.bias"], torch.einsum("j,ja->a", rows[1], models["fc2.bias"]))


@pytest.mark.parametrize("retained", [0, 1])
def test_models_of_all_together_are_those_of_each(retained: int) -> None:
    algorithm = PFedLA(retained=retained)
    server, rng = algorithm.init_server(HERE), torch.Generator().manual_seed(1)
    server = {**server, "models": {n: torch.randn(t.shape, generator=rng) for n, t in server["models"].items()}}
    clients = [Client(id, 1, {}) for id in (5, 0, 3)]
    for client, model in zip(clients, algorithm.client_models(server, clients), strict=True):
        assert model.keys() == server["models"].keys()
        for name, tensor in algorithm.client_model(server, client).items():
            torch.testing.assert_close(model[name], tensor)
    for client, payload in zip(clients, algorithm.downloads(HERE, server, clients), strict=True):
        alone = algorithm.download(HERE, server, client)
        assert payload.size_bytes == alone.size_bytes
        assert payload.state["kept"] == alone.state["kept"]
        torch.testing.assert_close(dict(payload.state["params"]), dict(alone.state["params"]))


def two_groups(rounds: int, lr: float) -> State:
    """Six clients whose optima are +1 or −1 in one layer of five numbers; each moves halfway to its own each round."""
    algorithm = PFedLA(hyper_lr=lr)
    rng = torch.Generator().manual_seed(0)
    networks = hypernetwork.start(np.random.default_rng(0), 6, 1, 10, 10)
    server: State = {
        "models": {"w": 0.1 * torch.randn(6, 5, generator=rng)},
        "layer": {"w": torch.tensor(0)},
        **{f"hyper/{client}": network for client, network in enumerate(networks)},
    }
    target = torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]
    for _ in range(rounds):
        sent = algorithm._mixtures(server, range(6))[0]["w"]
        update = {"params": {"w": (0.5 * (target - sent)).tolist()}, "kept": {"w": [False] * 6}}
        moved = replace(arrivals(update, population=6), payloads=tuple({"params": {"w": row}} for row in sent))
        server = algorithm.aggregate(HERE, server, moved)
    return server


def test_the_aggregation_mass_goes_to_ones_own_group() -> None:
    """With the sign of the public ports (uphill) it would leave the own group instead."""
    server = two_groups(200, lr=0.02)
    for client in range(6):
        own = slice(0, 3) if client < 3 else slice(3, 6)
        assert alpha(server, client)[0, own].sum() > 0.9


def test_the_cheap_step_is_the_whole_vector_jacobian_product() -> None:
    """Against autograd through the mixture itself: ψ moves by η (∂θ̄/∂ψ)ᵀ D."""
    algorithm = PFedLA(hyper_lr=0.5, embedding=6, hidden=5)
    server = algorithm.init_server(HERE)
    rng = torch.Generator().manual_seed(2)
    server["models"] = {n: torch.randn(t.shape, generator=rng) for n, t in server["models"].items()}
    sent = algorithm.download(HERE, server, Client(2, 1, {})).state
    delta = {n: torch.randn(t.shape, generator=rng) for n, t in sent["params"].items()}
    arrived = one(2, delta, sent)
    moved = algorithm.aggregate(HERE, server, arrived)

    own = {name: tensor.clone().requires_grad_() for name, tensor in server["hyper/2"].items()}
    rows = hypernetwork.rows(own, 2)
    mixed = [torch.tensordot(rows[int(server["layer"][n])], server["models"][n], dims=1) for n in delta]
    slopes = torch.autograd.grad(mixed, list(own.values()), grad_outputs=list(delta.values()))
    for name, slope in zip(own, slopes, strict=True):
        torch.testing.assert_close(moved["hyper/2"][name] - server["hyper/2"][name], 0.5 * slope, rtol=1e-3, atol=1e-5)
    assert all(moved[group] is params for group, params in server.items() if group not in ("hyper/2", "models"))


def one(client: int, delta: Params, sent: State) -> Arrivals:
    stacked = {group: {n: t.unsqueeze(0) for n, t in params.items()} for group, params in sent.items()}
    made = arrivals({"params": {"x": [[0.0]]}})
    update = {"params": {n: t.unsqueeze(0) for n, t in delta.items()}, "kept": stacked["kept"]}
    return replace(made, clients=(client,), update=update, payloads=(sent,))


def test_participants_keep_their_model_and_others_theirs() -> None:
    world = federation(PFedLA())
    before = world._server["models"]
    world.dispatch(0, 5, 0)
    order, result = world._training.result(0)
    from edgesim.engine.learning import Received

    world.arrive(0, 5)
    world.aggregate([Received(0, 5, 0, 1.0)])
    after = world._server["models"]
    for name, tensor in after.items():
        torch.testing.assert_close(tensor[5], order.payload["params"][name] + result.update["params"][name])
        assert torch.equal(tensor[4], before[name][4])


def test_a_row_of_which_nothing_is_left_is_the_clients_own() -> None:
    """A ReLU may leave a row without weights; the public ports fail there, or fall back to the own model, too."""
    network = PFedLA().init_server(HERE)["hyper/3"]
    empty = {**network, "A": torch.cat([-network["A"][:1], network["A"][1:]])}
    rows = hypernetwork.rows(empty, 3)
    assert rows[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    torch.testing.assert_close(rows[1], hypernetwork.rows(network, 3)[1])


def test_a_late_update_replaces_the_clients_model_and_moves_its_network_less() -> None:
    """Discounted by a quarter: the network's step is as much shorter, θ_i ← θ̄_i + D_i all the same."""
    algorithm = PFedLA(hyper_lr=0.5, embedding=6, hidden=5)
    server, rng = algorithm.init_server(HERE), torch.Generator().manual_seed(2)
    server["models"] = {n: torch.randn(t.shape, generator=rng) for n, t in server["models"].items()}
    sent = algorithm.download(HERE, server, Client(2, 1, {})).state
    fresh = one(2, {n: torch.randn(t.shape, generator=rng) for n, t in sent["params"].items()}, sent)
    late = replace(fresh, discount=torch.tensor([0.25], dtype=torch.float64))
    whole, quarter = (algorithm.aggregate(HERE, server, each) for each in (fresh, late))
    for name, start in server["hyper/2"].items():
        step = whole["hyper/2"][name] - start
        torch.testing.assert_close(quarter["hyper/2"][name] - start, 0.25 * step, rtol=1e-3, atol=1e-6)
    assert all(torch.equal(quarter["models"][name], tensor) for name, tensor in whole["models"].items())


def test_running_statistics_are_the_clients_own() -> None:
    """Neither mixed nor sent down, whatever the weights of the layer that they stand behind."""
    where, algorithm = context(bn_task()), PFedLA()
    server, rng = algorithm.init_server(where), torch.Generator().manual_seed(1)
    server["models"] = {n: torch.rand(t.shape, generator=rng) for n, t in server["models"].items()}
    payload = algorithm.download(where, server, Client(1, 1, {}))
    statistics = where.task.model.statistics
    assert {name for name, kept in payload.state["kept"].items() if kept} == statistics
    for name, tensor in payload.state["params"].items():
        assert torch.equal(tensor, server["models"][name][1]) == (name in statistics)
    shapes = where.task.model.shapes
    assert payload.size_bytes == dense_bytes({name: shapes[name] for name in shapes if name not in statistics})


# ── HeurpFedLA ──────────────────────────────────────────────────────────────────────────────────────────
def test_nothing_retained_is_pfedla() -> None:
    worlds = [federation(PFedLA()), federation(PFedLA(retained=0, upload_retained=False))]
    for world in worlds:
        play(world, 3)
    for name, tensor in worlds[0]._server["models"].items():
        assert torch.equal(tensor, worlds[1]._server["models"][name])
    assert worlds[0].evaluate() == worlds[1].evaluate()


def test_the_layer_of_largest_own_weight_stays() -> None:
    algorithm = PFedLA(retained=1)
    server = algorithm.init_server(HERE)
    server["models"] = {n: torch.randn(t.shape) for n, t in server["models"].items()}
    favourite = int(alpha(server, 1)[:, 1].argmax())
    payload = algorithm.download(HERE, server, Client(1, 1, {}))
    kept = {name for name, flag in payload.state["kept"].items() if flag}
    assert kept == {f"fc{favourite + 1}.weight", f"fc{favourite + 1}.bias"}
    for name in kept:
        assert torch.equal(payload.state["params"][name], server["models"][name][1])


def test_retained_layers_are_not_sent_down_and_up_only_if_asked() -> None:
    """Values of four bytes, one byte a tensor, one for their number: 64·16 + 16 of fc1, 160 + 10 of fc2."""
    sizes = {1: 4 * (1024 + 16) + 2 + 1, 2: 4 * (160 + 10) + 2 + 1}
    for upload in (True, False):
        algorithm = PFedLA(retained=1, upload_retained=upload)
        server = algorithm.init_server(HERE)
        client = Client(0, 1, algorithm.init_client(HERE, 0))
        payload = algorithm.download(HERE, server, client)
        other = 2 if payload.state["kept"]["fc1.weight"] else 1
        assert payload.size_bytes == sizes[other]
        assert algorithm.upload_bytes(HERE, payload, client) == (HERE.dense_bytes if upload else sizes[other])


def test_a_device_that_keeps_a_layer_goes_on_from_its_own() -> None:
    """Without upload the server's copy of a retained layer stays as it was, and the device's moves on."""
    algorithm = PFedLA(retained=2, upload_retained=False)
    world = federation(algorithm)
    before = {n: t.clone() for n, t in world._server["models"].items()}
    play(world, 2)
    for name, tensor in world._server["models"].items():
        assert torch.equal(tensor, before[name])
    own = world._state(3)["own"]
    assert any(not torch.equal(own[name], before[name][3]) for name in own)
    client = Client(3, 1, world._state(3))
    assert all(torch.equal(t, own[n]) for n, t in algorithm.client_model(world._server, client).items())


def test_more_retained_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"algorithm\.retained: 3 of the model's 2 layers; write at most 2"):
        PFedLA(retained=3).check(HERE)


def test_the_server_pays_for_inner_products_and_mixtures() -> None:
    """N = 8 clients, P = 1,210 weights: 4 N P for each arrival, and three passes of its hypernetwork. All models are
    read twice for each, and its hypernetwork three times; models and hypernetworks are in memory."""
    algorithm = PFedLA(embedding=4, hidden=3)
    server = algorithm.init_server(HERE)
    made = arrivals({"params": {"w": [[0.0], [0.0]]}})
    work = algorithm.server_work(HERE, server, made)
    assert work is not None
    network = 4 + (4 * 3 + 3) + 2 * (3 * 3 + 3) + 2 * 8 * 3 + 2 * 8
    assert work.flops == 2 * (4 * 8 * 1210 + 6 * network)
    assert work.traffic_bytes == 2 * 4 * (2 * 8 * 1210 + 3 * network)
    assert work.memory_bytes == 4 * 8 * (1210 + network)
    assert (work.steps, len(work.layer_flops)) == (2, 0)


def test_personal_mixtures_learn_skewed_data() -> None:
    where: Context = context(task(8, alpha=0.1))
    world = federation(PFedLA(hyper_lr=0.05), where)
    before = world.evaluate()["accuracy"]
    play(world, 12)
    assert world.evaluate()["accuracy"] > max(0.6, before + 0.4)


def test_a_cohort_trains_as_one_client_at_a_time() -> None:
    together, alone = trained(PFedLA()), trained(PFedLA(), backend="loop")
    for a, b in zip(together, alone, strict=True):
        for name, tensor in a.update["params"].items():
            torch.testing.assert_close(tensor, b.update["params"][name], rtol=1e-4, atol=1e-6)
