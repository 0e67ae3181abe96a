"""Costs of local training, memoised where most jobs are alike."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from edgesim.algorithms.context import Context
from edgesim.devices.workload import Workload
from edgesim.learning import phases, profile
from edgesim.learning.profile import ModelProfile
from edgesim.learning.training import Training


def local_work(
    context: Context,
    samples: int,
    *,
    training: Training | None = None,
    density: Mapping[str, float] | None = None,
    dense_gradients: int = 0,
    copies: int = 0,
) -> Workload:
    """The cost of local training: the context's, or `training`'s.

    density: active share of each masked tensor; dense_gradients: batches that need all gradients besides;
    copies: trees as large as the model that the device keeps besides its weights and gradients.
    Where the training leaves tensors alone, only `copies` may be given besides.
    """
    training = training or context.training
    if training.trained is not None:
        assert density is None, "a part of a masked model"
        work = phase_work(replace(context, training=training), samples, training.trained)
        return holding(work, 4 * copies * context.profile.parameters)
    shares = None if density is None else tuple(density.items())
    return _work(context.profile, training, samples, shares, dense_gradients, copies)


@lru_cache(maxsize=4096)  # clients of like size and density cost alike: most jobs find their workload made
def _work(
    costs: ModelProfile,
    training: Training,
    samples: int,
    shares: tuple[tuple[str, float], ...] | None,
    dense_gradients: int,
    copies: int,
) -> Workload:
    return profile.training_workload(
        costs,
        samples=samples,
        batch_size=training.batch_size,
        epochs=training.epochs,
        density=None if shares is None else dict(shares),
        optimizer_words=training.words,
        dense_gradient_batches=dense_gradients,
        copies=copies,
    )


def phase_work(
    context: Context,
    samples: int,
    trained: Iterable[str],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    features: int | None = None,
) -> Workload:
    """The cost of a phase that trains only some tensors: see `phases.phase_workload`. By default the context's
    epochs and batch size; phases one after another are `phases.together`."""
    training = context.training
    return _phase(
        context.profile,
        training,
        samples,
        frozenset(trained),
        training.epochs if epochs is None else epochs,
        steps,
        batch_size or training.batch_size,
        features,
    )


def forward_work(context: Context, samples: int, *, density: Mapping[str, float]) -> Workload:
    """The cost of one forward pass over a client's samples under a mask of these densities."""
    profile, work = context.profile, phase_work(context, samples, (), epochs=1)
    layers = [name for name, can in zip(profile.names, profile.maskable, strict=True) if can]
    return at_density(work, tuple(density.get(name, 1.0) for name in layers))


@lru_cache(maxsize=4096)
def at_density(work: Workload, shares: tuple[float, ...]) -> Workload:
    """The same work with this share of each maskable layer's weights active."""
    return replace(work, layer_density=np.array(shares))


@lru_cache(maxsize=4096)
def holding(work: Workload, more_bytes: int) -> Workload:
    """The same work with so many bytes more in memory."""
    return replace(work, memory_bytes=work.memory_bytes + more_bytes)


@lru_cache(maxsize=4096)
def _phase(
    costs: ModelProfile,
    training: Training,
    samples: int,
    trained: frozenset[str],
    epochs: int,
    steps: int | None,
    batch_size: int,
    features: int | None,
) -> Workload:
    return phases.phase_workload(
        costs,
        samples=samples,
        batch_size=batch_size,
        epochs=epochs,
        steps=steps,
        trained=trained,
        optimizer_words=training.words,
        features=features,
    )


def scaled(work: Workload, times: int) -> Workload:
    """So many times the same, one after another, in the same memory."""
    return phases.together(*[work] * times)
