"""Statistics by hand-made numbers and laws."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import metric, write_run

from edgesim.errors import ScenarioError
from edgesim.results.costs import COSTS, find_cost
from edgesim.results.frontier import hypervolume, non_dominated
from edgesim.results.statistics import Band, band, first_reaching, interval, to_target
from edgesim.results.trajectory import trajectory


def test_to_target_is_the_first_raw_crossing(tmp_path: Path) -> None:
    """0.5, 0.81, 0.7, 0.9: 0.8 is first reached at the second evaluation, though it was lost again."""
    accuracy = (0.5, 0.81, 0.7, 0.9)
    rows = [metric(time_s=60.0 * i, accuracy=a, bytes_down=10 * i, bytes_up=i) for i, a in enumerate(accuracy, 1)]
    run = write_run(tmp_path, rows)
    assert to_target(run, 0.8, "time") == 120.0
    assert to_target(run, 0.81, "bytes") == 22.0  # down and up together; equal counts as reached
    assert to_target(run, 0.95, "time") is None


def test_a_diverged_run_never_reaches() -> None:
    metrics = {"accuracy": np.array([math.nan]), "time_s": np.array([1.0])}
    assert first_reaching(metrics, 0.1, "time") is None


def test_an_unknown_cost_names_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="unknown cost 'enrgy'; did you mean energy"):
        find_cost("enrgy")


def test_what_all_is_worth_at_prices() -> None:
    """Two hours, 1.8 MJ (half a kWh), 3 GB down and 0.5 GB up: of everything, of one way, and of the same twice."""
    metrics = {
        "time_s": np.array([0.0, 7200.0]), "energy_j": np.array([0.0, 1.8e6]),
        "bytes_down": np.array([0, 3_000_000_000]), "bytes_up": np.array([0, 500_000_000]),
    }  # fmt: skip
    for text, amount in (
        ("0.30 EUR/kWh", 0.15), ("2/GB", 7.0), ("0.3/kWh + 2/GB + 0.5/h", 0.15 + 7 + 1), ("1 €/GB down+4 €/GB up", 5.0),
        ("4/GB up", 2.0), ("1/MB + 1/GB up", 3500.5), ("1/GiB", 3.5e9 / 2**30),
    ):  # fmt: skip
        assert find_cost(text).of(metrics) == pytest.approx([0.0, amount])
    assert find_cost("0.3 EUR/kWh + .5 EUR/GB").readable(12.346) == "12.3 EUR"
    assert find_cost("0.3/kWh").readable(1234.5) == "1234"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.3/kW", "'0.3/kW': no price is for kW; it is for mJ, J, kJ, MJ, Wh, kWh; B, kB,"),
        ("2/GB + 0.3/kWh up", "'0.3/kWh up': no price is for kWh up"),
        ("2/GB + kWh", "'kWh' is no price; write e.g. 0.30/kWh + 2/GB"),
        ("-2/GB", "'-2/GB' is no price"),
        ("2 EUR/GB + 0.3 USD/kWh", "the prices are in EUR and USD; write one currency"),
        ("2 EUR/GB + 0.3/kWh", "the prices are in none and EUR; write one currency"),
    ],
)
def test_what_is_no_price_is_refused(text: str, told: str) -> None:
    with pytest.raises(ScenarioError) as error:
        find_cost(text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("cost", "value", "text"),
    [
        ("time", 0.25, "0.25 s"), ("time", 5400.0, "90 min"), ("time", 8712.0, "2.42 h"),
        ("time", 259200.0, "3 d"), ("energy", 1999.0, "1999 J"), ("energy", 318_400.0, "318 kJ"),
        ("bytes", 0.0, "0 B"), ("flops", 3.2e15, "3.2 PFLOP"), ("time", math.inf, "inf"),
    ],
)  # fmt: skip
def test_costs_read_well(cost: str, value: float, text: str) -> None:
    assert COSTS[cost].readable(value) == text


def test_a_band_of_few_seeds_is_their_range() -> None:
    mean, low, high = band([[1.0, 2.0], [3.0, 2.0]])
    assert (mean.tolist(), low.tolist(), high.tolist()) == ([2.0, 2.0], [1.0, 2.0], [3.0, 2.0])
    assert all(side.tolist() == [5.0] for side in band([[5.0]]))
    assert [side.tolist() for side in band([[1.0], [2.0], [3.0], [6.0]])] == [[3.0], [1.0], [6.0]]


def test_an_interval_is_students() -> None:
    """1, 2, 3: deviation 1, so 2 ± 4.303 / √3; 4.303 is the 97.5 % point of t with two degrees of freedom."""
    mean, low, high = interval([[1.0], [2.0], [3.0]])
    assert (mean[0], low[0], high[0]) == (2, pytest.approx(2 - 2.4842, abs=1e-4), pytest.approx(2 + 2.4842, abs=1e-4))


@pytest.mark.parametrize(("around", "seeds"), [(interval, 3), (interval, 4), (band, 5), (band, 20)])
def test_an_interval_holds_the_true_mean_as_often_as_it_says(around: Callable[..., Band], seeds: int) -> None:
    """19 times of 20: 4,000 experiments of normal values side by side; three deviations of such a count are 1 %."""
    _, low, high = around(np.random.default_rng(0).normal(5, 1, (seeds, 4000)))
    assert np.mean((low < 5) & (high > 5)) == pytest.approx(0.95, abs=0.01)


def test_bands_and_intervals_need_seeds() -> None:
    with pytest.raises(ValueError, match=r"got shape \(3,\); \[seed, point\]"):
        band([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least 2 seeds"):
        interval([[1.0]])


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25)


@given(POINTS)
def test_the_frontier_is_what_the_definition_says(points: list[tuple[int, int]]) -> None:
    def beaten(cost: int, accuracy: int) -> bool:
        return any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in points)

    flags = non_dominated([c for c, _ in points], [a for _, a in points])
    assert flags.tolist() == [not beaten(*point) for point in points]


def test_the_hypervolume_is_the_area_under_the_best_so_far() -> None:
    """0.4 from 1 on, 0.8 from 3 on, up to 5: (2 · 0.4 + 2 · 0.8) / 5; beaten, unknown and later points add nothing."""
    cost, accuracy = [3.0, 1.0, 2.0, 4.0, 6.0, math.nan], [0.8, 0.4, 0.3, 0.7, 0.99, 0.99]
    assert hypervolume(cost, accuracy, 5.0) == pytest.approx(0.48)
    assert hypervolume([5.0], [0.9], 5.0) == 0
    with pytest.raises(ValueError, match="a positive cost is wanted"):
        hypervolume(cost, accuracy, 0.0)


@given(POINTS, st.integers(1, 8))
def test_the_hypervolume_is_a_mean_over_budgets(points: list[tuple[int, int]], budget: int) -> None:
    costs, accuracies = [c for c, _ in points], [a for _, a in points]
    best = [max((a for c, a in points if c <= spent), default=0) for spent in range(budget)]
    assert hypervolume(costs, accuracies, budget) == pytest.approx(np.mean(best))


def test_unknown_points_are_not_on_the_frontier() -> None:
    assert non_dominated([1.0, math.nan, 2.0], [math.nan, 0.9, 0.5]).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="two arrays"):
        non_dominated([1.0], [1.0, 2.0])


def test_a_single_seeds_trajectory_is_its_evaluations(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(time_s=t, accuracy=a) for t, a in ((0, 0.1), (5, 0.6), (9, 0.5))])
    path = trajectory([run], "time")
    assert path.cost.tolist() == [0, 5, 9]
    assert path.accuracy.mean.tolist() == [0.1, 0.6, 0.5]
    assert (path.end_cost.mean.tolist(), path.end_accuracy.mean.tolist()) == ([9], [0.5])


def test_seeds_are_averaged_at_equal_cost_where_all_have_been(tmp_path: Path) -> None:
    """Energies 0, 10, 20 and 0, 20, 40: mean costs 0, 15, 30, cut at 20, the first seed's end. Accuracy
    is energy/100 in the one and energy/50 in the other, so at 15 J 0.15 and 0.3, on average 0.225."""
    runs = [
        write_run(tmp_path / str(s), [metric(energy_j=e, accuracy=e / per) for e in energies])
        for s, energies, per in ((0, (0, 10, 20), 100), (1, (0, 20, 40), 50))
    ]
    path = trajectory(runs, "energy")
    assert path.cost.tolist() == [0, 15, 20]
    assert path.accuracy.mean.tolist() == pytest.approx([0, 0.225, 0.3])
    assert path.accuracy.low.tolist() == pytest.approx([0, 0.15, 0.2])
    assert path.end_cost.mean.tolist() == [30]
    assert path.end_accuracy.high.tolist() == [0.8]


def test_what_falls_by_orders_of_magnitude_has_geometric_means(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / str(s), [metric(time_s=t, gradient_norm=norm) for t, norm in enumerate(norms)])
        for s, norms in enumerate(((1.0, 1e-2), (1.0, 1e-6)))
    ]
    path = trajectory(runs, "time", "gradient_norm", geometric=True)
    assert path.accuracy.mean.tolist() == pytest.approx([1.0, 1e-4])
    assert path.end_accuracy.mean.tolist() == pytest.approx([1e-4])
    assert (path.accuracy.low[1], path.accuracy.high[1]) == (pytest.approx(1e-6), pytest.approx(1e-2))


def test_seeds_without_a_common_cost_have_ends_but_no_path(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(s), [metric(energy_j=e, accuracy=a)]) for s, e, a in ((0, 5, 0.2), (1, 9, 0.4))]
    path = trajectory(runs, "energy")
    assert path.cost.tolist() == path.accuracy.mean.tolist() == []
    assert (path.end_cost.mean.tolist(), path.end_accuracy.mean.tolist()) == ([7], [pytest.approx(0.3)])
