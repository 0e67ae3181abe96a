"""Random streams: the same numbers, however they are asked for."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgesim import streams


@given(st.integers(0, 2**40), st.text(max_size=9), st.integers(0, 2**70))
def test_keys_of_one_purpose_are_those_of_the_whole_text(seed: int, purpose: str, number: int) -> None:
    assert streams.keys(seed, purpose)(number) == streams.key(seed, purpose, number)


@given(st.integers(0, 2**64 - 1), st.integers(1, 40))
def test_a_stream_is_one_sequence_of_numbers(key: int, count: int) -> None:
    drawn = streams.uniforms(np.array([key, 7], np.uint64), count)
    assert drawn[0].tolist() == list(islice(streams.sequence(key), count))
    assert drawn[1].tolist() == streams.uniforms(np.array([7], np.uint64), 40)[0, :count].tolist()
    assert ((drawn >= 0) & (drawn < 1)).all()


@given(st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40))
def test_one_number_is_what_many_give(key: int, number: int) -> None:
    [folded] = streams.fold(key, np.array([number])).tolist()
    assert streams.fold_one(key, number) == folded
    assert streams.first(folded) == streams.uniforms(np.array([folded], np.uint64), 1)[0, 0]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.integers(-(2**40), 2**40))
def test_many_keys_are_folded_with_one_number_as_with_as_many(keys: list[int], number: int) -> None:
    base = np.array(keys, np.uint64)
    assert streams.fold(base, number).tolist() == streams.fold(base, np.full(len(keys), number)).tolist()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), st.lists(st.floats(0, 3), min_size=1, max_size=3))
def test_lognormal_numbers_of_one_key_are_those_of_many(keys: list[int], sigmas: list[float]) -> None:
    many = streams.lognormals(np.array(keys, np.uint64), np.array([sigmas] * len(keys)))
    assert many.tolist() == [streams.lognormals_one(key, np.array(sigmas)).tolist() for key in keys]


def test_normal_numbers_are_normal() -> None:
    """Of 20,000 pairs: mean, deviation, the share within one deviation, and nothing that ties the two of a pair."""
    found = streams.normals(np.arange(20_000, dtype=np.uint64), 2)
    assert abs(found.mean(0)).max() < 0.025
    assert abs(found.std(0) - 1).max() < 0.02
    assert abs((abs(found) < 1).mean(0) - 0.6827).max() < 0.012
    assert abs(np.mean(found[:, 0] * found[:, 1])) < 0.025
