"""Server rules with worked numbers: what becomes of one or two updates of a one-number model."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from toys import arrivals, context

from edgesim.algorithms.aggregators import Bucketing, CenteredClipping, Krum, Median
from edgesim.algorithms.async_rules import CacheAided, FedAsync, Port, Refl
from edgesim.algorithms.contract import Algorithm, Arrivals, Context
from edgesim.algorithms.optimizers import Adagrad, Adam, Fadas, Optimizer, Sgd, Yogi
from edgesim.algorithms.rules import Average, ServerRule
from edgesim.errors import ScenarioError
from edgesim.learning.task import make_task
from edgesim.learning.tree import State
from edgesim.streams import generator


def start(value: float) -> State:
    return {"params": {"w": torch.tensor([value])}}


def updates(*values: float, discount: list[float] | None = None, staleness: list[int] | None = None) -> Arrivals:
    return arrivals({"params": {"w": [[value] for value in values]}}, discount=discount, staleness=staleness)


def step(rule: ServerRule, server: State, arrived: Arrivals, where: Context | None = None) -> State:
    return Algorithm().aggregate(replace(where or context(), rule=rule), server, arrived)


def value(server: State) -> float:
    return server["params"]["w"].item()


# ── optimisers ──────────────────────────────────────────────────────────────────────────────────────────
def test_server_momentum_remembers_the_last_step() -> None:
    """β = 0.5, η = 1: m = 1, then 0.5·1 + 1 = 1.5; w = 1, 2.5."""
    rule = Average(optimizer=Sgd(momentum=0.5))
    first = step(rule, start(0.0), updates(1.0))
    assert value(first) == 1.0
    assert value(step(rule, first, updates(1.0))) == 2.5


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        # Δ = 2, m = 0.1·2 = 0.2, v₀ = τ² = 0.01, τ = 0.1, η = 1
        (Adam(lr=1.0, tau=0.1), 0.2 / ((0.99 * 0.01 + 0.01 * 4) ** 0.5 + 0.1)),
        (Yogi(lr=1.0, tau=0.1), 0.2 / ((0.01 + 0.01 * 4) ** 0.5 + 0.1)),  # v − (1 − β₂)·4·sign(0.01 − 4)
        (Adagrad(lr=1.0, tau=0.1), 2.0 / ((0.01 + 4) ** 0.5 + 0.1)),  # β₁ = 0: m = Δ
    ],
)
def test_adaptive_optimisers_take_the_step_of_fedopt(optimizer: Optimizer, expected: float) -> None:
    assert value(step(Average(optimizer=optimizer), start(0.0), updates(2.0))) == pytest.approx(expected)


def test_fadas_shortens_its_step_only_after_long_delays() -> None:
    """Δ = 2: m = 0.2, v̂ = v = 0.04; whole step 0.1·0.2/(0.2 + ε) up to τ_c, a fourth of it at τ_max = 4."""
    rule = Average(optimizer=Fadas(delay=2, epsilon=1e-8))
    fresh = value(step(rule, start(0.0), updates(2.0, 2.0, staleness=[0, 2])))
    late = value(step(rule, start(0.0), updates(2.0, 2.0, staleness=[0, 4])))
    assert fresh == pytest.approx(0.1)
    assert late == pytest.approx(0.1 / 4)


# ── asynchronous rules ──────────────────────────────────────────────────────────────────────────────────
def test_fedasync_mixes_whole_models() -> None:
    """Sent 1, trained to 3; the server is at 5 by now: 0.5·5 + 0.5·3 = 4. An update's Δ = 2 alone would give 6."""
    arrived = replace(updates(2.0), payloads=({"params": {"w": torch.tensor([1.0])}},))
    assert value(step(FedAsync(mixing=0.5), start(5.0), arrived)) == 4.0


def test_fedasync_discounts_each_arrival_anew() -> None:
    """α = 0.5 · 0.5: 0.75·5 + 0.25·3 = 4.5, and the next fresh one is mixed with the whole α again."""
    rule = FedAsync(mixing=0.5)
    arrived = replace(updates(2.0, discount=[0.5]), payloads=({"params": {"w": torch.tensor([1.0])}},))
    later = step(rule, start(5.0), arrived)
    assert value(later) == 4.5
    arrived = replace(updates(2.0), payloads=({"params": {"w": torch.tensor([1.0])}},))
    assert value(step(rule, later, arrived)) == pytest.approx(0.5 * 4.5 + 0.5 * 3)


