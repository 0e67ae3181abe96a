"""Selectors: which clients the server dispatches to."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from edgesim import streams


@dataclass(frozen=True)
class Uniform:
    """Uniformly among the available idle clients.

    Clients are drawn in a random order that is made as far as needed, so a choice costs as many draws as
    it takes to meet enough available ones, whatever the size of the fleet.
    """

    clients: int
    seed: int

    def select(self, count: int, draw: int, eligible: Callable[[int], bool]) -> list[int]:
        """At most `count` eligible clients; a pure function of (seed, draw) and of who is eligible."""
        rng = random.Random(streams.key(self.seed, "select", draw))
        moved: dict[int, int] = {}  # a Fisher–Yates shuffle of range(clients), kept only where it was touched
        chosen: list[int] = []
        for i in range(self.clients):
            if len(chosen) == count:
                break
            j = i + int(rng.random() * (self.clients - i))
            client = moved.get(j, j)
            moved[j] = moved.get(i, i)
            if eligible(client):
                chosen.append(client)
        return chosen
