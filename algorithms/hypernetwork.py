"""Hypernetworks of pFedLA: one a client, each a small network from an embedding to rows of weights over clients.

A network is  v [E] → three times ReLU(W h + b) → for each layer a row [client] by ReLU(A h + a), divided by its sum
"""

import numpy as np
import torch
from torch import Tensor

from edgesim.learning.models import Model
from edgesim.learning.tree import Params

STATISTIC = -1


def layers(model: Model, unit: str) -> dict[str, int]:
    """Number of the layer that each tensor belongs to; STATISTIC for running statistics, which belong to none.

    unit "tensor": each is a layer; "block": a module's tensors are, together with those of the norm behind it.
    """
    found: dict[str, int] = {}
    last, number = "", -1
    for name in model.shapes:
        module = name.rpartition(".")[0] or name
        if name in model.statistics:
            found[name] = STATISTIC
            continue
        joins = unit == "block" and (module == last or (name in model.normalisation and number >= 0))
        number += not joins
        last = module
        found[name] = number
    return found


def start(rng: np.random.Generator, clients: int, rows: int, embedding: int, hidden: int) -> list[Params]:
    """Fresh networks: v ~ N(0, 1), linear maps as torch starts them, output weights U(0, 1), so that no row is 0."""
    networks: list[Params] = [{} for _ in range(clients)]

    def uniform(name: str, low: float, high: float, *shape: int) -> None:
        for network in networks:
            network[name] = torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))

    for network in networks:
        network["v"] = torch.from_numpy(rng.normal(size=embedding).astype(np.float32))
    width = embedding
    for number in (1, 2, 3):
        bound = width**-0.5
        uniform(f"W{number}", -bound, bound, hidden, width)
        uniform(f"b{number}", -bound, bound, hidden)
        width = hidden
    uniform("A", 0.0, 1.0, rows, clients, hidden)
    for network in networks:
        network["a"] = torch.zeros(rows, clients)
    return networks


def rows(network: Params, client: int) -> Tensor:
    """α of a client's network: [layer, client], each row adding to 1.

    A row of which nothing is left falls back to the client's own model.
    """
    h = network["v"]
    for number in (1, 2, 3):
        h = torch.relu(network[f"W{number}"] @ h + network[f"b{number}"])
    raw = torch.relu(network["A"] @ h + network["a"])
    total = raw.sum(1, keepdim=True)
    own = torch.zeros(raw.shape[1])
    own[client] = 1.0
    return torch.where(total > 0, raw / total.clamp_min(torch.finfo(raw.dtype).tiny), own)
