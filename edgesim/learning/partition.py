"""Partitions: how the samples of a data set are spread over clients. Pure functions of (labels, rng).

The keyword-only arguments are the YAML keys of `task.partition`. Every client gets at least
`MINIMUM` samples, since it needs one to train on and one to be tested on.
"""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from edgesim.devices.arrays import IntArray
from edgesim.learning.dealing import (
    MINIMUM,
    assign,
    by_class,
    by_client_prior,
    check_enough,
    cut,
    in_order,
    of_class,
    owners,
    runs,
)
from edgesim.learning.shards import Shards

Partition: TypeAlias = Callable[..., Shards]


def iid(labels: IntArray, clients: int, rng: np.random.Generator) -> Shards:
    """Every client draws from the same distribution; sizes differ by at most one sample."""
    check_enough(labels, clients)
    sizes = np.full(clients, len(labels) // clients)
    sizes[: len(labels) % clients] += 1
    return cut(rng.permutation(len(labels)), owners(sizes), clients)


def dirichlet(
    labels: IntArray,
    clients: int,
    rng: np.random.Generator,
    *,
    alpha: Annotated[float, Gt(0), Doc("concentration: small is very uneven, large is nearly iid")],
    balanced: Annotated[bool, Doc("true: every client has equally many samples")] = False,
) -> Shards:
    """Label skew from a Dirichlet distribution of concentration `alpha`.

    Not balanced: each class is cut over the clients in Dir(alpha) proportions (Hsu et al. 2019,
    arXiv:1909.06335); a client left with fewer than two samples takes some from the client that then
    has most. Balanced: equal sizes, and each client draws its own class prior from Dir(alpha), from
    which it samples without replacement; an exhausted class leaves all priors (DisPFL, arXiv:2206.00187; so do
    FLASH's balanced LDA partitions, arXiv:2208.13092).
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}: it must be above 0, e.g. 0.3")
    check_enough(labels, clients)
    if balanced:
        return by_client_prior(labels, clients, alpha, rng)
    return in_order(by_class(labels, clients, alpha, rng))


def classes_per_client(
    labels: IntArray,
    clients: int,
    rng: np.random.Generator,
    *,
    per_client: Annotated[int, Gt(0), Doc("how many classes each client holds")],
    dominance: Annotated[
        float, Gt(0), Le(1), Doc("part of each class that its holders share; the rest is spread evenly over all")
    ] = 1.0,
) -> Shards:
    """Each client holds `per_client` classes; a class is shared equally among those who hold it.

    Clients choose in turn among the classes with fewest holders (ties by lot), so that the numbers of
    holders differ by at most one. The settings of pFedLA (Ma et al. 2022, arXiv:2205.03993): 4 classes a client
    of 10, or 12 of 100; and, with a dominance below 1, all classes in skewed amounts (0.8 in FedAMP, Huang et
    al. 2021, arXiv:2007.03797). Errors: more classes asked for than there are, a class that nobody holds, a
    client with fewer than two samples.
    """
    check_enough(labels, clients)
    classes = np.unique(labels)
    if not 0 < per_client <= len(classes):
        raise ValueError(f"{per_client} classes per client: the data has {len(classes)} classes")
    if clients * per_client < len(classes):
        raise ValueError(
            f"{clients} clients with {per_client} classes each cannot hold all {len(classes)} classes: "
            f"use at least {-(-len(classes) // per_client)} clients or more classes per client"
        )
    holders = assign(len(classes), clients, per_client, rng)
    parts = _shared(labels, holders, clients, dominance, rng)
    for client, part in enumerate(parts):
        if len(part) < MINIMUM:
            raise ValueError(
                f"client {client} gets {len(part)} samples of its {per_client} classes and needs {MINIMUM}: "
                "use fewer clients or more classes per client"
            )
    return in_order(parts)


def _shared(
    labels: IntArray, holders: list[list[int]], clients: int, dominance: float, rng: np.random.Generator
) -> list[IntArray]:
    """Each class dealt to its holders, but for 1 − dominance of it, which is dealt to all."""
    chunks: list[list[IntArray]] = [[] for _ in range(clients)]
    for label, who in zip(np.unique(labels), holders, strict=True):
        members = of_class(labels, label, rng)
        common = len(members) - int(np.rint(dominance * len(members)))
        for client, chunk in zip(who, np.array_split(members[common:], len(who)), strict=True):
            chunks[client].append(chunk)
        if common:
            for client, chunk in zip(rng.permutation(clients), np.array_split(members[:common], clients), strict=True):
                chunks[client].append(chunk)
    return [np.concatenate(chunk) for chunk in chunks]


def quantity(
    labels: IntArray,
    clients: int,
    rng: np.random.Generator,
    *,
    alpha: Annotated[float, Gt(0), Doc("concentration: small is very uneven, large is nearly equal")],
) -> Shards:
    """Clients of unequal sizes, in Dir(alpha) proportions, that all draw from the same distribution.

    The quantity skew of Li et al. 2022 (arXiv:2102.02079); everyone has two samples before the rest is cut.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}: it must be above 0, e.g. 0.5")
    check_enough(labels, clients)
    spare = len(labels) - MINIMUM * clients
    shares = rng.dirichlet(np.full(clients, alpha))
    cuts = np.rint(np.cumsum(shares)[:-1] * spare).astype(np.int64) + MINIMUM * np.arange(1, clients)
    sizes = np.diff(cuts, prepend=0, append=len(labels))
    return cut(rng.permutation(len(labels)), owners(sizes), clients)


