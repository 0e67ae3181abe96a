"""Data that clients hold out of their training."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgesim.learning.shards import Shards, held_out


def test_held_out_samples_are_a_fixed_part_of_each_clients_own() -> None:
    shards = Shards.of_parts([np.arange(10), np.arange(10, 15), np.array([15])])
    rest, held = shards.without_held_out(0.2, seed=3)
    assert held.count.tolist() == [2, 1, 1]
    assert rest.count.tolist() == [8, 4, 1]  # a single sample is in both
    for client in (0, 1):
        both = np.concatenate([rest.of(client), held.of(client)])
        assert sorted(both) == sorted(shards.of(client))
    again = shards.without_held_out(0.2, seed=3)[1]
    assert np.array_equal(held.index, again.index)
    assert not np.array_equal(held.index, shards.without_held_out(0.2, seed=4)[1].index)


@given(samples=st.integers(1, 500), share=st.floats(0.01, 0.99))
def test_more_samples_never_leave_fewer(samples: int, share: float) -> None:
    """Cohorts are sorted by their samples, and stay so."""
    left = [max(n - held_out(n, share), 1) for n in (samples, samples + 1)]
    assert left[0] <= left[1]
    assert 1 <= held_out(samples, share) <= max(samples - 1, 1)
