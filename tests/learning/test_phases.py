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
    activations = 4 * 5 * (64 + 16 + 16)  # nor have activations below the head: flatten, fc1, relu
    assert whole.memory_bytes - head.memory_bytes == 4 * 2 * 1040 + activations
    assert head.traffic_bytes < whole.traffic_bytes


CNN = profile_model(
    make_task(clients=2, model="cnn", model_params={"channels": [3, 5], "hidden": 7}, seed=0).model
)  # 75 + 3 and 375 + 5 values of convolutions, 140 + 7 and 70 + 10 of linear layers; 656 activations, of flatten 20


def test_a_phase_of_a_head_by_hand() -> None:
    """7 samples in batches of 4, 3 epochs, momentum: 6 steps, 21 samples. 605 values stand still: read once a step, as
    no gradient passes them; the others move 8 times. Gradients of the 10 last activations only."""
    work = phases.phase_workload(CNN, samples=7, batch_size=4, epochs=3, trained=CNN.names[-2:], optimizer_words=1)
    assert work.memory_bytes == 4 * (685 + 80 * 2) + 4 * 4 * (646 + 2 * 10)
    assert work.traffic_bytes == 6 * 4 * (605 + 80 * 8) + 21 * 8 * (646 + 2 * 10)
    assert work.convolution_bytes == 6 * 4 * 450
    assert work.activation_bytes == 21 * 8 * (646 - 20 + 2 * 10)
    assert (work.steps, work.layer_calls) == (6, 6 * 9)


def test_what_stands_still_above_what_learns_is_read_twice() -> None:
    """The 78 values of the first layer learn: gradients pass all that is above, and nothing of it is updated."""
    work = phases.phase_workload(CNN, samples=8, batch_size=4, trained=CNN.names[:2])
    assert work.traffic_bytes == 2 * 4 * (78 * 6 + 607 * 2) + 8 * 16 * 656
    assert work.convolution_bytes == 2 * 4 * (75 * 6 + 375 * 2)


def test_a_pass_forward_reads_each_weight_once() -> None:
    work = phases.phase_workload(CNN, samples=8, batch_size=4, trained=())
    assert work.traffic_bytes == 2 * 4 * 685 + 8 * 16 * 656 / 2


def test_a_phase_of_a_head_whose_features_are_kept_by_hand() -> None:
    """The same from the 7 features of each of the 7 samples, which are kept: before it a pass over the body, whose 605
    values are read, and 8 layers run, for each of 2 batches that are no steps of training and never again; and then
    one layer, of 7 activations without gradients and 10 with them."""
    work = phases.phase_workload(
        CNN, samples=7, batch_size=4, epochs=3, trained=CNN.names[-2:], optimizer_words=1, features=7
    )
    assert (work.steps, work.layer_calls) == (6, 2 * 8 + 6 * 1)
    fill, head = 2 * 4 * 605 + 7 * 8 * 646, 6 * 4 * 80 * 8 + 21 * 8 * (7 + 2 * 10)
    assert work.traffic_bytes == fill + head
    assert work.activation_bytes == 7 * 8 * (646 - 20) + 21 * 8 * (7 + 2 * 10)
    filling, tuning = 4 * 685 + 4 * 4 * 646 + 4 * 7 * 7, 4 * (685 + 80 * 2) + 4 * 4 * (7 + 2 * 10)
    assert filling > tuning
    assert work.memory_bytes == filling
    part = phases.phase_workload(CNN, samples=7, batch_size=4, steps=1, trained=CNN.names[-2:], features=7)
    assert filling - part.memory_bytes == 4 * 7 * 3  # one step has seen 4 of the 7


def test_a_phase_of_no_step_costs_nothing_but_memory() -> None:
    nothing = phases.phase_workload(CNN, samples=7, batch_size=4, steps=0, trained=CNN.names)
    assert nothing.memory_bytes == 4 * 685 * 2 + 8 * 656
    spent = (nothing.flops, nothing.traffic_bytes, nothing.activation_bytes, nothing.convolution_bytes)
    assert (*spent, nothing.steps, nothing.layer_calls) == (0, 0, 0, 0, 0, 0)


def test_every_figure_but_memory_adds_up() -> None:
    """Whatever the order; two convolutions at other densities stay told apart from other layers."""
    first = phases.phase_workload(CNN, samples=7, batch_size=4, trained=CNN.names, optimizer_words=1)
    then = replace(
        phases.phase_workload(CNN, samples=9, batch_size=2, trained=CNN.names[-2:]), other_flops=5.0,
        layer_density=np.array([0.5, 0.5, 1.0, 1.0]),
    )  # fmt: skip
    for one, other in ((first, then), (then, first)):
        both = phases.together(one, other)
        for name in (
            "other_flops", "traffic_bytes", "activation_bytes", "convolution_bytes", "steps", "layer_calls", "flops",
        ):  # fmt: skip
            assert getattr(both, name) == pytest.approx(getattr(first, name) + getattr(then, name))
        assert both.memory_bytes == max(first.memory_bytes, then.memory_bytes)
        assert both.layer_convolution is not None
        assert both.layer_convolution.tolist() == [True, True, False, False] * 2
        assert phases.together(one, replace(other, layer_convolution=None)).layer_convolution is None


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
