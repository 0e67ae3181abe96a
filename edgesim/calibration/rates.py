"""Rates: which figures of a device explain the measured times best, under the cost model of a run.

The model is a sum: a job of F FLOPs in matrix products and C in convolutions, which moves W bytes of weights, V of
convolutions' weights and A of activations, in s steps of l layers, takes F/r + C/c + W/b + V/v + A/a + s·o + l·p.
Nothing hides behind anything else, since a framework runs one operator after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesim.devices.arrays import FloatArray
from edgesim.devices.workload import Workload

_FASTEST = 1e-16  # seconds a FLOP or byte, where none could be told from the measurements


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Attributes: dense_flops, convolution_flops, in FLOP/s; bandwidth, convolution_bandwidth,
    activation_bandwidth, in byte/s; step_overhead_s, layer_overhead_s; error, the median of
    |predicted / measured - 1| over what was fitted."""

    dense_flops: float
    convolution_flops: float
    bandwidth: float
    convolution_bandwidth: float
    activation_bandwidth: float
    step_overhead_s: float
    layer_overhead_s: float
    error: float


def fit(works: Sequence[Workload], times_s: Sequence[float]) -> Rates:
    """The rates with the least sum of squared relative errors, none of them negative."""
    costs, times = np.array([_costs(work) for work in works]), np.array(times_s)
    relative = costs / times[:, None]
    found = nonnegative(relative)
    dense, convolution, weights, of_convolutions, activations, step, layer = found.tolist()
    return Rates(
        dense_flops=1 / max(dense, _FASTEST),
        convolution_flops=1 / max(convolution, _FASTEST),
        bandwidth=1 / max(weights, _FASTEST),
        convolution_bandwidth=1 / max(of_convolutions, _FASTEST),
        activation_bandwidth=1 / max(activations, _FASTEST),
        step_overhead_s=step,
        layer_overhead_s=layer,
        error=float(np.median(np.abs(relative @ found - 1))),
    )


def _costs(work: Workload) -> list[float]:
    """What each figure multiplies, in the order of `Rates`."""
    assert work.layer_convolution is not None  # a profiled model tells its layers apart
    of_convolutions = float(work.layer_flops[work.layer_convolution].sum())
    return [
        work.dense_flops - of_convolutions,
        of_convolutions,
        work.traffic_bytes - work.activation_bytes - work.convolution_bytes,
        work.convolution_bytes,
        work.activation_bytes,
        work.steps,
        work.layer_calls,
    ]


def nonnegative(rows: FloatArray) -> FloatArray:
    """x ≥ 0 [column] with rows · x nearest to 1, by least squares; the most negative is left out until none is."""
    scale = rows.max(0)
    kept = scale > 0
    while True:
        found = np.zeros(rows.shape[1])
        found[kept] = np.linalg.lstsq(rows[:, kept] / scale[kept], np.ones(len(rows)), rcond=None)[0]
        if found.min() >= 0:
            found[kept] /= scale[kept]
            return found
        kept = kept & (np.arange(len(kept)) != found.argmin())
