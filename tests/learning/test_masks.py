"""Masks: ERK against the published nets, exact counts, and prune-and-regrow against a slow, plain version."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesim.learning.masks import (
    below_percentile,
    bernoulli_mask,
    erk,
    erk_sparsities,
    grow,
    largest,
    maskable,
    prune,
    prune_and_regrow,
    random_mask,
    uniform,
)

Net = list[tuple[tuple[int, ...], int]]  # shape of a weight, and at how many places it is applied


def conv(units_in: int, units_out: int, kernel: int, side: int) -> tuple[tuple[int, ...], int]:
    return (units_out, units_in, kernel, kernel), side * side


def resnet18() -> Net:
    """CIFAR ResNet18: 3×3 stem, four stages of two basic blocks, 1×1 shortcuts where the shape changes."""
    net = [conv(3, 64, 3, 32)]
    wide_in = 64
    for wide, side in [(64, 32), (128, 16), (256, 8), (512, 4)]:
        net += [conv(wide_in, wide, 3, side), *[conv(wide, wide, 3, side)] * 3]
        if wide != wide_in:
            net.append(conv(wide_in, wide, 1, side))
        wide_in = wide
    return [*net, ((10, 512), 1)]


VGG11: Net = [
    conv(3, 64, 3, 32), conv(64, 128, 3, 16), conv(128, 256, 3, 8), conv(256, 256, 3, 8),
    conv(256, 512, 3, 4), conv(512, 512, 3, 4), conv(512, 512, 3, 2), conv(512, 512, 3, 2), ((10, 512), 1),
]  # fmt: skip
CNN: Net = [conv(3, 64, 5, 28), conv(64, 64, 5, 10), ((384, 1600), 1), ((192, 384), 1), ((10, 192), 1)]


def shapes_of(net: Net) -> dict[str, tuple[int, ...]]:
    return {str(number): shape for number, (shape, _) in enumerate(net)}


def flops(net: Net, density: dict[str, float]) -> float:
    return sum(2 * density[str(n)] * math.prod(shape) * places for n, (shape, places) in enumerate(net))


@pytest.mark.parametrize(
    ("net", "weights", "dense_mflops", "ratios"),
    [
        (resnet18(), 11_164_352, 1110.8, {0.5: 0.796, 0.2: 0.508, 0.1: 0.248, 0.05: 0.125}),
        (VGG11, 9_222_848, 305.5, {0.5: 0.703, 0.2: 0.365, 0.1: 0.188, 0.05: 0.099}),
        (CNN, 797_248, 29.4, {0.5: 0.422, 0.2: 0.297, 0.1: 0.147, 0.05: 0.072}),
    ],
    ids=["resnet18", "vgg11", "cnn"],
)
def test_erk_gives_the_flop_ratios_of_the_table(
    net: Net, weights: int, dense_mflops: float, ratios: dict[float, float]
) -> None:
    """The table of weights, dense forward FLOPs (2 per multiply-accumulate) and their ERK shares."""
    shapes = shapes_of(net)
    dense = flops(net, uniform(shapes, 1.0))
    assert sum(math.prod(shape) for shape in shapes.values()) == weights
    assert dense / 1e6 == pytest.approx(dense_mflops, abs=0.05)
    for density, ratio in ratios.items():
        assert flops(net, erk(shapes, density)) / dense == pytest.approx(ratio, abs=6e-4)


def test_erk_layer_densities_at_one_half() -> None:
    """ResNet18: dense but for layer3's 256×256 (.720), layer4.0.conv1 (.538) and layer4's 512×512 (.358)."""
    by_shape = {shape: d for (shape, _), d in zip(resnet18(), erk(shapes_of(resnet18()), 0.5).values(), strict=True)}
    thin: dict[tuple[int, ...], float] = {
        (256, 256, 3, 3): 0.720,
        (512, 256, 3, 3): 0.538,
        (512, 512, 3, 3): 0.358,
    }
    for shape, density in by_shape.items():
        assert density == pytest.approx(thin.get(shape, 1.0), abs=6e-4), shape
    vgg = [1, 1, 1, 0.849, 0.634, 0.422, 0.422, 0.422, 1]
    assert list(erk(shapes_of(VGG11), 0.5).values()) == pytest.approx(vgg, abs=6e-4)
    assert list(erk(shapes_of(CNN), 0.5).values()) == pytest.approx([1, 0.202, 0.484, 1, 1], abs=6e-4)


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=4), min_size=1, max_size=6),
    st.floats(0.01, 1.0),
)
def test_erk_spends_exactly_the_budget(dims: list[list[int]], density: float) -> None:
    shapes = {str(n): tuple(d) for n, d in enumerate(dims)}
    size = {name: math.prod(shape) for name, shape in shapes.items()}
    found = erk(shapes, density)
    assert all(0 < value <= 1 for value in found.values())
    assert sum(found[name] * size[name] for name in shapes) == pytest.approx(density * sum(size.values()))


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, math.nan])
def test_a_density_out_of_range_is_refused(density: float) -> None:
    for spread in (erk, uniform):
        with pytest.raises(ValueError, match="must lie above 0 and at most at 1"):
            spread({"w": (2, 2)}, density)


def test_tensors_whose_sparsities_have_no_score_stay_whole() -> None:
    """1 − Σ dims / Π dims of 2×2 is 0: there is nothing to scale, so density 1 is all that they can have."""
    assert erk_sparsities({"w": (2, 2), "v": (1, 5)}, 1.0) == {"w": 1.0, "v": 1.0}
    with pytest.raises(ValueError, match=r"density 0.5 leaves these tensors no weights; take a larger one"):
        erk_sparsities({"w": (2, 2)}, 0.5)
    with pytest.raises(ValueError, match=r"density 1.5: it must lie above 0"):
        erk_sparsities({"w": (9, 9)}, 1.5)


def test_only_matrices_are_maskable() -> None:
    assert maskable({"w": (3, 4), "b": (3,), "k": (2, 1, 5, 5)}) == {"w": (3, 4), "k": (2, 1, 5, 5)}


def test_a_random_mask_has_int_density_times_size_ones_and_follows_its_stream() -> None:
    """int(0.35 · 30) = 10 and int(1.0 · 7) = 7; another stream, other places."""
    shapes, densities = {"a": (5, 6), "b": (1, 7)}, {"a": 0.35, "b": 1.0}
    first, again, other = (random_mask(shapes, densities, np.random.default_rng(s)) for s in (3, 3, 4))
    assert {name: (tuple(m.shape), int(m.sum())) for name, m in first.items()} == {
        "a": ((5, 6), 10),
        "b": ((1, 7), 7),
    }
    assert torch.equal(first["a"], again["a"])
    assert not torch.equal(first["a"], other["a"])


def test_prune_and_regrow_by_hand() -> None:
    """Active at 0, 2, 3, 5 with |w| 4, 1, 3, 2; ⌈0.3 · 4⌉ = 2 go: places 2 and 5. Then the 2 largest scores
    among what is off (1, 2, 4, 5: 0, 8, 7, 9) come: 5, which had just gone, and 2."""
    mask = torch.tensor([[[1, 0, 1], [1, 0, 1]]], dtype=torch.bool)
    weight = torch.tensor([[[4.0, 0.0, -1.0], [3.0, 0.0, 2.0]]])
    score = torch.tensor([[[99.0, 0.0, -8.0], [99.0, 7.0, 9.0]]])
    assert torch.equal(prune_and_regrow(mask, weight, score, 0.3), mask)
    score[0, 0, 2] = 6.0  # now place 4 (7) beats place 2
    wanted = torch.tensor([[[1, 0, 0], [1, 1, 1]]], dtype=torch.bool)
    assert torch.equal(prune_and_regrow(mask, weight, score, 0.3), wanted)


def plainly(mask: list[bool], weight: list[float], score: list[float], rate: float) -> list[bool]:
    """One client, with Python's stable sort."""
    count = math.ceil(rate * sum(mask) - 1e-6)
    active = sorted((i for i, on in enumerate(mask) if on), key=lambda i: abs(weight[i]))
    result = [on and i not in active[:count] for i, on in enumerate(mask)]
    off = sorted((i for i, on in enumerate(result) if not on), key=lambda i: -abs(score[i]))
    return [on or i in off[:count] for i, on in enumerate(result)]


