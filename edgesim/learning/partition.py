"""Partitions: how the samples of a data set are spread over clients. Pure functions of (labels, rng).

The keyword-only arguments are the YAML keys of `task.partition`. Every client gets at least
`MINIMUM` samples, since it needs one to train on and one to be tested on.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, TypeAlias

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray
from typing_extensions import Doc

from edgesim.learning.shards import IntArray

MINIMUM = 2
Partition: TypeAlias = Callable[..., list[IntArray]]


def iid(labels: IntArray, clients: int, rng: np.random.Generator) -> list[IntArray]:
    """Every client draws from the same distribution; sizes differ by at most one sample."""
    _check_enough(labels, clients)
    return _sorted(np.array_split(rng.permutation(len(labels)), clients))


def dirichlet(
    labels: IntArray,
    clients: int,
    rng: np.random.Generator,
    *,
    alpha: Annotated[float, Gt(0), Doc("concentration: small is very uneven, large is nearly iid")],
    balanced: Annotated[bool, Doc("true: every client has equally many samples")] = False,
) -> list[IntArray]:
    """Label skew from a Dirichlet distribution of concentration `alpha`.

    Not balanced: each class is cut over the clients in Dir(alpha) proportions (Hsu et al. 2019,
    arXiv:1909.06335); a client left with fewer than two samples takes some from the client that then
    has most. Balanced: equal sizes, and each client draws its own class prior from Dir(alpha), from
    which it samples without replacement; an exhausted class leaves all priors (DisPFL, arXiv:2206.00187).
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}: it must be above 0, e.g. 0.3")
    _check_enough(labels, clients)
    parts = _by_client_prior(labels, clients, alpha, rng) if balanced else _by_class(labels, clients, alpha, rng)
    return _sorted(parts)


def classes_per_client(
    labels: IntArray,
    clients: int,
    rng: np.random.Generator,
    *,
    per_client: Annotated[int, Gt(0), Doc("how many classes each client holds")],
) -> list[IntArray]:
    """Each client holds `per_client` classes; a class is shared equally among those who hold it.

    Clients choose in turn among the classes with fewest holders (ties by lot), so that the numbers of
    holders differ by at most one. Errors: more classes asked for than there are, a class that nobody
    holds, a client with fewer than two samples.
    """
    _check_enough(labels, clients)
    classes = np.unique(labels)
    if not 0 < per_client <= len(classes):
        raise ValueError(f"{per_client} classes per client: the data has {len(classes)} classes")
    if clients * per_client < len(classes):
        raise ValueError(
            f"{clients} clients with {per_client} classes each cannot hold all {len(classes)} classes: "
            f"use at least {-(-len(classes) // per_client)} clients or more classes per client"
        )
    holders = _assign(len(classes), clients, per_client, rng)
    chunks: list[list[IntArray]] = [[] for _ in range(clients)]
    for label, who in zip(classes, holders, strict=True):
        for client, chunk in zip(who, np.array_split(_members(labels, label, rng), len(who)), strict=True):
            chunks[client].append(chunk)
    parts = [np.concatenate(chunk) for chunk in chunks]
    for client, part in enumerate(parts):
        if len(part) < MINIMUM:
            raise ValueError(
                f"client {client} gets {len(part)} samples of its {per_client} classes and needs {MINIMUM}: "
                "use fewer clients or more classes per client"
            )
    return _sorted(parts)


PARTITIONS: dict[str, Partition] = {"iid": iid, "dirichlet": dirichlet, "classes": classes_per_client}


def split(
    parts: Sequence[IntArray], labels: IntArray, test_share: float, rng: np.random.Generator
) -> tuple[list[IntArray], list[IntArray]]:
    """Cut each client's samples into a train and a test part: (train, test), one array a client.

    Stratified: a client with n samples, n_c of class c, gives round(test_share·n) to its test part
    (at least 1, at most n − 1), of which floor or ceil of test_share·n_c from each class, by largest
    remainder (ties by lot). Which samples: by lot.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test share {test_share}: it must lie between 0 and 1, e.g. 0.25")
    size = np.array([len(part) for part in parts], np.int64)
    for client in np.flatnonzero(size < MINIMUM)[:1]:
        raise ValueError(
            f"client {client} has {size[client]} samples; a train and a test part need {MINIMUM}: use fewer clients"
        )
    index = np.concatenate(parts)
    owner = np.repeat(np.arange(len(parts)), size)
    order = np.lexsort((rng.random(len(index)), labels[index], owner))
    owner, index = owner[order], index[order]
    stratum, rank = _runs(owner, labels[index])
    quota = _quotas(np.bincount(stratum), owner[rank == 0], size, test_share, rng)
    is_test = rank < quota[stratum]
    return _cut(index[~is_test], owner[~is_test], len(parts)), _cut(index[is_test], owner[is_test], len(parts))


def _runs(*keys: IntArray) -> tuple[IntArray, IntArray]:
    """For sorted rows: number of the run of equal rows that each belongs to, and its place in that run."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    run = np.cumsum(new) - 1
    return run, np.arange(len(new)) - np.flatnonzero(new)[run]


