"""What training costs where only some tensors learn: counted by hand for an mlp of 64-16-10."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from edgesim.devices.cost import effective_flops
from edgesim.learning import phases
from edgesim.learning.profile import profile_model, training_workload
from edgesim.learning.task import make_task

PROFILE = profile_model(make_task(clients=2, model_params={"hidden": [16]}, seed=0).model)
BODY, HEAD = 2 * 64 * 16, 2 * 16 * 10  # FLOPs of one product of a sample
ALL = PROFILE.names
BASE, TOP = ALL[:2], ALL[2:]


def flops(trained: tuple[str, ...], **asked: int) -> float:
    return phases.phase_workload(PROFILE, **{"samples": 20, "batch_size": 5, **asked}, trained=trained).flops


def test_training_all_is_what_it_always_was() -> None:
    whole = training_workload(PROFILE, samples=20, batch_size=5, epochs=2, density=None, optimizer_words=1)
    phase = phases.phase_workload(PROFILE, samples=20, batch_size=5, epochs=2, trained=ALL, optimizer_words=1)
    for name in ("flops", "traffic_bytes", "steps", "memory_bytes", "layer_calls", "activation_bytes"):
        assert getattr(phase, name) == getattr(whole, name)


def test_a_frozen_base_costs_its_forward_pass_and_a_frozen_head_its_input_gradient() -> None:
    """Head: forward of both, weight gradient of the head. Base: forward of both, the way through the head, and the
    base's weight gradient; the first layer never has an input gradient. Nothing: forward of both."""
    assert flops(TOP) == 20 * (BODY + 2 * HEAD)
    assert flops(BASE) == 20 * (2 * BODY + 2 * HEAD)
    assert flops(ALL) == 20 * (2 * BODY + 3 * HEAD)
    assert flops(()) == 20 * (BODY + HEAD)


def test_kept_features_are_computed_once_a_sample() -> None:
    """Three epochs of the head: the base forward once for 20 samples, the head three times. In 6 steps of 5 all 20
    have been seen, in 3 steps only 15."""
    assert flops(TOP, epochs=3, features=16) == 20 * BODY + 3 * 20 * 2 * HEAD
    assert flops(TOP, steps=6, features=16) == 20 * BODY + 30 * 2 * HEAD
    assert flops(TOP, steps=3, features=16) == 15 * BODY + 15 * 2 * HEAD


def test_steps_are_whole_passes_and_the_rest() -> None:
    assert flops(ALL, steps=8) == flops(ALL, epochs=2)
    assert flops(ALL, steps=5) == pytest.approx(flops(ALL) * 25 / 20)
    nothing = phases.phase_workload(PROFILE, samples=20, batch_size=5, steps=0, trained=ALL)
    assert (nothing.flops, nothing.steps, nothing.traffic_bytes) == (0, 0, 0)


def test_what_stands_still_needs_no_gradient_in_memory() -> None:
    """A gradient of 4 bytes a value, and no momentum: 1,040 values of the base."""
    whole, head = (
        phases.phase_workload(PROFILE, samples=20, batch_size=5, trained=names, optimizer_words=1)
        for names in (ALL, TOP)
    )
    activations = 4 * 2 * 5 * (PROFILE.activations - -(-PROFILE.activations // 2))
    assert whole.memory_bytes - head.memory_bytes == 4 * 2 * 1040 + activations
    assert head.traffic_bytes < whole.traffic_bytes


def test_phases_add_up_but_for_their_memory() -> None:
    first, then = (phases.phase_workload(PROFILE, samples=20, batch_size=b, trained=ALL) for b in (5, 10))
    both = phases.together(first, then)
    assert (both.flops, both.steps) == (first.flops + then.flops, first.steps + then.steps)
    assert both.memory_bytes == max(first.memory_bytes, then.memory_bytes)
    assert both.layer_flops.shape == first.layer_flops.shape


def test_phases_at_other_densities_keep_them() -> None:
    first, then = (phases.phase_workload(PROFILE, samples=20, batch_size=b, trained=ALL) for b in (5, 10))
    thin = replace(then, layer_density=np.full_like(then.layer_density, 0.25))
    both = phases.together(first, thin)
    assert both.flops == pytest.approx(first.flops + thin.flops)
    for efficiency in (0.2, 0.5):
        cost = partial(effective_flops, sparse_efficiency=efficiency, sparse_speedup="realised")
        assert cost(both) == pytest.approx(cost(first) + cost(thin))
