"""FedSpa, FLASH, FFGG and pFedLA against plain versions of their own, whole rounds of them with some of the clients:
models, masks, hypernetworks, and how good the models in use are."""

import math
from typing import Any

import pytest
import torch
from plain import (
    CLIENTS,
    Model,
    assert_close,
    assert_in_use,
    chances,
    doubled,
    gradient,
    here,
    mini_batches,
    rounds,
    samples,
    stepped,
    under,
    with_largest,
    without_smallest,
)

from edgesim.algorithms.contract import Context
from edgesim.algorithms.fedspa import FedSpa
from edgesim.algorithms.ffgg import FFGG
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.levels import drawn
from edgesim.algorithms.pfedla import PFedLA
from edgesim.learning.training import Training

COHORTS = [[0, 1, 2], [1, 3, 5, 2], [0, 2, 4]]


# ── FedSpa: algorithms.md 1.3 and 1.4 ───────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("divisor", ["sampled", "holders"])
def test_fedspa(divisor: str) -> None:
    """The mean over the sampled clients, whatever their samples, or over the holders of each weight; a regrown weight
    goes on from the server's value; α_t falls by a cosine over T = 4 rounds."""
    where, algorithm = here(), FedSpa(density=0.4, divisor=divisor)  # type: ignore[arg-type]
    mask = {client: algorithm.init_client(where, client)["mask"] for client in range(CLIENTS)}
    w = doubled(algorithm.init_server(where)["params"])
    for turn, (made, jobs) in enumerate(rounds(algorithm, where, COHORTS)):
        assert_close(made._server["params"], w)
        for client in range(CLIENTS):
            now = made._who(client).state["mask"]
            assert all(torch.equal(now[name], on) for name, on in mask[client].items())
        models = [under(mask[client], w) for client in range(CLIENTS)]
        assert_in_use(made, where, models)
        if not jobs:
            break
        alpha = 0.5 / 2 * (1 + math.cos(math.pi * turn / 4))
        change, held = [], []
        for job, client in jobs:
            local = under(mask[client], w)
            for batch in mini_batches(where, client, job, epochs=2):
                local = under(mask[client], stepped(local, batch, 0.1 * 0.5**turn))
            change.append({name: local[name] - start for name, start in under(mask[client], w).items()})
            held.append(mask[client])
            (probe,) = mini_batches(where, client, job, "probe", steps=1)
            slope, moved = gradient(local, probe), {}
            for name, on in mask[client].items():
                left = without_smallest(on, local[name], alpha)
                moved[name] = with_largest(left, slope[name], int(on.sum() - left.sum()))
            mask[client] = moved
        for name in w:
            holders = torch.tensor(len(jobs))
            if divisor == "holders" and name in held[0]:
                holders = torch.stack([on[name] for on in held]).sum(0).clamp_min(1)
            w[name] = w[name] + sum(one[name] for one in change) / holders


# ── FLASH: algorithms.md 2.3 to 2.5 ─────────────────────────────────────────────────────────────────────────
def dst(
    where: Context, client: int, job: int, model: Model, mask: Model, budget: float, lr: float, epochs: int
) -> tuple[Model, Model]:
    """The local routine of a trimmed Sparse-Momentum library: the trained model and its mask."""
    training = mini_batches(where, client, job, epochs=epochs)
    local, size = under(mask, model), {name: on.numel() for name, on in mask.items()}
    missed: list[float] = []
    correction = 0.0
    for step, batch in enumerate(training):
        local = under(mask, stepped(local, batch, lr))
        rate = 0.25 - (step + 1) * 0.25 / len(training)
        each = len(training) // epochs
        if step != each // 2 if epochs == 1 else (step + 1) % each or step + 1 == len(training):
            continue
        active = {name: int(on.sum()) for name, on in mask.items()}
        mean = {name: float(local[name].abs().sum()) / active[name] for name in mask}
        share = {name: value / sum(mean.values()) for name, value in mean.items()}
        left = {}
        for name, on in mask.items():
            sparsity = 1 - active[name] / size[name]
            least = min(sparsity, rate) if sparsity < 0.2 and share[name] > 1 / len(mask) else rate
            left[name] = without_smallest(on, local[name], least)
        off = {name: size[name] - int(on.sum()) for name, on in left.items()}
        removed = sum(active.values()) - sum(int(on.sum()) for on in left.values())
        grown: dict[str, float] = {name: math.ceil(share[name] * (removed + correction)) for name in mask}
        while any(grown[name] > 0.99 * off[name] + 1e-9 for name in mask):
            over = sum(max(grown[name] - 0.99 * off[name], 0) for name in mask)
            grown = {name: min(grown[name], 0.99 * off[name]) + over / len(mask) for name in mask}
        numbers = chances(where, client, job, f"regrow/{step}", sum(size.values()))
        drawn = torch.split(numbers, list(size.values()))
        mask = {
            name: on | (drawn[place].double() < math.floor(grown[name]) / off[name]).view(on.shape)
            for place, (name, on) in enumerate(left.items())
        }
        local = under(mask, local)
        missed.append(budget - sum(int(on.sum()) for on in mask.values()))
        correction = 0.25 * correction + 0.75 * missed[-1] + sum(missed) / len(missed)
    return local, mask