def test_ca2fl_calibrates_by_what_it_has_cached() -> None:
    """N = 4 clients, a buffer of two. First: h = 0, w = (2 + 4)/2 = 3, then h = (2 + 4)/4 = 1.5.
    Again 2 and 6 from the same: w = 3 + 1.5 + ((2 − 2) + (6 − 4))/2 = 5.5; without the cache it would be 7."""
    rule = CacheAided()
    first = step(rule, start(0.0), replace(updates(2.0, 4.0), population=4))
    assert value(first) == 3.0
    assert value(step(rule, first, replace(updates(2.0, 6.0), population=4))) == 5.5


def test_ca2fl_discounts_what_changed_and_steps_by_its_rate() -> None:
    """η = 0.5, N = 4: first (2 + 0.5 · 4)/2 = 2, so w = 10 + 1, and h = (2 + 4)/4; then 1.5 + (0 + 2)/2 = 2.5."""
    rule = CacheAided(lr=0.5)
    first = step(rule, start(10.0), replace(updates(2.0, 4.0, discount=[1.0, 0.5]), population=4))
    assert value(first) == 11.0
    for _ in range(2):  # a server's state is a value
        assert value(step(rule, first, replace(updates(2.0, 6.0), population=4))) == 12.25


def test_port_favours_updates_along_the_last_step() -> None:
    """After a step to the right: of 1 and −1 the first has (1 + 1)/2 = 1, the second 0, and both freshness 1:
    weights 2/3 and 1/3, so the step is 1/3."""
    rule = Port()
    moved = step(rule, start(0.0), updates(1.0))
    assert value(moved) == 1.0
    assert value(step(rule, moved, updates(1.0, -1.0))) == pytest.approx(1 + 1 / 3)


def test_port_counts_stale_updates_less() -> None:
    """No last step: directions count 1/2 each. β = 10: freshness 1 and 1/2, scores 1.5 and 1 of 2.5."""
    moved = step(Port(beta=10.0), start(0.0), updates(1.0, 0.0, staleness=[0, 10]))
    assert value(moved) == pytest.approx(0.6)


def test_port_weighs_by_samples_and_both_of_its_terms() -> None:
    """p = 1/4 and 3/4. First no direction: a/2 + b = 2 for both, so the step is their mean, (3, 0). Along it (3, 3)
    has a cosine of 1/√2 and (0, −4) one of 0: scores p (2 (cos + 1)/2 + 1)."""
    rule, zero = Port(similarity=2.0, freshness=1.0), {"w": torch.zeros(2)}
    first = arrivals({"params": {"w": [[3.0, 0.0], [3.0, 0.0]]}}, samples=[1, 3])
    moved, memory = rule.step(zero, {}, first, first.shares, first.update["params"], None)
    assert moved["w"].tolist() == pytest.approx([3.0, 0.0])
    then = arrivals({"params": {"w": [[3.0, 3.0], [0.0, -4.0]]}}, samples=[1, 3])
    moved, _ = rule.step(zero, memory, then, then.shares, then.update["params"], None)
    scores = [0.25 * (0.5**0.5 + 1 + 1), 0.75 * (0 + 1 + 1)]
    along, across = 3 * scores[0] / sum(scores), (3 * scores[0] - 4 * scores[1]) / sum(scores)
    assert moved["w"].tolist() == pytest.approx([along, across])


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_refl_weighs_stale_updates_by_what_they_add(scale: float) -> None:
    """p = 1/8, 1/8, 1/4, 1/2, the last two stale. ū = (1, 1), far from either fresh one. With (3, 1) it is (2, 1), with
    (1, 4) it is (1, 3), since that has twice the fresh ones' weight: Λ = 1/2 and 4/2, of which the largest is 2."""
    sent = [[10.0, 1.0], [-8.0, 1.0], [3.0, 1.0], [1.0, 4.0]]
    arrived = arrivals({"params": {"w": sent}}, samples=[1, 1, 2, 4], staleness=[0, 0, 1, 3])
    zero = {"w": torch.zeros(2)}
    moved, _ = Refl(scale=scale).step(zero, {}, arrived, arrived.shares, arrived.update["params"], None)
    near, far = (0.65 / (tau + 1) + 0.35 * (1 - math.exp(-part) / scale) for tau, part in [(1, 1 / 4), (3, 1.0)])
    weights = np.array([1, 1, 2 * near, 4 * far])
    assert moved["w"].tolist() == pytest.approx(weights @ np.array(sent) / weights.sum())


