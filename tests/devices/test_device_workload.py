"""Workload: FLOPs follow the masks, and impossible figures are refused."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from edgesim.devices.workload import Workload

HALF = Workload(
    layer_flops=np.array([100.0, 300.0]),
    layer_density=np.array([0.5, 0.25]),
    other_flops=7.0,
    traffic_bytes=1e3,
    steps=4,
    memory_bytes=512,
)


def test_flops_are_dense_times_density_plus_the_rest() -> None:
    """100 · 0.5 + 300 · 0.25 + 7 = 132; dense: 100 + 300 + 7 = 407."""
    assert HALF.flops == 132.0
    assert HALF.dense_flops == 407.0


def test_the_sum_does_not_depend_on_the_order_of_the_layers() -> None:
    """1e16 + 10 · 0.1 + 1 + 7 is 9 and a trifle above 1e16, where numbers lie 2 apart: 1e16 + 10."""
    flops = np.array([1e16, *[0.1] * 10, 1.0])
    forward, backward = (
        dataclasses.replace(HALF, layer_flops=each, layer_density=np.ones(12)).flops
        for each in (flops, flops[::-1].copy())
    )
    assert forward == backward == 1e16 + 10.0  # 1e16 + 1 + 1 + 7 = 1e16 + 9, whose even neighbour is + 8 or + 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_density": np.array([0.5])}, r"layer_flops \(2,\) and layer_density \(1,\)"),
        ({"layer_density": np.array([0.5, 1.5])}, r"layer_density \[0.5, 1.5\]: each must lie in \[0, 1\]"),
        ({"layer_density": np.array([0.5, np.nan])}, "layer_density"),
        ({"layer_flops": np.array([-1.0, 2.0])}, "layer_flops"),
        ({"other_flops": float("inf")}, "other_flops inf: must be finite"),
        ({"steps": -1}, "steps -1"),
        ({"memory_bytes": -1}, "memory_bytes -1"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HALF, **change)