def natural(
    owner: IntArray,
    clients: int,
    rng: np.random.Generator,
    *,
    at_least: Annotated[int, Ge(MINIMUM), Doc("samples that an owner must have to become a client")] = MINIMUM,
) -> Shards:
    """Each client is one of those whose the data are: a writer, a role, a subject.

    If there are more, as many as there are clients are drawn by lot, and the others' samples are not used.
    """
    who, place, count = np.unique(owner, return_inverse=True, return_counts=True)
    fit = np.flatnonzero(count >= at_least)
    if not 0 < clients <= len(fit):
        raise ValueError(
            f"{clients} clients: of the data's {len(who)} owners {len(fit)} have at least {at_least} samples; "
            f"use 1 to {len(fit)} clients"
        )
    client = np.full(len(who), clients)
    client[np.sort(rng.choice(fit, clients, replace=False))] = np.arange(clients)
    used = np.flatnonzero(client[place] < clients)
    return cut(used, client[place[used]], clients)


PARTITIONS: dict[str, Partition] = {
    "iid": iid,
    "dirichlet": dirichlet,
    "classes": classes_per_client,
    "quantity": quantity,
    "natural": natural,
}


def split(parts: Shards, labels: IntArray, test_share: float, rng: np.random.Generator) -> tuple[Shards, Shards]:
    """Cut each client's samples into a train and a test part: (train, test).

    Stratified: a client with n samples, n_c of class c, gives round(test_share·n) to its test part
    (at least 1, at most n − 1), of which floor or ceil of test_share·n_c from each class, by largest
    remainder (ties by lot). Which samples: by lot.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test share {test_share}: it must lie between 0 and 1, e.g. 0.25")
    size, index = parts.count, parts.index
    for client in np.flatnonzero(size < MINIMUM)[:1]:
        raise ValueError(
            f"client {client} has {size[client]} samples; a train and a test part need {MINIMUM}: use fewer clients"
        )
    owner = owners(size)
    order = np.lexsort((rng.random(len(index)), labels[index], owner))
    owner, index = owner[order], index[order]
    stratum, rank = runs(owner, labels[index])
    quota = _quotas(np.bincount(stratum), owner[rank == 0], size, test_share, rng)
    is_test = rank < quota[stratum]
    train, test = (cut(index[part], owner[part], parts.clients) for part in (~is_test, is_test))
    return train, test


def _quotas(amount: IntArray, owner: IntArray, size: IntArray, share: float, rng: np.random.Generator) -> IntArray:
    """How many of each stratum [stratum] are test samples; amount and owner are [stratum], size [client]."""
    exact = amount * share
    quota: IntArray = np.floor(exact).astype(np.int64)
    wanted = np.clip(np.rint(size * share).astype(np.int64), 1, size - 1)
    missing = wanted - np.bincount(owner, weights=quota, minlength=len(size)).astype(np.int64)
    order = np.lexsort((rng.random(len(owner)), quota - exact, owner))  # largest remainder first
    place = runs(owner[order])[1]
    quota[order] += place < missing[owner[order]]
    return quota