def test_where_fresh_updates_come_to_nothing_refl_goes_by_staleness() -> None:
    """Fresh 0, stale 4: weights 1 and 0.65/2."""
    moved = step(Refl(), start(0.0), updates(0.0, 4.0, staleness=[0, 1]))
    assert value(moved) == pytest.approx(4 * 0.325 / 1.325)


@pytest.mark.parametrize("rule", [Port(), Refl()])
def test_weights_are_normalised_over_the_holders_of_each_value(rule: ServerRule) -> None:
    """A fresh update and a stale one, both of 1; each alone holds one of three values. A mean of ones is 1."""
    held = {"w": torch.tensor([[True, True, False], [True, False, True]])}
    arrived = arrivals({"params": {"w": held["w"].float().tolist()}}, staleness=[0, 10])
    moved, _ = rule.step({"w": torch.zeros(3)}, {}, arrived, arrived.equal, arrived.update["params"], held)
    assert moved["w"].tolist() == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("rule", [Port(similarity=0.0, freshness=0.0), Refl(beta=1.0)])
def test_where_no_update_has_any_weight_all_have_that_of_their_samples(rule: ServerRule) -> None:
    assert value(step(rule, start(0.0), updates(1.0, 3.0, staleness=[2, 3]))) == 2.0


@pytest.mark.parametrize("rule", [Average(), FedAsync(), CacheAided(), Port()])
def test_of_stale_statistics_the_models_are_averaged(rule: ServerRule) -> None:
    """Two clients were sent a variance of 1 and saw 0.3; the first has arrived, so the server is at 0.3 already. There
    it stays, whatever the rule; another step of −0.7 would make it −0.4, of which there is no root."""
    world = make_task(dataset="digits", clients=4, model="cnn-bn", model_params={"width": 0.05}, seed=0)
    first = world.model.init(0)
    seen = {name: t * 0.3 if name in world.model.statistics else t for name, t in first.items()}
    change = {name: (seen[name] - first[name])[None] for name in first}
    arrived = replace(updates(0.0, staleness=[1]), update={"params": change}, payloads=({"params": first},))
    after = step(rule, {"params": seen}, arrived, context(world))["params"]
    for name in world.model.statistics:
        torch.testing.assert_close(after[name], seen[name])


# ── composition ─────────────────────────────────────────────────────────────────────────────────────────
def test_robust_aggregation_is_followed_by_the_optimiser() -> None:
    rule = Average(aggregator=Median(), optimizer=Sgd(lr=0.5))
    assert value(step(rule, start(1.0), updates(1.0, 3.0, 1000.0))) == 2.5


def test_the_mean_divides_by_all_updates_however_much_they_are_discounted() -> None:
    """As in FedBuff: (2 + 0.25 · 8)/2 = 2; divided by 1 + 0.25 it would be 3.2."""
    assert value(step(Average(), start(0.0), updates(2.0, 8.0, discount=[1.0, 0.25]))) == 2.0


def test_robust_aggregators_see_discounted_updates() -> None:
    """The median of 2, 0.25 · 16 and 100; of whole ones it would be 16."""
    arrived = updates(2.0, 16.0, 100.0, discount=[1.0, 0.25, 1.0])
    assert value(step(Average(aggregator=Median()), start(0.0), arrived)) == 4.0


def test_an_aggregator_remembers_its_last_vector_beside_what_the_optimiser_does() -> None:
    """τ = 1, β = 0.5. From v = 0 the updates 3 and 5 are clipped to 1: v = m = 1. From v = 1 they are 2 and 4 away,
    clipped to 1: v = 2, m = 0.5 · 1 + 2 = 2.5; then v = 3, m = 0.5 · 2.5 + 3 = 4.25."""
    rule = Average(aggregator=CenteredClipping(radius=1.0, steps=1), optimizer=Sgd(momentum=0.5))
    server, found = start(0.0), []
    for _ in range(3):
        server = step(rule, server, updates(3.0, 5.0))
        found.append(value(server))
    assert found == [1.0, 1.0 + 2.5, 3.5 + 4.25]


