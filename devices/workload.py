"""Workload: what one job's training asks of a device, before any device is known."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgesim.devices.arrays import BoolArray, FloatArray

_COUNTS = (
    "other_flops", "traffic_bytes", "steps", "memory_bytes", "layer_calls", "activation_bytes", "convolution_bytes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """FLOPs, memory traffic and peak memory of one whole job (all steps of it).

    Attributes:
        layer_flops: [layer] what each maskable layer would cost if it were dense: forward, input
            gradient and weight gradient together.
        layer_density: [layer] active share of that layer's weights, 0 to 1.
        other_flops: always dense: what cannot be masked, and dense gradients for regrowth.
        traffic_bytes: bytes moved between processor and memory.
        steps: optimiser steps; each pays the device's fixed overhead once.
        memory_bytes: peak, to be held against the memory that the device can spare.
        layer_convolution: [layer] which of the maskable layers are convolutions; None: not told apart.
        layer_calls: how often a layer of any kind is run, forward and backward counted as one: steps · layers.
        activation_bytes: the part of `traffic_bytes` that is new activations and their gradients, views left out.
        convolution_bytes: the part of it that is weights of convolutions, their gradients and optimiser state.

    Raises:
        ValueError: shapes that differ, a density outside [0, 1], a negative or non-finite figure.
    """

    layer_flops: FloatArray
    layer_density: FloatArray
    other_flops: float
    traffic_bytes: float
    steps: int
    memory_bytes: int
    layer_convolution: BoolArray | None = None
    layer_calls: int = 0
    activation_bytes: float = 0.0
    convolution_bytes: float = 0.0

    def __post_init__(self) -> None:
        if self.layer_flops.ndim != 1 or self.layer_flops.shape != self.layer_density.shape:
            raise ValueError(
                f"layer_flops {self.layer_flops.shape} and layer_density {self.layer_density.shape}: "
                "both must be [layer]"
            )
        if self.layer_convolution is not None and self.layer_convolution.shape != self.layer_flops.shape:
            raise ValueError(
                f"layer_convolution {self.layer_convolution.shape} and layer_flops {self.layer_flops.shape}: "
                "both must be [layer]"
            )
        if not np.all((self.layer_density >= 0) & (self.layer_density <= 1)):
            raise ValueError(f"layer_density {self.layer_density.tolist()}: each must lie in [0, 1]")
        if not np.all(np.isfinite(self.layer_flops) & (self.layer_flops >= 0)):
            raise ValueError(f"layer_flops {self.layer_flops.tolist()}: each must be finite and not negative")
        for name in _COUNTS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} {value!r}: must be finite and not negative")

    @cached_property
    def flops(self) -> float:
        """FLOPs of the active weights only, which is what the ledger counts; at most `dense_flops`.

        The sum is exact before it is rounded, so it does not depend on the order of the layers.
        """
        return math.fsum([*(self.layer_flops * self.layer_density).tolist(), self.other_flops])

    @property
    def dense_flops(self) -> float:
        """FLOPs of the same job with every weight active."""
        return math.fsum([*self.layer_flops.tolist(), self.other_flops])


NO_WORK = Workload(
    layer_flops=np.zeros(0), layer_density=np.zeros(0), other_flops=0.0, traffic_bytes=0.0, steps=0, memory_bytes=0
)
"""Of a job that trains nothing."""