@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_prune_and_regrow_equals_the_plain_version_also_under_ties(data: st.DataObject, clients: int, n: int) -> None:
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -1e-42, math.inf])  # few values: many ties
    table = [
        data.draw(st.lists(st.lists(kind, min_size=n, max_size=n), min_size=clients, max_size=clients))
        for kind in (st.booleans(), few, few)
    ]
    rate = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=clients, max_size=clients))
    got = prune_and_regrow(torch.tensor(table[0]), torch.tensor(table[1]), torch.tensor(table[2]), torch.tensor(rate))
    assert got.tolist() == [plainly(*row) for row in zip(*table, rate, strict=True)]


def test_rows_beyond_one_block_are_all_treated() -> None:
    """Five clients of 100,000 weights exceed a block of 2¹⁸; every one keeps its own count."""
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(5, 100_000, dtype=torch.bool)
    mask[:, :1000] = True
    weight, score = torch.randn(5, 100_000, generator=rng), torch.randn(5, 100_000, generator=rng)
    moved = prune_and_regrow(mask, weight, score, 0.5)
    assert moved.sum(1).tolist() == [1000] * 5
    assert torch.equal(moved[4:], prune_and_regrow(mask[4:], weight[4:], score[4:], 0.5))
    assert (moved & ~mask).sum(1).min() > 400  # 500 come, of which few are among the 500 that went


