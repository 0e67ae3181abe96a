"""Model profile: what one sample costs in FLOPs and memory, and what a device's whole training costs.

A FLOP count is 2 per multiply-accumulate, as `torch.utils.flop_counter` counts: matrix products and
convolutions; activations, norms, pooling, losses and the optimiser's own arithmetic count nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning.flops import Measured, Outputs, measure
from edgesim.learning.layerflops import by_layer
from edgesim.learning.models import Model

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelProfile:
    """Costs of one sample, per tensor in module order: parameters, and statistics of norms, which cost no FLOPs.

    Attributes: names; elements, values in each tensor; maskable, those of ≥ 2 dimensions; forward_flops,
    input_grad_flops, weight_grad_flops, of the products that use it, were it dense (the first layer has
    no input gradient; what is not maskable has none at all); other_flops, of products that belong to no tensor
    (attention scores, say), forward and backward; convolution, whether a tensor is the weight of one; activations,
    values that a leaf module, and those after it that have no tensors, put out, all with the module's last tensor;
    views, those of them that only show their input anew; calls, in one pass, of those modules that are no views.
    """

    names: tuple[str, ...]
    elements: NDArray[np.int64]
    maskable: NDArray[np.bool_]
    forward_flops: FloatArray
    input_grad_flops: FloatArray
    weight_grad_flops: FloatArray
    other_flops: float
    convolution: NDArray[np.bool_]
    activations: FloatArray
    views: FloatArray
    calls: NDArray[np.int64]

    @cached_property
    def training_flops(self) -> FloatArray:
        """Forward and both gradients of one sample, per tensor [param]."""
        return self.forward_flops + self.input_grad_flops + self.weight_grad_flops

    @cached_property
    def total_flops(self) -> float:
        """Forward and backward of one sample, all of it dense."""
        return float(self.training_flops.sum()) + self.other_flops

    @property
    def parameters(self) -> int:
        """Values in all tensors."""
        return int(self.elements.sum())


def profile_model(model: Model) -> ModelProfile:
    """Measure a model: a sequence of layers by formula, others by running them on the meta device."""
    measured = by_layer(model.module, model.input_shape) or _measured(model)
    shapes = model.shapes
    flops = np.array([measured.flops.get(name, (0.0, 0.0, 0.0)) for name in shapes]).reshape(-1, 3)
    outputs = np.array([measured.outputs.get(name, Outputs()) for name in shapes], np.int64).reshape(-1, 3)
    return ModelProfile(
        names=tuple(shapes),
        elements=np.array([int(np.prod(shape)) for shape in shapes.values()], np.int64),
        maskable=np.array([len(shape) >= 2 for shape in shapes.values()]),
        forward_flops=flops[:, 0],
        input_grad_flops=flops[:, 1],
        weight_grad_flops=flops[:, 2],
        other_flops=measured.other_flops,
        convolution=np.array([name in measured.convolutions for name in shapes]),
        activations=outputs[:, :2].sum(1).astype(np.float64),
        views=outputs[:, 1].astype(np.float64),
        calls=outputs[:, 2],
    )


def _measured(model: Model) -> Measured:
    try:
        return measure(model.module, model.zeros(1, "meta"))
    except (RuntimeError, NotImplementedError) as error:
        raise ScenarioError(
            f"the model's FLOPs cannot be counted: {error}; they are counted without any values, so a forward pass "
            "must not look at them (if x.sum() > 0, float(x.max()), .item(), .numpy()): write torch.where, or keep "
            "a tensor"
        ) from error


def training_workload(
    profile: ModelProfile,
    *,
    samples: int,
    batch_size: int,
    epochs: int,
    density: Mapping[str, float] | None,
    optimizer_words: int,
    dense_gradient_batches: int = 0,
    copies: int = 0,
) -> Workload:
    """What the local training of one client costs.

    samples: of the client; density: active share of each masked tensor by name (absent: dense; None: no
    masks at all); optimizer_words: values kept per weight (`Training.words`); dense_gradient_batches: extra
    passes that need all gradients, to regrow masks; copies: further trees like the model's active weights that the
    device keeps. With A active values, N all, a activations a sample,
    b = min(batch_size, samples) and s = ⌈samples / batch_size⌉ · epochs steps:

        FLOPs    real samples only, forward and backward; + dense_gradient_batches · b dense samples
        memory   4·A·(2 + optimizer_words + copies)      weights, gradients, optimiser state, further trees
                 + masked values / 8            masks, one bit each
                 + 4·2·b·a                      activations and their gradients
                 + 4·max_l(N_l − A_l)           one dense gradient at a time, if there are dense passes
        traffic  4·A·(6 + 2·optimizer_words)    a step: forward read, backward read, gradient write;
                                                update reads two, writes one, optimiser state both ways
                 + 4·4·a                        a sample: activations and gradients, each written and read
                 + dense passes: 4·3·N + 4·4·a·b each
        steps    s + dense_gradient_batches

    Raises ValueError for a density under a name that is no maskable tensor, and for counts below 1.
    """
    if min(samples, batch_size, epochs) < 1:
        raise ValueError(f"{samples=}, {batch_size=} and {epochs=} must each be at least 1")
    share = _shares(profile, density or {})
    active = float(np.rint(share * profile.elements).sum())
    batch, steps = min(batch_size, samples), ceil(samples / batch_size) * epochs
    layer, seen = profile.maskable, samples * epochs
    hidden = np.rint((1 - share) * profile.elements).max(initial=0.0)
    mask_bytes = sum(int(profile.elements[profile.names.index(name)]) for name in density or {}) / 8
    activations, views = float(profile.activations.sum()), float(profile.views.sum())
    per_sample_bytes, per_weight = 4 * 4 * activations, 6 + 2 * optimizer_words
    return Workload(
        layer_flops=profile.training_flops[layer] * seen,
        layer_density=share[layer],
        other_flops=profile.other_flops * seen + profile.total_flops * dense_gradient_batches * batch,
        traffic_bytes=4 * active * per_weight * steps
        + per_sample_bytes * seen
        + dense_gradient_batches * (4 * 3 * profile.parameters + per_sample_bytes * batch),
        steps=steps + dense_gradient_batches,
        memory_bytes=ceil(
            4 * active * (2 + optimizer_words + copies)
            + mask_bytes
            + 4 * 2 * batch * activations
            + (4 * hidden if dense_gradient_batches else 0)
        ),
        layer_convolution=profile.convolution[layer],
        layer_calls=int(profile.calls.sum()) * (steps + dense_gradient_batches),
        activation_bytes=4 * 4 * (activations - views) * (seen + dense_gradient_batches * batch),
        convolution_bytes=4 * float(np.rint(share * profile.elements)[profile.convolution].sum()) * per_weight * steps,
    )


def _shares(profile: ModelProfile, density: Mapping[str, float]) -> FloatArray:
    """Active share of every tensor, [param]."""
    share = np.ones(len(profile.names))
    for name, value in density.items():
        if name not in profile.names or not profile.maskable[profile.names.index(name)]:
            known = [n for n, can in zip(profile.names, profile.maskable, strict=True) if can]
            raise ValueError(f"density of '{name}': it is no maskable tensor; there are {', '.join(known)}")
        share[profile.names.index(name)] = value
    return share
