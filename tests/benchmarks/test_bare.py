"""The bare limits do the same arithmetic as plain SGD by autograd, only faster."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import bare


def test_a_stacked_step_is_each_clients_own_step() -> None:
    """One full batch a client, so that the order of samples does not matter."""
    rng = np.random.default_rng(0)
    shape = bare.Shape(clients=3, samples=20, batch=20, cohort=3, rounds=1)
    cohort = bare.DenseCohort(shape, rng)
    start = [rng.standard_normal(p.shape[1:]).astype(np.float32) for p in cohort.params]
    trained = cohort.train(start, np.array([2, 0]))
    for row, client in enumerate((2, 0)):
        w1, b1, w2, b2 = leaves = [torch.from_numpy(p).clone().requires_grad_() for p in start]
        logits = torch.relu(torch.from_numpy(cohort.x[client]) @ w1 + b1) @ w2 + b2
        gradient = torch.autograd.grad(F.cross_entropy(logits, torch.from_numpy(cohort.y[client])), leaves)
        for got, leaf, g in zip(trained, leaves, gradient, strict=True):
            assert got[row] == pytest.approx((leaf - shape.lr * g).detach().numpy(), abs=1e-5)


def test_a_step_by_hand_is_the_step_of_autograd() -> None:
    net = bare.Net(input=(2, 8, 8), channels=(3, 4), dense=(6, 5))
    torch.manual_seed(1)
    x = torch.randn(7, 2, 8, 8).to(memory_format=torch.channels_last)
    y = torch.randint(0, 5, (7,))
    params = [p + 0.1 * torch.randn_like(p) for p in net.start()]
    leaves = [p.clone().requires_grad_() for p in params]
    gradient = torch.autograd.grad(F.cross_entropy(logits(leaves, x), y), leaves)
    bare.sgd_step(params, x, y, 0.5)
    for got, leaf, g in zip(params, leaves, gradient, strict=True):
        assert float(g.abs().max()) > 1e-4, "a gradient of nothing would prove nothing"
        assert got.numpy() == pytest.approx((leaf - 0.5 * g).detach().numpy(), abs=1e-6)


def logits(p: list[Tensor], x: Tensor) -> Tensor:
    """The net in ordinary operations; its dense weights count pixels before channels."""
    for layer in (0, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, p[layer], p[layer + 1], padding=2)), 2)
    h = x.permute(0, 2, 3, 1).flatten(1)
    return F.linear(F.relu(F.linear(h, p[4], p[5])), p[6], p[7])


def test_the_bare_buffer_aggregates_ten_at_a_time_and_keeps_a_hundred_in_flight() -> None:
    shape = bare.Shape(clients=200, samples=20, batch=10, cohort=100, rounds=1)
    run = bare.Buffered(shape)
    assert run.run() > 0
    assert (len(run._versions), len(run._flying)) == (1 + 10, 100)
