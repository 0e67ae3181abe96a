"""Random streams, each derived from (seed, purpose, ids): adding a consumer never shifts another (P4)."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of SplitMix64
_MASK = 2**64 - 1


def key(seed: int, purpose: str, *ids: int) -> int:
    """The 64-bit key of a stream: equal on every machine and under every hash seed."""
    text = "/".join((str(seed), purpose, *map(str, ids)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keys(seed: int, purpose: str) -> Callable[[int], int]:
    """What gives `key(seed, purpose, id)` of an id, in half the time."""
    begun = hashlib.blake2b(f"{seed}/{purpose}/".encode(), digest_size=8)

    def of(number: int) -> int:
        ended = begun.copy()
        ended.update(b"%d" % number)
        return int.from_bytes(ended.digest(), "little")

    return of


def generator(seed: int, purpose: str, *ids: int) -> np.random.Generator:
    """A numpy generator of its own for (seed, purpose, ids)."""
    return np.random.Generator(np.random.Philox(key=key(seed, purpose, *ids)))


def fold(base: NDArray[np.uint64] | int, ids: NDArray[np.int64] | int) -> NDArray[np.uint64]:
    """Derive one key per id from a base key: `fold(fold(k, clients), jobs)` is vectorised `key`."""
    with np.errstate(over="ignore"):
        if isinstance(ids, int):
            mixed = np.asarray(_mix_one((ids + _GOLDEN) & _MASK), np.uint64)
        else:
            mixed = _mix(np.asarray(ids).astype(np.uint64) + np.uint64(_GOLDEN))
        return _mix(np.asarray(base, np.uint64) ^ mixed)


def uniforms(keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for each key [n] → [n, count]; a row depends on its own key alone.

    SplitMix64 (Steele, Lea, Flood 2014, OOPSLA) used as a counter-based generator.
    """
    with np.errstate(over="ignore"):
        counter = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        bits = _mix(np.asarray(keys, np.uint64)[:, None] + counter)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """`count` standard normal numbers for each key [n] → [n, count], by Box and Muller (1958)."""
    return _normals(uniforms(keys, 2 * count).reshape(len(keys), count, 2))


def _normals(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(-2.0 * np.log(1.0 - draws[..., 0])) * np.cos(2.0 * np.pi * draws[..., 1])
    return found


def lognormals(keys: NDArray[np.uint64], sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(N(0, sigma)) for each key [n] and sigma [n, count] → [n, count]."""
    return exp(sigmas * normals(keys, sigmas.shape[1]))


def lognormals_one(start: int, sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    """`lognormals` of one key, [count] → [count], in a third of the time."""
    draws = np.fromiter(islice(sequence(start), 2 * len(sigmas)), np.float64).reshape(len(sigmas), 2)
    return exp(sigmas * _normals(draws))


def exp(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each, in single precision: a last-bit difference in exp or cos between two machines goes no further."""
    return np.exp(logarithms).astype(np.float32).astype(np.float64)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    return z ^ (z >> np.uint64(31))


def fold_one(base: int, number: int) -> int:
    """`fold` of one id, in a tenth of the time."""
    return _mix_one(base ^ _mix_one((number + _GOLDEN) & _MASK))


def sequence(start: int) -> Iterator[float]:
    """Numbers in [0, 1) from a key, one at a time: those of `uniforms`, for who needs only a few."""
    state = start
    while True:
        state = (state + _GOLDEN) & _MASK
        yield (_mix_one(state) >> 11) * 2.0**-53


def first(start: int) -> float:
    """The first number in [0, 1) from a key."""
    return (_mix_one((start + _GOLDEN) & _MASK) >> 11) * 2.0**-53


def _mix_one(z: int) -> int:
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)