def test_a_rate_in_float32_counts_like_its_decimal() -> None:
    """float32(0.2) is a little above 0.2; of 10 weights 2 are replaced, not 3."""
    mask = torch.tensor([[True] * 10 + [False] * 10])
    score = torch.arange(20.0).reshape(1, 20)
    moved = prune_and_regrow(mask, torch.ones(1, 20), score, torch.tensor([0.2]))
    assert int((moved & ~mask).sum()) == 2


def test_counts_hold_even_when_training_has_diverged() -> None:
    """What is not a number counts as largest: its weight stays, its gradient wins."""
    mask = torch.tensor([[True, True, False, False]])
    weight = torch.tensor([[math.nan, 1e38, 0.0, 0.0]])
    moved = prune_and_regrow(mask, weight, torch.tensor([[0.0, 1.0, 2.0, math.nan]]), 0.5)
    assert moved.tolist() == [[True, False, False, True]]


def test_what_does_not_fit_is_refused() -> None:
    mask, weight = torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 4)
    with pytest.raises(ValueError, match=r"prune rate 1.5: it must lie between 0 and 1"):
        prune_and_regrow(mask, weight, weight, 1.5)
    with pytest.raises(ValueError, match="bool, float32, float32 of one shape are wanted"):
        prune_and_regrow(mask, weight, torch.ones(1, 5), 0.5)
    with pytest.raises(ValueError, match="bool, float32, float32 of one shape are wanted"):
        prune_and_regrow(mask, weight.double(), weight, 0.5)


@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_largest_prune_and_grow_equal_plain_sorting_also_under_ties(data: st.DataObject, rows: int, n: int) -> None:
    few = st.sampled_from([0.0, 1.0, -1.0, 2.5, -1e-42, math.inf])
    weight = data.draw(st.lists(st.lists(few, min_size=n, max_size=n), min_size=rows, max_size=rows))
    on = data.draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=rows, max_size=rows))
    counts = data.draw(st.lists(st.integers(0, n), min_size=rows, max_size=rows))
    mask, values, wanted = torch.tensor(on), torch.tensor(weight), torch.tensor(counts)
    for row in range(rows):
        size = sorted(range(n), key=lambda i: -abs(weight[row][i]))
        small = [i for i in sorted(range(n), key=lambda i: abs(weight[row][i])) if on[row][i]][: counts[row]]
        comes = [i for i in size if not on[row][i]][: counts[row]]
        assert torch.nonzero(largest(values, wanted)[row]).flatten().tolist() == sorted(size[: counts[row]])
        left = [i for i in range(n) if on[row][i] and i not in small]
        assert torch.nonzero(prune(mask, values, wanted)[row]).flatten().tolist() == left
        grown = sorted([i for i in range(n) if on[row][i]] + comes)
        assert torch.nonzero(grow(mask, values, wanted)[row]).flatten().tolist() == grown


@given(st.integers(1, 60), st.floats(0, 0.99))
def test_so_many_numbers_lie_below_their_percentile(n: int, share: float) -> None:
    found = below_percentile(torch.tensor([[float(n)]]), torch.tensor([share]).double())
    values = np.arange(n) ** 1.5
    below = int((values < np.percentile(values, 100 * share)).sum())
    assert abs(int(found) - below) <= (abs(share * (n - 1) - round(share * (n - 1))) < 1e-6)


def test_a_bernoulli_mask_has_about_its_density_and_follows_its_stream() -> None:
    first, again = (bernoulli_mask({"w": (100, 100)}, {"w": 0.3}, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(first["w"], again["w"])
    assert float(first["w"].float().mean()) == pytest.approx(0.3, abs=0.02)
