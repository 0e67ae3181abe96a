"""Aggregators on a handful of vectors, redone by hand, and what is done to vectors before."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesim.algorithms.aggregators import (
    AGGREGATORS,
    Aggregator,
    Bucketing,
    CenteredClipping,
    GeometricMedian,
    Krum,
    Mean,
    Median,
    NearestNeighbours,
    TrimmedMean,
    hostile,
)
from edgesim.algorithms.rules import Average
from edgesim.errors import ScenarioError

ZERO = torch.zeros(1)
FIVE = torch.tensor([[0.0], [1.0], [2.0], [4.0], [100.0]])


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    assert Median().combine(FIVE, ZERO, 5).item() == 2.0
    assert Median().combine(FIVE[:4], ZERO, 4).item() == 1.5


def test_the_trimmed_mean_drops_both_ends() -> None:
    """f = ⌊0.2 · 5⌋ = 1: (1 + 2 + 4) / 3."""
    assert TrimmedMean(byzantine=0.2).combine(FIVE, ZERO, 5).item() == pytest.approx(7 / 3)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=9))
def test_trimming_nothing_is_the_mean(values: list[float]) -> None:
    vectors = torch.tensor(values)[:, None]
    assert (
        TrimmedMean(byzantine=0.0)
        .combine(vectors, ZERO, len(vectors))
        .equal(Mean().combine(vectors, ZERO, len(vectors)))
    )


def test_where_fewer_come_than_were_asked_for_the_trimmed_mean_leaves_the_middle() -> None:
    """f = 2 of five updates, in four or three buckets: one can be cut at either end."""
    rule = TrimmedMean(byzantine=0.4)
    assert rule.combine(FIVE[:4], ZERO, 5).item() == 1.5  # of 0, 1, 2 and 4
    assert rule.combine(FIVE[2:], ZERO, 5).item() == 4.0  # of 2, 4 and 100


def test_krum_on_five_points() -> None:
    """n − f − 2 = 2 nearest others. Squared distances of 0: 1 + 4; of 1: 1 + 1; of 2: 1 + 4; of 4: 4 + 9; so 1 wins.
    (With fourth powers, or with the point itself among its neighbours, 0, 1 and 2 would score 17, 2, 17 or 1, 1, 1.)"""
    assert Krum(byzantine=0.2).combine(FIVE, ZERO, 5).item() == 1.0


def test_multi_krum_averages_the_best() -> None:
    """The three best of the five points above are 1, then 0 and 2."""
    assert Krum(byzantine=0.2, best=3).combine(FIVE, ZERO, 5).item() == pytest.approx(1.0)
    assert Krum(byzantine=0.2, best=2).combine(FIVE, ZERO, 5).item() == pytest.approx(0.5)


def test_krum_counts_as_many_neighbours_as_there_are_surely_honest_ones() -> None:
    """Of 0, 3, 4 and 6, f = 0: the 2 nearest of each are 9 + 16, 1 + 9, 1 + 4 and 4 + 9 away, so 4 wins; by its nearest
    alone 3 would, before 4. f = 1 of four leaves the nearest alone: 9, 1, 1 and 4."""
    vectors = torch.tensor([[0.0], [3.0], [4.0], [6.0]])
    assert Krum(byzantine=0.0).combine(vectors, ZERO, 4).item() == 4.0
    assert Krum(byzantine=0.25).combine(vectors, ZERO, 4).item() == 3.0
    assert Krum(byzantine=0.45).combine(vectors[:3], ZERO, 3).item() == 3.0  # one neighbour at least: 9, 1 and 1


@pytest.mark.parametrize(
    ("rule", "updates", "told"),
    [
        (Average(), 20_000, None),
        (Average(aggregator=Krum(byzantine=0.2)), 3, None),  # f = 0
        (Average(aggregator=Krum(byzantine=0.4)), 7, None),  # f = 2
        (
            Average(aggregator=Krum(byzantine=0.4)),
            4,
            "wants at least 7 updates in an aggregation and .* gives 4; write",
        ),
        (Average(aggregator=TrimmedMean(), before=Bucketing()), 10, None),  # 5 buckets, f = 2
        (Average(aggregator=Krum(), before=Bucketing()), 10, r"wants at least 13 .* makes into 5 that as many"),
        (Average(aggregator=Krum(byzantine=0.4), before=Bucketing()), 10, "wants smaller buckets and"),
        (Average(aggregator=Krum(), before=Bucketing()), 3, "wants at least 9 updates .* makes into 2 that"),
    ],
)
def test_krum_and_trimming_ask_for_enough_vectors(rule: Average, updates: int, told: str | None) -> None:
    """Krum: m ≥ 2f + 3 vectors; the trimmed mean: m ≥ 2f + 1; f of the updates, however few buckets they fill."""
    with pytest.raises(ScenarioError, match=told) if told else nullcontext():
        rule.check(updates)


def test_as_many_buckets_may_be_spoiled_as_updates_are_hostile() -> None:
    """Four of 20 lie and spoil at most four of ten buckets: trimming two would let two of them count."""
    rng = np.random.default_rng(0)
    updates = torch.tensor(np.concatenate([rng.normal(size=(16, 1)), np.full((4, 1), -1000.0)]), dtype=torch.float32)
    for number in range(20):
        buckets = Bucketing(size=2).prepare(updates, np.random.default_rng(number))
        assert TrimmedMean(byzantine=0.2).combine(buckets, ZERO, 20).abs() < 2
        assert TrimmedMean(byzantine=0.2).combine(buckets[:3], ZERO, 20).isfinite()


def test_the_geometric_median_resists_one_far_point() -> None:
    """Of three points on a line it is the middle one; eight smoothed steps come within the smoothing."""
    vectors = torch.tensor([[1.0, 0.0], [1.1, 0.0], [50.0, 0.0]])
    middle = GeometricMedian(steps=50).combine(vectors, torch.zeros(2), len(vectors))
    assert middle.tolist() == pytest.approx([1.1, 0.0], abs=0.1)
    assert vectors.mean(0)[0] > 17


def test_two_steps_of_the_geometric_median() -> None:
    """From 0, (3, 0) and (0, 1) are 3 and 1 away: weights 1/4 and 3/4, so z = (0.75, 0.75). From there they are
    √(2.25² + 0.75²) and √(0.75² + 0.25²) away, again three times as far. With ν = 2 the second counts 1/2 at first:
    weights 2/5 and 3/5."""
    vectors = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    for steps, smoothing, wanted in [(1, 0.1, [0.75, 0.75]), (2, 0.1, [0.75, 0.75]), (1, 2.0, [1.2, 0.6])]:
        rule = GeometricMedian(steps=steps, smoothing=smoothing)
        assert rule.combine(vectors, torch.ones(2), 2).tolist() == pytest.approx(wanted)


def test_centred_clipping_starts_where_the_last_step_ended() -> None:
    """One step with τ = 1 from v = 1: the points 2 and 21 are 1 and 20 away, both clipped to 1: v = 1 + (1 + 1)/2."""
    vectors = torch.tensor([[2.0], [21.0]])
    assert CenteredClipping(radius=1.0, steps=1).combine(vectors, torch.ones(1), len(vectors)).item() == 2.0
    assert CenteredClipping(radius=1.0, steps=1).combine(vectors, ZERO, len(vectors)).item() == 1.0


def test_centred_clipping_leaves_what_is_near_and_starts_each_step_from_the_last() -> None:
    """τ = 4 from v = 1: the points 2 and 21 are 1 and 20 away, and only the second is clipped: v = 1 + (1 + 4)/2 = 3.5.
    Then they are −1.5 and 17.5 away: v = 3.5 + (−1.5 + 4)/2. A point that v lies on does not move it."""
    vectors = torch.tensor([[2.0], [21.0]])
    assert CenteredClipping(radius=4.0, steps=1).combine(vectors, torch.ones(1), 2).item() == pytest.approx(3.5)
    assert CenteredClipping(radius=4.0, steps=2).combine(vectors, torch.ones(1), 2).item() == pytest.approx(4.75)
    assert CenteredClipping().combine(torch.ones(2, 1), torch.ones(1), 2).item() == 1.0


def test_buckets_are_means_of_disjoint_random_groups() -> None:
    vectors = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    buckets = Bucketing(size=2).prepare(vectors, np.random.default_rng(0))
    assert len(buckets) == 3
    sizes = torch.tensor([2.0, 2.0, 1.0])
    assert (buckets[:, 0] * sizes).sum() == 31
    other = Bucketing(size=2).prepare(vectors, np.random.default_rng(1))
    assert not torch.equal(buckets, other)


def test_each_vector_becomes_the_mean_of_its_nearest() -> None:
    """n − f = 4 nearest of five, itself included: all but the far one for the near ones."""
    mixed = NearestNeighbours(byzantine=0.2).prepare(FIVE, np.random.default_rng(0))
    assert mixed[:, 0].tolist() == pytest.approx([1.75, 1.75, 1.75, 1.75, (100 + 4 + 2 + 1) / 4])


@pytest.mark.parametrize("name", sorted(set(AGGREGATORS) - {"mean"}))
def test_robust_rules_stay_near_the_honest_when_a_fifth_lies(name: str) -> None:
    """Eight honest vectors around 1 and two at −100: the mean goes to −19, the others stay close to 1."""
    rng = np.random.default_rng(0)
    honest = 1 + 0.1 * rng.normal(size=(8, 20))
    vectors = torch.tensor(np.concatenate([honest, np.full((2, 20), -100.0)]), dtype=torch.float32)
    kind: dict[str, Aggregator] = {
        "centered-clipping": CenteredClipping(radius=1.0),
        "trimmed-mean": TrimmedMean(byzantine=0.2),
    }
    combined = kind.get(name, AGGREGATORS[name]()).combine(vectors, torch.ones(20), len(vectors))
    assert (combined - 1).abs().max() < 0.5
    assert (vectors.mean(0) - 1).abs().max() > 15


def test_shares_of_a_count_are_what_one_expects() -> None:
    assert [hostile(0.2, n) for n in (4, 5, 9, 10)] == [0, 1, 1, 2]
    assert hostile(0.1, 10) == hostile(0.3, 3) + 1 == 1
    assert hostile(0.29, 100) == 29  # and not ⌊28.999999999999996⌋


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        *((rule, 1) for rule in (Mean(), Median(), GeometricMedian(), CenteredClipping(), TrimmedMean(byzantine=0.0))),
        (TrimmedMean(byzantine=0.2), 5),  # f = ⌊0.2 · 10⌋ = 2, 2f + 1
        (Krum(byzantine=0.2), 7),  # 2f + 3
    ],
)
def test_how_few_vectors_of_ten_updates_a_rule_takes(rule: Aggregator, least: int) -> None:
    assert rule.least(10) == least
