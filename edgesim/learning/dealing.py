"""Dealing: how samples are drawn for and handed to clients; what the partitions have in common."""

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.arrays import IntArray
from edgesim.learning.shards import Shards

MINIMUM = 2  # samples of a client: one to train on, one to be tested on


def check_enough(labels: IntArray, clients: int) -> None:
    """Raise ValueError unless there are MINIMUM samples a client."""
    if clients < 1:
        raise ValueError(f"{clients} clients: there must be at least 1")
    if len(labels) < MINIMUM * clients:
        first = len(labels) // MINIMUM
        raise ValueError(
            f"client {first} gets {len(labels) - MINIMUM * first} samples and needs {MINIMUM}: "
            f"{len(labels)} samples serve at most {first} clients, not {clients}; use fewer clients"
        )


def by_class(labels: IntArray, clients: int, alpha: float, rng: np.random.Generator) -> list[IntArray]:
    """Each class cut over the clients in Dir(alpha) proportions; then nobody has fewer than MINIMUM."""
    chunks: list[list[IntArray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = of_class(labels, label, rng)
        shares = rng.dirichlet(np.full(clients, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for chunk, piece in zip(chunks, np.split(members, cuts), strict=True):
            chunk.append(piece)
    return _repair([rng.permutation(np.concatenate(chunk)) for chunk in chunks])


def _repair(parts: list[IntArray]) -> list[IntArray]:
    """Move samples from whoever has most until everyone has the minimum; ends since there are enough."""
    taken = [0] * len(parts)
    richest = [(-len(part), client) for client, part in enumerate(parts)]
    heapq.heapify(richest)
    for poor in range(len(parts)):
        gifts = []
        for _ in range(MINIMUM - len(parts[poor])):
            count, donor = heapq.heappop(richest)
            taken[donor] += 1
            gifts.append(parts[donor][-taken[donor]])
            heapq.heappush(richest, (count + 1, donor))
        if gifts:
            parts[poor] = np.concatenate([gifts, parts[poor]]).astype(np.int64)
    return [part[: len(part) - gone] for part, gone in zip(parts, taken, strict=True)]


def by_client_prior(labels: IntArray, clients: int, alpha: float, rng: np.random.Generator) -> Shards:
    """One draw a turn, clients' turns shuffled; redrawn from the turn at which a class first ran out."""
    classes = np.unique(labels)
    stock = [of_class(labels, label, rng) for label in classes]
    left = np.array([len(members) for members in stock])
    prior = rng.dirichlet(np.full(len(classes), alpha), size=clients)
    turns = rng.permutation(np.arange(len(labels)) % clients)
    drawn = np.empty(len(labels), np.int64)
    done = 0
    while done < len(turns):
        draws = _draw(prior * (left > 0), left > 0, turns[done:], rng)
        by_class = np.argsort(draws, kind="stable")
        rank = runs(draws[by_class])[1]
        late = by_class[rank >= left[draws[by_class]]]
        good = int(late.min()) if len(late) else len(draws)
        drawn[done : done + good] = draws[:good]
        left -= np.bincount(draws[:good], minlength=len(classes))
        done += good
    sample = np.empty(len(labels), np.int64)
    for number, members in enumerate(stock):
        sample[drawn == number] = members
    return cut(sample, turns, clients)


def _draw(mass: NDArray[np.float64], open_: NDArray[np.bool_], turns: IntArray, rng: np.random.Generator) -> IntArray:
    """A class for each turn, from its client's row of `mass` [client, class]; empty row: any open class."""
    mass = np.where(mass.sum(1, keepdims=True) > 0, mass, open_)
    cdf = np.cumsum(mass, axis=1)
    cdf /= cdf[:, -1:]
    # Row r's staircase is lifted to [r, r + 1), so that one search serves all rows.
    steps = (cdf + np.arange(len(cdf))[:, None]).ravel()
    at = np.minimum(turns + rng.random(len(turns)), np.nextafter(turns + 1.0, 0))
    drawn: IntArray = np.searchsorted(steps, at, side="right") - turns * mass.shape[1]
    return drawn


def assign(classes: int, clients: int, per_client: int, rng: np.random.Generator) -> list[list[int]]:
    """Holders of each class."""
    holders: list[list[int]] = [[] for _ in range(classes)]
    held = np.zeros(classes, np.int64)
    for client in range(clients):
        chosen = np.lexsort((rng.random(classes), held))[:per_client]
        held[chosen] += 1
        for label in chosen:
            holders[label].append(client)
    return holders


def of_class(labels: IntArray, label: np.int64, rng: np.random.Generator) -> IntArray:
    """Positions of a class's samples, shuffled."""
    return rng.permutation(np.flatnonzero(labels == label))


def in_order(parts: Sequence[IntArray]) -> Shards:
    """Each client's samples in rising order."""
    return cut(np.concatenate(parts).astype(np.int64), owners([len(part) for part in parts]), len(parts))


def owners(sizes: Sequence[int] | IntArray) -> IntArray:
    """Whose each sample is, where they lie client by client."""
    found: IntArray = np.repeat(np.arange(len(sizes)), sizes)
    return found


def cut(index: IntArray, owner: IntArray, clients: int) -> Shards:
    """Each client's samples in rising order, given whose each is; all at once, for a million clients."""
    span = int(index.max(initial=0)) + 1
    keys = np.sort(owner * span + index)
    return Shards(index=keys % span, offset=np.searchsorted(keys, np.arange(clients + 1) * span))


def runs(*keys: IntArray) -> tuple[IntArray, IntArray]:
    """For sorted rows: number of the run of equal rows that each belongs to, and its place in that run."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    run = np.cumsum(new) - 1
    return run, np.arange(len(new)) - np.flatnonzero(new)[run]
