"""Traits: what else is known of a processor, beyond one rate, one bandwidth and one overhead."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgesim.devices.arrays import FloatArray

Time = TypeVar("Time", float, FloatArray)
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The finer figures of a device model, for the few that have any.

    Attributes:
        compute_flops: the model's own rate, which the others go with: a unit that is s times as fast has s
            times the convolution rate and 1 / s of the overhead.
        bandwidth: the model's own, in byte/s, which the other bandwidths go with; it has a clock of its own.
        convolution_flops: FLOP/s reached in convolutions, where they run at another rate than matrix products.
        layer_overhead_s: fixed cost of one layer in one step, on top of the step's own.
        activation_bandwidth: byte/s of activations and their gradients, where it is not that of weights: they are
            made anew in each step.
        convolution_bandwidth: byte/s of the weights of convolutions, likewise: kernels rearrange them.
        overlap: whether memory traffic hides behind arithmetic, so that the longer of the two counts (the
            roofline); a framework that runs one operator after the other pays for both.
        sparse_curve: measured (density, speed-up) pairs of a sparse layer's training, by rising density; empty
            where the efficiency eta stands for them.
        burst, burst_s: each job runs `burst` times as fast for its first `burst_s` seconds, until the device
            is hot.

    Raises:
        ValueError: a figure out of its range.
    """

    compute_flops: float
    bandwidth: float
    convolution_flops: float | None = None
    layer_overhead_s: float = 0.0
    activation_bandwidth: float | None = None
    convolution_bandwidth: float | None = None
    overlap: bool = True
    sparse_curve: Curve = ()
    burst: float = 1.0
    burst_s: float = 0.0

    def __post_init__(self) -> None:
        rates = ("compute_flops", "bandwidth", "convolution_flops", "activation_bandwidth", "convolution_bandwidth")
        for name in rates:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} {value!r}: must be above 0")
        for name in ("layer_overhead_s", "burst_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)!r} s: must not be negative")
        if not 1 <= self.burst < math.inf:
            raise ValueError(f"burst {self.burst!r}: must be at least 1, as many times as fast as when hot")
        _check_curve(self.sparse_curve)

    @property
    def plain(self) -> bool:
        """Whether there is nothing here that the plain figures do not say."""
        return self == Traits(compute_flops=self.compute_flops, bandwidth=self.bandwidth)

    def burst_time_s(self, sustained_s: Time) -> Time:
        """How long a job takes, or each of several [job], that would take `sustained_s` on a hot device."""
        if self.burst == 1:
            return sustained_s
        hot_s = sustained_s - (self.burst - 1) * self.burst_s
        within = sustained_s <= self.burst * self.burst_s
        if isinstance(sustained_s, np.ndarray):
            return np.where(within, sustained_s / self.burst, hot_s)
        return sustained_s / self.burst if within else hot_s


def _check_curve(curve: Curve) -> None:
    for density, speedup in curve:
        if not (0 < density < 1 and 0 < speedup < math.inf):
            raise ValueError(
                f"sparse curve, density {density!r}: speed-up {speedup!r}: densities must lie in (0, 1) and "
                "speed-ups above 0"
            )
    densities = [density for density, _ in curve]
    if densities != sorted(set(densities)):
        raise ValueError(f"sparse curve: densities {densities} must rise, each once")


def dense_share(density: FloatArray, curve: Curve) -> FloatArray:
    """Time of layers of these densities [layer] as a share of the dense ones', from a measured curve.

    Straight lines between the points on logarithmic axes, on to (1, 1) above the highest density; below the
    lowest, time falls with the density. Never above 1: the dense kernel is at hand. Without a weight, 0.
    """
    points = np.log([*curve, (1.0, 1.0)])
    present = density > 0
    logs = np.log(np.where(present, density, 1.0))
    speedup = np.interp(logs, points[:, 0], points[:, 1]) + np.maximum(points[0, 0] - logs, 0.0)
    share: FloatArray = np.where(present, np.minimum(1.0, np.exp(-speedup)), 0.0)
    return share