@pytest.mark.parametrize("epochs", [1, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "nst", "density": 0.85},
        {"mode": "nst", "density": 0.3, "update_mode": "masked"},
        {"mode": "pdst", "density": 0.3},
        {"mode": "spdst", "density": 0.4, "update_mode": "masked"},
        {"mode": "jmwst", "density": 0.3, "recalibration": "avg"},
        {"mode": "jmwst", "density": 0.3, "recalibration": "aggregate", "update_mode": "masked"},
        {"mode": "jmwst", "density": 0.6, "recalibration": "aggregate", "r_int": 2},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_flash(options: dict[str, Any], epochs: int) -> None:
    """Two rounds of one report each until ⌊0.45 · 6⌋ = 2 are there; then three rounds of stage 2, merged with equal
    weights; the learning rate falls from then on."""
    where = here(Training(lr=0.1, lr_decay=0.5, batch_size=8, epochs=epochs))
    algorithm = Flash(warm_up_share=0.45, warm_up_epochs=4, **options)
    mode, density, masked = options["mode"], options["density"], options.get("update_mode") == "masked"
    before = 2 if mode in ("spdst", "jmwst") else 0
    cohorts = [[3], [0]][:before] + COHORTS
    first = algorithm.init_server(where)
    w, mask = doubled(first["params"]), first["mask"]
    own = dict.fromkeys(range(CLIENTS), mask)  # of nst
    size = {name: on.numel() for name, on in mask.items()}
    found = dict.fromkeys(size, 0.0)
    budget = density * sum(size.values())
    for turn, (made, jobs) in enumerate(rounds(algorithm, where, cohorts)):
        if turn == before > 0:
            assert not made._server["stage"]["warm"]
            for name in size:
                assert float(made._server["reports"][name]) == pytest.approx(found[name])
            w, mask = doubled(made._server["params"]), made._server["mask"]  # drawn anew
        assert_close(under(mask if mode == "jmwst" else {}, made._server["params"]), w)
        assert all(torch.equal(made._server["mask"][name], on) for name, on in mask.items())
        if turn >= before:
            models = [under(own[client] if mode == "nst" else mask, w) for client in range(CLIENTS)]
            assert_in_use(made, where, models)
        if not jobs:
            break
        if turn < before:
            ((job, client),) = jobs
            _, moved = dst(where, client, job, w, mask, budget, 0.1, 4)
            found = {name: value + float(moved[name].double().mean()) for name, value in found.items()}
            continue
        renews = mode == "jmwst" and (turn - before) % options.get("r_int", 1) == 0
        trained, held = [], []
        for job, client in jobs:
            start, lr = own[client] if mode == "nst" else mask, 0.1 * 0.5 ** (turn - before)
            if mode == "nst" or renews:
                local, moved = dst(where, client, job, w, start, budget, lr, epochs)
            else:
                local, moved = under(start, w), start
                for batch in mini_batches(where, client, job, epochs=epochs):
                    local = under(start, stepped(local, batch, lr))
            trained.append(local)
            held.append(moved)
            own[client] = moved
        for name in w:
            holders = torch.tensor(len(jobs))
            if masked and name in mask:
                holders = torch.stack([on[name] for on in held]).sum(0).clamp_min(1)
            w[name] = sum(local[name] for local in trained) / holders
        if renews:
            ones = {name: sum(int(on[name].sum()) for on in held) / len(held) for name in mask}
            if options["recalibration"] == "aggregate":
                ones = not_zero(w, mask)
            mask = of_largest(w, ones, budget)
            w = under(mask, w)


def of_largest(w: Model, ones: dict[str, float], budget: float) -> Model:
    """The mask of so many weights in all, as far as there are so many, in shares of `ones`."""
    ratio = min(1.0, budget / sum(ones.values()))
    return {name: with_largest(torch.zeros(w[name].shape).bool(), w[name], int(n * ratio)) for name, n in ones.items()}


def not_zero(w: Model, mask: Model) -> dict[str, float]:
    return {name: float(torch.count_nonzero(w[name])) for name in mask}


@pytest.mark.parametrize("mode", ["spdst", "jmwst"])
def test_hetero_flash(mode: str) -> None:
    """Everybody has the whole mask at first, then one of the level drawn; a weight that nobody holds is 0, or stays
    where nobody was sent it. In use is the whole model."""
    where, levels = here(Training(lr=0.1, lr_decay=0.5, batch_size=8, epochs=4)), (0.5, 0.75, 1.0)
    algorithm = Flash(
        mode=mode, density=0.5, recalibration="aggregate", update_mode="masked", budgets="positions", levels=levels,  # type: ignore[arg-type]
        warm_up_share=0.1, warm_up_epochs=1,
    )  # fmt: skip
    w: Model = {}
    mask: Model = {}
    for turn, (made, jobs) in enumerate(rounds(algorithm, where, [[3], *COHORTS, [0, 1, 3, 5], [2, 4, 5]])):
        if turn < 2:  # the warm-up, and what it leads to
            w, mask = doubled(made._server["params"]), made._server["mask"]
        budget = 0.5 * sum(on.numel() for on in mask.values())
        assert_close(made._server["params"], w)
        assert all(torch.equal(made._server["mask"][name], on) for name, on in mask.items())
        assert_in_use(made, where, [w] * CLIENTS)
        if turn < 1 or not jobs:
            continue
        trained, held, sent = [], [], []
        for job, client in jobs:
            level = 1.0 if turn == 1 else drawn(where, levels, turn - 1, client)
            start = mask if level == 1 else of_largest(w, not_zero(w, mask), level * budget)
            lr = 0.1 * 0.5 ** (turn - 1)
            if mode == "jmwst":
                local, moved = dst(where, client, job, w, start, level * budget, lr, 4)
            else:
                local, moved = under(start, w), start
                for batch in mini_batches(where, client, job, epochs=4):
                    local = under(start, stepped(local, batch, lr))
            trained.append(local)
            held.append(moved)
            sent.append(start)
        for name, before in w.items():
            total, holders = torch.stack([local[name] for local in trained]).sum(0), torch.tensor(len(jobs))
            if name in mask:
                holders = torch.stack([on[name] for on in held]).sum(0)
                was_sent = torch.stack([on[name] for on in sent]).any(0)
                total = torch.where((holders > 0) | was_sent, total, before)
            w[name] = total / holders.clamp_min(1)
        if mode == "jmwst":
            mask = of_largest(w, not_zero(w, mask), budget)
            w = under(mask, w)


# ── FFGG: algorithms.md 3.3, on a network ───────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("start", ["warm", "zero"])
@pytest.mark.parametrize("local_steps", [0, 3])
def test_ffgg(start: str, local_steps: int) -> None:
    """τ = 5 steps of the head from where it was, or from 0; then one gradient of the body over all samples, or steps of
    it; equal weights. A client's model is fine-tuned before it is used."""
    where, head = here(), ("fc3.weight", "fc3.bias")
    algorithm = FFGG(tau=5, start=start, local_steps=local_steps)  # type: ignore[arg-type]
    first = doubled(where.task.model.init(where.seed))
    body = {name: tensor for name, tensor in first.items() if name not in head}
    own = {client: {name: first[name] for name in head} for client in range(CLIENTS)}

    def tuned(client: int, job: int, turn: int) -> Model:
        model = body | {name: tensor if start == "warm" else 0 * tensor for name, tensor in own[client].items()}
        for batch in mini_batches(where, client, job, "fine-tune", epochs=5, steps=5):
            model = stepped(model, batch, 0.1 * 0.5**turn, head)
        return model

    for turn, (made, jobs) in enumerate(rounds(algorithm, where, COHORTS)):
        assert_close(made._server["params"], body)
        models = [tuned(client, turn, turn) for client in range(CLIENTS)]
        assert_in_use(made, where, models)
        change = []
        for job, client in jobs:
            model = tuned(client, job, turn)
            own[client] = {name: model[name] for name in head}
            if not local_steps:
                slope = gradient(model, samples(where, client))
                change.append({name: -0.1 * slope[name] for name in body})
                continue
            for batch in mini_batches(where, client, job, "local", epochs=3, steps=3):
                model = stepped(model, batch, 0.1 * 0.5**turn, body)
            change.append({name: model[name] - tensor for name, tensor in body.items()})
        if jobs:
            body = {name: tensor + sum(one[name] for one in change) / len(jobs) for name, tensor in body.items()}


# ── pFedLA and HeurpFedLA: algorithms.md 4.2 to 4.4 ─────────────────────────────────────────────────────────
def rows(network: Model, client: int) -> torch.Tensor:
    """α of a client, [layer, client]."""
    h = network["v"]
    for number in "123":
        h = torch.relu(network[f"W{number}"] @ h + network[f"b{number}"])
    raw = torch.relu(network["A"] @ h + network["a"])
    return torch.stack([row / row.sum() if row.sum() > 0 else torch.eye(CLIENTS)[client].double() for row in raw])


@pytest.mark.parametrize("options", [{}, {"unit": "tensor", "retained": 2}, {"retained": 1, "upload_retained": False}])
def test_pfedla(options: dict[str, Any]) -> None:
    """The hypernetworks' step by a graph of the whole mixture, down the client's loss; all clients of a round start
    from the same models; of layers that are retained, the client's own is trained."""
    where = here()
    algorithm = PFedLA(hyper_lr=2.0, embedding=7, hidden=6, **options)
    server, first = algorithm.init_server(where), doubled(where.task.model.init(where.seed))
    network = [doubled(server[f"hyper/{client}"]) for client in range(CLIENTS)]
    models, own = [dict(first) for _ in range(CLIENTS)], [dict(first) for _ in range(CLIENTS)]
    by_tensor = options.get("unit") == "tensor"
    layer = {name: place if by_tensor else place // 2 for place, name in enumerate(first)}

    def mixture(client: int, of: Model) -> tuple[Model, set[str]]:
        """θ̄ of a client, and the tensors that it retains."""
        alpha = rows(of, client)
        most = sorted(range(len(alpha)), key=lambda row: -float(alpha[row, client].detach()))[
            : options.get("retained", 0)
        ]
        stays = {name for name, row in layer.items() if row in most}
        mixed = {
            name: own[client][name] if name in stays
            else sum((alpha[row, peer] * models[peer][name] for peer in range(CLIENTS)), torch.zeros(()))
            for name, row in layer.items()
        }  # fmt: skip
        return mixed, stays

    for turn, (made, jobs) in enumerate(rounds(algorithm, where, COHORTS)):
        for client in range(CLIENTS):
            assert_close({name: tensor[client] for name, tensor in made._server["models"].items()}, models[client])
            assert_close(made._server[f"hyper/{client}"], network[client])
        in_use = [mixture(client, network[client])[0] for client in range(CLIENTS)]
        assert_in_use(made, where, in_use)
        trained = {}
        for job, client in jobs:
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in network[client].items()}
            mixed, stays = mixture(client, leaves)
            local = {name: tensor.detach() for name, tensor in mixed.items()}
            for batch in mini_batches(where, client, job, epochs=2):
                local = stepped(local, batch, 0.1 * 0.5**turn)
            gain = sum(((local[n] - t.detach()) * t).sum() for n, t in mixed.items() if n not in stays)
            assert isinstance(gain, torch.Tensor)
            slopes = torch.autograd.grad(gain, list(leaves.values()))
            network[client] = {
                name: tensor + 2.0 * slope
                for (name, tensor), slope in zip(network[client].items(), slopes, strict=True)
            }
            trained[client] = local, set() if options.get("upload_retained", True) else stays
        for client, (local, silent) in trained.items():
            models[client] = {name: models[client][name] if name in silent else local[name] for name in local}
            own[client] = local
