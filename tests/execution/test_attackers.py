"""Attackers: what they send, redone by hand, and that a run with them is what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgesim.algorithms.arrivals import Arrivals
from edgesim.execution.attackers import Attackers
from edgesim.learning.attacks import (
    Alie,
    Attack,
    FreeRider,
    Gaussian,
    Honest,
    InnerProduct,
    LabelFlip,
    Mimic,
    Scaled,
    SignFlip,
    alie_z,
)
from edgesim.learning.task import make_task
from edgesim.learning.tree import State


def arrived(*values: list[float], clients: tuple[int, ...] | None = None) -> Arrivals:
    count = len(values)
    return Arrivals(
        clients=clients or tuple(range(count)),
        samples=torch.ones(count, dtype=torch.float64),
        staleness=torch.zeros(count, dtype=torch.int64),
        discount=torch.ones(count, dtype=torch.float64),
        update={"params": {"w": torch.tensor(values)}, "held": {"w": torch.ones(count, len(values[0])).bool()}},
        payloads=({},) * count,
        population=count,
    )  # fmt: skip


def strike(attackers: Attackers, arrivals: Arrivals, memory: State, version: int = 0) -> tuple[Arrivals, State]:
    """With a model of the one tensor w."""
    return attackers.strike(arrivals, memory, version, {"w": arrivals.update["params"]["w"].shape[1:]})


def among(attack: Attack, *hostile: int, clients: int = 5) -> Attackers:
    mask = np.zeros(clients, bool)
    mask[list(hostile)] = True
    return Attackers(attack, mask, 0)


def sent(attack: Attack, *values: list[float]) -> list[list[float]]:
    """What arrives when the last client attacks."""
    struck, _ = strike(among(attack, len(values) - 1, clients=len(values)), arrived(*values), {})
    after: list[list[float]] = struck.update["params"]["w"].tolist()
    return after


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (SignFlip(), -6.0), (SignFlip(scale=3.0), -18.0), (Scaled(scale=3.0), 18.0), (LabelFlip(), 6.0),
        (FreeRider(), 0.0),
    ],
)  # fmt: skip
def test_attacks_on_ones_own_update(attack: Attack, expected: float) -> None:
    assert sent(attack, [1.0], [3.0], [6.0]) == [[1.0], [3.0], [expected]]


def test_inner_product_manipulation_turns_the_honest_mean_round() -> None:
    """−0.5 · (1 + 3)/2 = −1."""
    assert sent(InnerProduct(epsilon=0.5), [1.0], [3.0], [6.0])[-1] == [-1.0]


def test_alies_z_is_the_largest_shift_with_a_majority() -> None:
    """n = 50, f = 24: s = 26 − 24 = 2, Φ⁻¹(24/26) = 1.4261; n = 10, f = 2: s = 4, Φ⁻¹(4/8) = 0."""
    assert alie_z(50, 24) == pytest.approx(1.4261, abs=1e-4)
    assert alie_z(10, 2) == 0.0


def test_alie_hides_within_the_honest_spread() -> None:
    """n = 5, f = 2: s = 3 − 2 = 1, z = Φ⁻¹(2/3) = 0.4307; honest 1, 3, 5: μ = 3, σ = 2, so 2.1386."""
    struck, _ = strike(among(Alie(), 3, 4), arrived([1.0], [3.0], [5.0], [9.0], [9.0]), {})
    assert struck.update["params"]["w"][3:].flatten().tolist() == pytest.approx([2.1386] * 2, abs=1e-4)


def test_mimics_copy_one_honest_client_along_the_widest_direction() -> None:
    """The honest differ in the first coordinate most, and the second of them lies farthest out."""
    assert sent(Mimic(), [0.0, 1.0], [10.0, 0.9], [1.0, 1.1], [5.0, 5.0])[-1] == pytest.approx([10.0, 0.9])


@pytest.mark.parametrize("far", [0, 1, 2, 3])
def test_the_widest_direction_is_that_of_differences(far: int) -> None:
    """All are about (100, 0); they differ in the second coordinate most, and one of them by more than the others."""
    honest = [[101.0, -1.0 + 0.1 * place] for place in range(4)]
    honest[far] = [100.0, 5.0]
    assert sent(Mimic(), *honest, [0.0, 0.0])[-1] == [100.0, 5.0]
    assert sent(Mimic(), [3.0, 4.0], [0.0, 0.0])[-1] == [3.0, 4.0]  # there is but one to copy


def test_noise_is_of_the_asked_size_and_differs_by_version() -> None:
    one, _ = strike(among(Gaussian(std=2.0), 0), arrived([0.0] * 5000), {})
    two, _ = strike(among(Gaussian(std=2.0), 0), arrived([0.0] * 5000), {}, 1)
    assert one.update["params"]["w"].std().item() == pytest.approx(2.0, rel=0.05)
    assert not torch.equal(one.update["params"]["w"], two.update["params"]["w"])


def test_an_attacker_that_arrives_alone_knows_the_honest_of_before() -> None:
    """Asynchronous, a buffer of one: honest 1 and 3 came before, so −1 · 2."""
    attackers = among(InnerProduct(epsilon=1.0), 4)
    memory: State = {}
    for client, value in ((0, 1.0), (1, 3.0)):
        struck, memory = strike(attackers, arrived([value], clients=(client,)), memory)
        assert struck.update["params"]["w"].item() == value
    struck, _ = strike(attackers, arrived([7.0], clients=(4,)), memory, 2)
    assert struck.update["params"]["w"].item() == -2.0


def test_who_has_fewer_than_two_honest_to_hide_among_sends_their_mean() -> None:
    """Whatever the number of attackers: no shift away from one update, or from none, has a majority."""
    assert all(alie_z(f + honest, f) == 0.0 for f in range(1, 50) for honest in (0, 1))
    attackers = among(Alie(), 3, 4)
    _, memory = strike(attackers, arrived([1.0], [2.0], [6.0], clients=(0, 1, 2)), {})
    alone, _ = strike(attackers, arrived([9.0], clients=(4,)), memory)
    beside, _ = strike(attackers, arrived([11.0], [9.0], clients=(0, 4)), memory)
    assert alone.update["params"]["w"].flatten().tolist() == [3.0]
    assert beside.update["params"]["w"].flatten().tolist() == [11.0, 5.0]


def test_masks_and_what_is_no_tensor_of_the_model_are_left_alone() -> None:
    struck, _ = strike(among(SignFlip(), 0), arrived([1.0]), {})
    assert torch.equal(struck.update["held"]["w"], torch.ones(1, 1).bool())
    whole = replace(arrived([1.0]), update={"params": {"w": torch.ones(1, 1), "bn.running_var": torch.ones(1, 1)}})
    struck, _ = strike(among(SignFlip(), 0), whole, {})
    assert struck.update["params"]["bn.running_var"].item() == 1.0
    assert struck.update["params"]["w"].item() == -1.0


def test_what_is_forged_has_the_shapes_of_what_was_sent() -> None:
    """A matrix, a vector and a number of each of two clients, of which the second flips its signs."""
    sent = {"W": torch.arange(8.0).view(2, 2, 2), "b": torch.tensor([[1.0], [2.0]]), "scale": torch.tensor([3.0, 4.0])}
    before = {name: tensor.clone() for name, tensor in sent.items()}
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in sent.items()}
    two = replace(arrived([0.0], [0.0]), update={"params": sent})
    struck, _ = among(SignFlip(), 1).strike(two, {}, 0, shapes)
    for name, tensor in struck.update["params"].items():
        assert torch.equal(tensor, torch.stack([before[name][0], -before[name][1]]))
        assert torch.equal(sent[name], before[name])  # updates are values


def test_two_honest_updates_are_enough_to_know_what_is_sent_now() -> None:
    """Before came 10; now 1 and 3, whose mean is turned round."""
    attackers = among(InnerProduct(epsilon=1.0), 4)
    _, memory = strike(attackers, arrived([10.0], clients=(2,)), {})
    struck, _ = strike(attackers, arrived([1.0], [3.0], [7.0], clients=(0, 1, 4)), memory)
    assert struck.update["params"]["w"].flatten().tolist() == [1.0, 3.0, -2.0]


def test_a_mask_says_what_travels_of_the_model_and_of_nothing_else() -> None:
    """A dense gradient that is sent beside a sparse model is forged whole."""
    whole = torch.tensor([[1.0, 2.0]])
    update = {"params": {"w": whole}, "mask": {"w": torch.tensor([[True, False]])}, "gradient": {"w": whole}}
    struck, _ = strike(among(SignFlip(), 0), replace(arrived([1.0, 2.0]), update=update), {})
    assert struck.update["params"]["w"].tolist() == [[-1.0, 0.0]]
    assert struck.update["gradient"]["w"].tolist() == [[-1.0, -2.0]]


def test_flipped_labels_are_those_of_the_attackers_training_parts() -> None:
    task = make_task(dataset="digits", clients=4, model="mlp", seed=0)
    wrong = among(LabelFlip(), 2, clients=4).mislabelled(task)
    own, others = task.train.of(2), np.concatenate([task.train.of(c) for c in (0, 1, 3)])
    assert torch.equal(wrong.y[own], 9 - task.y[own])
    assert torch.equal(wrong.y[others], task.y[others])
    assert torch.equal(wrong.y[task.test.of(2)], task.y[task.test.of(2)])


def test_who_attacks_follows_from_the_seed() -> None:
    first, again, other = (Attackers.among(100, SignFlip(share=0.2), seed) for seed in (0, 0, 1))
    assert first.hostile.sum() == 20
    assert Attackers.among(100, SignFlip(share=0.29), 0).hostile.sum() == 29  # 28.999999999999996 by floating point
    assert np.array_equal(first.hostile, again.hostile)
    assert not np.array_equal(first.hostile, other.hostile)


def test_knowledge_needs_two_honest_updates_to_spread() -> None:
    honest = Honest(vectors=torch.zeros(0, 1), mean=torch.ones(1), std=torch.zeros(1), total=1)
    assert Mimic().forge(torch.zeros(1, 1), honest, np.random.default_rng(0)).item() == 1.0