@dataclass(frozen=True)
class Lot:
    """In place of the updates, two vectors of random numbers."""

    def prepare(self, vectors: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        return torch.from_numpy(rng.random((2, vectors.shape[1]), dtype=np.float32))

    def left(self, updates: int) -> int:
        return 2


def test_what_is_done_before_is_drawn_anew_in_each_step() -> None:
    """By the seed and the number of the step alone; the mean of what it leaves is taken."""
    rule, server = Average(before=Lot(), seed=3), start(0.0)
    for number in range(3):
        before, server = value(server), step(rule, server, updates(1.0, 1.0, 1.0))
        drawn = generator(3, "server/prepare", number).random((2, 1), dtype=np.float32)
        assert value(server) - before == pytest.approx(drawn.mean(), abs=1e-6)


@pytest.mark.parametrize("rule", [Average(), Average(aggregator=Median()), Port(), Refl()])
def test_values_keep_their_places_in_tensors_of_any_shape(rule: ServerRule) -> None:
    """Three alike updates of a matrix, a vector and a number: each rule takes the step that all of them are."""
    one = {"W": torch.arange(6.0).view(2, 3), "b": torch.tensor([7.0, 8.0]), "scale": torch.tensor(9.0)}
    arrived = arrivals({"params": {name: [tensor.tolist()] * 3 for name, tensor in one.items()}})
    zero = {name: torch.zeros_like(tensor) for name, tensor in one.items()}
    moved, _ = rule.step(zero, {}, arrived, arrived.equal, arrived.update["params"], None)
    for name, tensor in one.items():
        torch.testing.assert_close(moved[name], tensor)


def test_worker_momentum_averages_a_clients_own_updates() -> None:
    """β = 0.75: 0.25·4 = 1, then 0.75·1 + 0.25·4 = 1.75. A server's state is a value: the first keeps its 1."""
    rule = Average(worker_momentum=0.75)
    first = step(rule, start(0.0), updates(4.0))
    assert value(first) == 1.0
    for _ in range(2):
        assert value(step(rule, first, updates(4.0))) == 2.75


def test_a_clients_momentum_counts_where_it_holds_a_value_now() -> None:
    """β = 0.5. Client 0 sends 4 and keeps 2; then its mask leaves the value, and client 1, new, sends 8: its 4 alone is
    the mean over the holders. With client 0's 1 added it would be 5."""
    rule = Average(worker_momentum=0.5)
    both, second = torch.tensor([[True], [True]]), torch.tensor([[False], [True]])
    first = updates(4.0, 0.0)
    _, memory = rule.step(start(0.0)["params"], {}, first, first.equal, first.update["params"], {"w": both})
    then = updates(0.0, 8.0)
    after, _ = rule.step(start(0.0)["params"], memory, then, then.equal, then.update["params"], {"w": second})
    assert after["w"].item() == 4.0


def test_too_few_updates_for_krum_are_refused_with_the_way_out() -> None:
    with pytest.raises(
        ScenarioError, match=r"Krum wants at least 3 updates .* gives 1; write a larger cohort or buffer"
    ):
        Average(aggregator=Krum()).check(1)
    Average(aggregator=Krum()).check(5)


def test_whole_vector_rules_do_not_take_part_vectors() -> None:
    arrived = updates(1.0, 2.0)
    held = {"w": torch.tensor([[True], [False]])}
    with pytest.raises(ScenarioError, match=r"write aggregator: mean"):
        Average(aggregator=Median()).step(
            start(0.0)["params"], {}, arrived, arrived.equal, arrived.update["params"], held
        )
    with pytest.raises(ScenarioError, match=r"server.before: Bucketing takes whole vectors, .* leave it out"):
        Average(before=Bucketing()).step(
            start(0.0)["params"], {}, arrived, arrived.equal, arrived.update["params"], held
        )
    with pytest.raises(ScenarioError, match=r"server.rule: ca2fl divides by all .* write rule: port"):
        CacheAided().step(start(0.0)["params"], {}, arrived, arrived.equal, arrived.update["params"], held)
