"""Attackers among the clients: who they are, and what reaches the server in place of their updates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgesim import streams
from edgesim.algorithms.arrivals import Arrivals
from edgesim.algorithms.messages import travelling
from edgesim.devices.arrays import IntArray
from edgesim.learning import tree
from edgesim.learning.attacks import Attack, Honest
from edgesim.learning.task import Task
from edgesim.learning.tree import Shape, State


@dataclass(frozen=True, eq=False)
class Attackers:
    """Attributes: hostile, bool [client]."""

    attack: Attack
    hostile: NDArray[np.bool_]
    seed: int

    @classmethod
    def among(cls, clients: int, attack: Attack, seed: int, but: Sequence[int] | IntArray = ()) -> "Attackers":
        """A share of the clients, `but` of some, rounded, drawn by the seed."""
        hostile, drawn = np.zeros(clients, bool), streams.generator(seed, "attackers").permutation(clients)
        drawn = drawn[~np.isin(drawn, but)]
        hostile[drawn[: round(attack.share * len(drawn))]] = True
        return cls(attack, hostile, seed)

    def mislabelled(self, task: Task) -> Task:
        """The task with the attackers' training labels flipped, y → C − 1 − y, if that is their attack."""
        if not self.attack.flips_labels:
            return task
        y = task.y.clone()
        for client in np.flatnonzero(self.hostile):
            own = torch.from_numpy(task.train.of(int(client)))
            y[own] = task.classes - 1 - y[own]
        return replace(task, y=y)

    def strike(
        self, arrivals: Arrivals, memory: State, version: int, shapes: Mapping[str, Shape]
    ) -> tuple[Arrivals, State]:
        """The arrivals with forged updates for honest ones, and what is known of the honest from now on.

        Forged are real numbers of such names and `shapes` in whatever group, as far as they travel: masks are as the
        client made them, and what goes with the message, as a level or a codec's unit does, is left alone.
        """
        places = [
            (group, name)
            for group, params in arrivals.update.items()
            for name, tensor in params.items()
            if tensor.is_floating_point() and tuple(tensor.shape[1:]) == shapes.get(name)
        ]
        if not places:
            return arrivals, memory
        vectors = torch.cat([tree.vectors(arrivals.update[group][name]) for group, name in places], 1)
        bad = torch.from_numpy(self.hostile[np.array(arrivals.clients)])
        honest, memory = _known(vectors[~bad], memory, len(bad))
        if not bad.any():
            return arrivals, memory
        rng = streams.generator(self.seed, "attack", version)
        vectors[bad] = self.attack.forge(vectors[bad], honest, rng)
        update = {group: dict(params) for group, params in arrivals.update.items()}
        on = travelling(update)
        for (group, name), piece in zip(places, _split(vectors, arrivals.update, places), strict=True):
            update[group][name] = piece * on[name] if group == "params" and name in on else piece
        return replace(arrivals, update=update), memory


def resting(attackers: Attackers | None, clients: int) -> NDArray[np.bool_]:
    """Who trains nothing: bool [client]."""
    if attackers is None or attackers.attack.works:
        return np.zeros(clients, bool)
    return attackers.hostile


def _split(vectors: Tensor, like: State, places: list[tuple[str, str]]) -> list[Tensor]:
    shapes = [like[group][name].shape for group, name in places]
    pieces = torch.split(vectors, [shape[1:].numel() for shape in shapes], dim=1)
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _known(honest: Tensor, memory: State, total: int) -> tuple[Honest, State]:
    """What attackers know: of this aggregation where at least two honest updates are in it, else of all so far."""
    past = memory.get("honest", {})
    count = past.get("count", torch.zeros((), dtype=torch.float64)) + len(honest)
    sums = past.get("sum", torch.zeros(honest.shape[1], dtype=torch.float64)) + honest.double().sum(0)
    if len(honest) >= 2:
        mean, std = honest.mean(0), honest.std(0)
    else:  # too few to hide among: no attack goes by their spread
        mean, std = (sums / count.clamp_min(1)).float(), honest.new_zeros(honest.shape[1])
    known = Honest(vectors=honest, mean=mean, std=std, total=total)
    return known, {"honest": {"count": count, "sum": sums}}
