"""Server rules with worked numbers: what becomes of one or two updates of a one-number model."""

from dataclasses import replace

import pytest
import torch
from toys import arrivals, context

from edgesim.algorithms.aggregators import Krum, Median
from edgesim.algorithms.async_rules import CacheAided, FedAsync, Port, Refl
from edgesim.algorithms.contract import Algorithm, Arrivals, Context
from edgesim.algorithms.optimizers import Adagrad, Adam, Fadas, Optimizer, Sgd, Yogi
from edgesim.algorithms.rules import Average, ServerRule
from edgesim.errors import ScenarioError
from edgesim.learning.task import make_task
from edgesim.learning.tree import State


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


def test_worker_momentum_averages_a_clients_own_updates() -> None:
    """β = 0.5: 0.5·4 = 2, then 0.5·2 + 0.5·4 = 3."""
    rule = Average(worker_momentum=0.5)
    first = step(rule, start(0.0), updates(4.0))
    assert value(first) == 2.0
    assert value(step(rule, first, updates(4.0))) == 5.0


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
    with pytest.raises(ScenarioError, match=r"server.rule: ca2fl divides by all .* write rule: port"):
        CacheAided().step(start(0.0)["params"], {}, arrived, arrived.equal, arrived.update["params"], held)