def _quotas(amount: IntArray, owner: IntArray, size: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """How many of each stratum [stratum] are test samples; amount and owner are [stratum], size [client]."""
    exact = amount * share
    quota: IntArray = np.floor(exact).astype(np.int64)
    wanted = np.clip(np.rint(size * share).astype(np.int64), 1, size - 1)
    missing = wanted - np.bincount(owner, weights=quota, minlength=len(size)).astype(np.int64)
    order = np.lexsort((rng.random(len(owner)), quota - exact, owner))  # largest remainder first
    place = _runs(owner[order])[1]
    quota[order] += place < missing[owner[order]]
    return quota


def _by_class(labels: IntArray, clients: int, alpha: float, rng: np.random.Generator) -> list[IntArray]:
    chunks: list[list[IntArray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = _members(labels, label, rng)
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


def _by_client_prior(labels: IntArray, clients: int, alpha: float, rng: np.random.Generator) -> list[IntArray]:
    """One draw a turn, clients' turns shuffled; redrawn from the turn at which a class first ran out."""
    classes = np.unique(labels)
    stock = [_members(labels, label, rng) for label in classes]
    left = np.array([len(members) for members in stock])
    prior = rng.dirichlet(np.full(len(classes), alpha), size=clients)
    turns = rng.permutation(np.arange(len(labels)) % clients)
    drawn = np.empty(len(labels), np.int64)
    done = 0
    while done < len(turns):
        draws = _draw(prior * (left > 0), left > 0, turns[done:], rng)
        by_class = np.argsort(draws, kind="stable")
        rank = _runs(draws[by_class])[1]
        late = by_class[rank >= left[draws[by_class]]]
        good = int(late.min()) if len(late) else len(draws)
        drawn[done : done + good] = draws[:good]
        left -= np.bincount(draws[:good], minlength=len(classes))
        done += good
    sample = np.empty(len(labels), np.int64)
    for number, members in enumerate(stock):
        sample[drawn == number] = members
    by_client = np.argsort(turns, kind="stable")
    return np.split(sample[by_client], np.cumsum(np.bincount(turns, minlength=clients))[:-1])


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


def _assign(classes: int, clients: int, per_client: int, rng: np.random.Generator) -> list[list[int]]:
    """Holders of each class."""
    holders: list[list[int]] = [[] for _ in range(classes)]
    held = np.zeros(classes, np.int64)
    for client in range(clients):
        chosen = np.lexsort((rng.random(classes), held))[:per_client]
        held[chosen] += 1
        for label in chosen:
            holders[label].append(client)
    return holders


def _members(labels: IntArray, label: np.int64, rng: np.random.Generator) -> IntArray:
    return rng.permutation(np.flatnonzero(labels == label))


def _sorted(parts: Sequence[IntArray]) -> list[IntArray]:
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return _cut(np.concatenate(parts).astype(np.int64), owner, len(parts))


def _cut(index: IntArray, owner: IntArray, clients: int) -> list[IntArray]:
    """Each client's samples in rising order, given whose each is; all at once, for a million clients."""
    span = int(index.max(initial=0)) + 1
    keys = np.sort(owner * span + index)
    samples = keys % span
    ends = np.searchsorted(keys, np.arange(1, clients + 1) * span).tolist()
    return [samples[first:end] for first, end in pairwise([0, *ends])]


def _check_enough(labels: IntArray, clients: int) -> None:
    if clients < 1:
        raise ValueError(f"{clients} clients: there must be at least 1")
    if len(labels) < MINIMUM * clients:
        first = len(labels) // MINIMUM
        raise ValueError(
            f"client {first} gets {len(labels) - MINIMUM * first} samples and needs {MINIMUM}: "
            f"{len(labels)} samples serve at most {first} clients, not {clients}; use fewer clients"
        )
