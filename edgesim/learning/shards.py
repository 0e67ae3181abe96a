"""Shards: which samples belong to which client, as two flat arrays however many clients there are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgesim import streams
from edgesim.devices.arrays import IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Shards:
    """Sample positions grouped by client.

    Attributes: index [total], positions in the data set, client after client; offset [client + 1],
    where each client's stretch of `index` begins, and last where it all ends.
    """

    index: IntArray
    offset: IntArray

    def __post_init__(self) -> None:
        ends_fit = len(self.offset) > 0 and self.offset[0] == 0 and self.offset[-1] == len(self.index)
        if not ends_fit or bool((np.diff(self.offset) < 0).any()):
            raise ValueError(f"offset must rise from 0 to {len(self.index)}, the length of index")

    @classmethod
    def of_parts(cls, parts: Sequence[IntArray]) -> "Shards":
        """Shards of one array of positions a client."""
        offset = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offset[1:])
        index = np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64)
        return cls(index=index, offset=offset)

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self.offset) - 1

    @cached_property
    def count(self) -> IntArray:
        """Samples of each client, [client]."""
        return np.diff(self.offset)

    @cached_property
    def most(self) -> int:
        """Samples of the client that has most."""
        return int(self.count.max(initial=0))

    def of(self, client: int) -> IntArray:
        """Positions of one client's samples, [sample]; IndexError for a client that is not there."""
        if not 0 <= client < self.clients:
            raise IndexError(f"client {client}: there are clients 0 to {self.clients - 1}")
        return self.index[self.offset[client] : self.offset[client + 1]]

    def __iter__(self) -> Iterator[IntArray]:
        """Of each client in turn."""
        return map(self.of, range(self.clients))

    def without_held_out(self, share: float, seed: int) -> "tuple[Shards, Shards]":
        """What is left of each client's samples, and what is held out of them: `held_out` of a random order that
        is the client's own. A single sample is in both."""
        rest, held = [], []
        for client in range(self.clients):
            own = streams.generator(seed, "held out", client).permutation(self.of(client))
            first = held_out(len(own), share)
            held.append(own[:first])
            rest.append(own[first:] if len(own) > 1 else own)
        return Shards.of_parts(rest), Shards.of_parts(held)


def held_out(samples: int, share: float) -> int:
    """How many of a client's samples are held out: at least one, and not all; of more samples never leaves fewer."""
    return max(1, min(round(share * samples), samples - 1))
