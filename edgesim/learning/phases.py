"""Phases: what local training costs where only some tensors learn, and one phase after another."""

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache, reduce
from math import ceil

import numpy as np
from numpy.typing import NDArray

from edgesim.devices.workload import Workload
from edgesim.learning.profile import ModelProfile, training_workload


def phase_workload(
    profile: ModelProfile,
    *,
    samples: int,
    batch_size: int,
    epochs: int = 1,
    steps: int | None = None,
    trained: Collection[str],
    optimizer_words: int = 0,
    features: int | None = None,
) -> Workload:
    """The cost of `epochs` passes, or so many `steps`, in which only the `trained` tensors learn; all is dense.

    Against `training_workload`: no gradients of other tensors, no input gradients up to the first trained tensor,
    no memory and traffic for what is not updated, so that of what stands still weights are read once a step, or twice
    where an input gradient passes; below the first trained tensor activations have no gradients, and without input
    gradients products that belong to no tensor count a third. Without `trained` tensors it is a forward pass.

    features: values a sample that the trained layers start from. They are computed once a sample and kept, so that
    later passes run only what lies above. Tensors are in the order of computation.
    """
    whole, rest = _passes(samples, batch_size, epochs, steps)
    kept = slice(None)
    if features is not None:
        first = next((i for i, name in enumerate(profile.names) if name in trained), len(profile.names))
        seen = samples if whole else rest
        body, kept = slice(0, first), slice(first, None)
        fill = _passes_work(_part(_frozen(profile, ()), body), seen, batch_size, 1, (), 0, body)
        fill = replace(fill, steps=0, memory_bytes=fill.memory_bytes + 4 * features * seen)
    frozen = _frozen(profile, trained)
    if features is not None:
        frozen = _part(replace(frozen, other_flops=0.0), kept, features)
    works = [_passes_work(frozen, samples, batch_size, whole, trained, optimizer_words, kept)] if whole else []
    works += [_passes_work(frozen, rest, batch_size, 1, trained, optimizer_words, kept)] if rest else []
    if features is not None:
        works = [fill, *works]
    return together(*works) if works else _nothing(_passes_work(frozen, 1, 1, 1, trained, optimizer_words, kept))


@lru_cache(maxsize=4096)  # jobs whose parts are alike find their workload made
def together(*works: Workload) -> Workload:
    """One after another on the same device: all add up, but for the memory, which is the largest. Layers at other
    densities are rows of their own."""
    return reduce(_after, works)


def _after(first: Workload, then: Workload) -> Workload:
    own, other = first.layer_convolution, then.layer_convolution
    if np.array_equal(first.layer_density, then.layer_density):
        flops, density, convolution = first.layer_flops + then.layer_flops, first.layer_density, own
    else:
        flops = np.concatenate([first.layer_flops, then.layer_flops])
        density = np.concatenate([first.layer_density, then.layer_density])
        convolution = None if own is None or other is None else np.concatenate([own, other])
    return replace(
        first,
        layer_flops=flops,
        layer_density=density,
        layer_convolution=convolution,
        other_flops=first.other_flops + then.other_flops,
        traffic_bytes=first.traffic_bytes + then.traffic_bytes,
        activation_bytes=first.activation_bytes + then.activation_bytes,
        convolution_bytes=first.convolution_bytes + then.convolution_bytes,
        steps=first.steps + then.steps,
        layer_calls=first.layer_calls + then.layer_calls,
        memory_bytes=max(first.memory_bytes, then.memory_bytes),
    )


def _nothing(work: Workload) -> Workload:
    """No step of this work: the model lies in memory, nothing is computed."""
    return replace(
        work, layer_flops=np.zeros_like(work.layer_flops), other_flops=0.0, traffic_bytes=0.0, activation_bytes=0.0,
        convolution_bytes=0.0, steps=0, layer_calls=0,
    )  # fmt: skip


def _passes(samples: int, batch_size: int, epochs: int, steps: int | None) -> tuple[int, int]:
    """Whole passes over the samples, and the samples of what is left."""
    if steps is None:
        return epochs, 0
    whole, left = divmod(steps, ceil(samples / batch_size))
    return whole, left * batch_size


def _passes_work(
    frozen: ModelProfile, samples: int, batch_size: int, epochs: int, trained: Collection[str], words: int, kept: slice
) -> Workload:
    """Passes in which the tensors that are `kept` compute."""
    work = training_workload(
        frozen, samples=samples, batch_size=batch_size, epochs=epochs, density=None, optimizer_words=words
    )
    learns = _learn(frozen, trained)
    computes = np.zeros(len(learns), np.int64)
    computes[kept] = 1
    reads = computes * (1 + _above(learns))  # forward, and backward where an input gradient passes
    spared = np.where(learns, 0, frozen.elements * (6 + 2 * words - reads))
    return replace(
        work,
        memory_bytes=work.memory_bytes - 4 * int(frozen.elements[~learns].sum()) * (1 + words),
        traffic_bytes=work.traffic_bytes - 4.0 * int(spared.sum()) * work.steps,
        convolution_bytes=work.convolution_bytes - 4.0 * int(spared[frozen.convolution].sum()) * work.steps,
    )


def _frozen(profile: ModelProfile, trained: Collection[str]) -> ModelProfile:
    """The costs of a sample when only these tensors learn."""
    learns = _learn(profile, trained)
    inputs = profile.input_grad_flops * _above(learns)
    deep = bool(inputs.any()) or bool(learns.all())
    with_gradient = np.where(np.cumsum(learns) > 0, 1.0, 0.5)
    return replace(
        profile,
        input_grad_flops=inputs,
        weight_grad_flops=profile.weight_grad_flops * learns,
        other_flops=profile.other_flops if deep else profile.other_flops / 3,
        activations=profile.activations * with_gradient,
        views=profile.views * with_gradient,
    )


def _learn(profile: ModelProfile, trained: Collection[str]) -> NDArray[np.bool_]:
    return np.array([name in trained for name in profile.names])


def _above(learns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of which tensors something before them learns, so that gradients must pass them."""
    above: NDArray[np.bool_] = np.cumsum(learns) > learns
    return above


def _part(profile: ModelProfile, kept: slice, features: int = 0) -> ModelProfile:
    """The costs of some tensors, which start from so many `features`; the others are there, but compute nothing."""
    on = np.zeros(len(profile.names), np.int64)
    on[kept] = 1
    activations = profile.activations * on
    activations[kept][:1] += features / 2  # they have no gradient
    return replace(
        profile,
        forward_flops=profile.forward_flops * on,
        input_grad_flops=profile.input_grad_flops * on,
        weight_grad_flops=profile.weight_grad_flops * on,
        activations=activations,
        views=profile.views * on,
        calls=profile.calls * on,
    )
