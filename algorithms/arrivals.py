"""Arrivals: what an aggregation is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from edgesim.learning import tree
from edgesim.learning.tree import State


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrivals:
    """Updates that reached the server, in the order in which they arrived; at least one.

    Attributes:
        clients: whose they are.
        samples: of each client's training part, float64 [arrival].
        staleness: aggregations since its dispatch, int64 [arrival].
        discount: the schedule's factor for that staleness, 1 when fresh, float64 [arrival].
        update: what was sent up, [arrival, *shape].
        payloads: what had been sent down, one state an arrival; `sent` is the same, stacked.
        population: how many clients there are that may train; at an edge, or in a tier, of it.
        spare: how many, the last ones, count from the next aggregation on, where the rule keeps a cache.
        outdated: clients, none of these, whose entry in such a cache is to become the server's model.
    """

    clients: tuple[int, ...]
    samples: Tensor
    staleness: Tensor
    discount: Tensor
    update: State
    payloads: tuple[State, ...]
    population: int
    spare: int = 0
    outdated: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.clients)

    def only(self, rows: Sequence[int]) -> "Arrivals":
        """Those of these rows, in this order; at least one."""
        return replace(
            self,
            clients=tuple(self.clients[row] for row in rows),
            samples=self.samples[list(rows)],
            staleness=self.staleness[list(rows)],
            discount=self.discount[list(rows)],
            update=tree.take(self.update, rows),
            payloads=tuple(self.payloads[row] for row in rows),
        )

    @cached_property
    def sent(self) -> State:
        """What had been sent down, [arrival, *shape]; stacked for the first who asks."""
        return tree.stack(self.payloads)

    @property
    def shares(self) -> Tensor:
        """p_k = n_k / Σ n: float64 [arrival]."""
        return self.samples / self.samples.sum()

    @property
    def equal(self) -> Tensor:
        """1 / S: float64 [arrival]."""
        return torch.full_like(self.samples, 1 / len(self))
