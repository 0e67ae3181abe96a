"""The workloads' models and data in plain torch, for rivals in environments of their own."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A workload in numbers; samples, those of each client."""

    clients: int
    samples: int
    batch: int
    cohort: int
    input: tuple[int, ...]


SHAPES = {
    "W1": Shape(clients=1000, samples=20, batch=10, cohort=100, input=(64,)),
    "W2": Shape(clients=200, samples=50, batch=10, cohort=20, input=(1, 28, 28)),
    "W3": Shape(clients=50, samples=100, batch=20, cohort=10, input=(3, 32, 32)),
    "W4": Shape(clients=1000, samples=20, batch=10, cohort=100, input=(64,)),
}


def net(workload: str) -> nn.Module:
    """See the table of workloads in benchmarks/README.md."""
    torch.manual_seed(0)
    return fresh(workload)


def fresh(workload: str) -> nn.Module:
    """The same without setting a seed, which takes longer than to make W4's model: FLGo makes many."""
    if workload in ("W1", "W4"):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    depth, side, *_ = SHAPES[workload].input
    one, two, dense = (16, 32, (128,)) if workload == "W2" else (64, 64, (384, 192))
    layers: list[nn.Module] = []
    for before, after in ((depth, one), (one, two)):
        layers += [nn.Conv2d(before, after, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    units = [two * (side // 4) ** 2, *dense]
    layers.append(nn.Flatten())
    for before, after in pairwise(units):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(units[-1], 10))


def loss(model: nn.Module, workload: str) -> float:
    """Of all clients' samples: less once a rival has trained."""
    x, y = samples(workload)
    with torch.no_grad():
        return F.cross_entropy(model(x.flatten(0, 1)), y.flatten()).item()


def samples(workload: str) -> tuple[Tensor, Tensor]:
    """Noise, x [client, sample, *input], and labels y [client, sample]."""
    shape = SHAPES[workload]
    torch.manual_seed(1)
    return torch.randn(shape.clients, shape.samples, *shape.input), torch.randint(0, 10, (shape.clients, shape.samples))
