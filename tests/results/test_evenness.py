"""Evenness by hand-made numbers and laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.results.evenness import gini, jain, lorenz

counts = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)


def test_jain_by_hand() -> None:
    assert jain([4, 4, 4, 4]) == 1.0
    assert jain([8, 0, 0, 0]) == 0.25
    assert jain([1, 2, 3]) == pytest.approx(36 / (3 * 14))
    assert math.isnan(jain([0, 0]))
    assert math.isnan(jain([]))


def test_gini_by_hand() -> None:
    """Of 1, 2, 3: (−2·1 + 0·2 + 2·3) / (3·6)."""
    assert gini([3, 1, 2]) == pytest.approx(4 / 18)
    assert gini([4, 4, 4]) == 0.0
    assert gini([0, 0, 0, 8]) == 0.75
    assert math.isnan(gini([0, 0]))
    assert math.isnan(gini([]))


def test_lorenz_by_hand() -> None:
    assert lorenz([3, 1, 4]).tolist() == [0, 1 / 8, 4 / 8, 1]
    assert np.isnan(lorenz([0, 0])).tolist() == [False, True, True]


@given(counts)
def test_each_is_within_its_bounds(x: list[int]) -> None:
    n = len(x)
    if sum(x):
        assert 1 / n - 1e-12 <= jain(x) <= 1 + 1e-12
        assert -1e-12 <= gini(x) <= 1 - 1 / n + 1e-12


@given(counts)
def test_gini_is_twice_the_area_between_the_curve_and_the_diagonal(x: list[int]) -> None:
    if sum(x):
        curve = lorenz(x)
        area = float(np.sum((curve[1:] + curve[:-1]) / 2)) / len(x)
        assert gini(x) == pytest.approx(1 - 2 * area, abs=1e-9)
        assert (np.diff(curve, 2) >= -1e-12).all()  # the steps grow
