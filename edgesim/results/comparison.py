"""Variants set against each other: seed by seed, by what they come to for least, and over all budgets."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from edgesim.devices.arrays import FloatArray
from edgesim.errors import ScenarioError
from edgesim.results.analysis.tables import Section
from edgesim.results.costs import COSTS, find_cost
from edgesim.results.frontier import hypervolume
from edgesim.results.statistics import interval, to_target
from edgesim.results.store import Results, Run
from edgesim.results.table import NOBODY, TARGET_COSTS, target_of
from edgesim.spelling import advice

Variants = Mapping[str, Sequence[Run]]
"""Variant → its runs, one a seed."""

NOTES = (
    "Seed by seed: differences of the final accuracies, and ratios of costs (geometric means); where a target is set, "
    "of the costs to it, in pairs that both reach it. In brackets: 95 % intervals by Student's t, from three seeds on.",
    "Cheapest: of the variants all of whose seeds come to that accuracy, by their mean costs.",
    "Within a budget: the best accuracy so far, on average over all budgets up to the most that a run spent (the "
    "hypervolume). In brackets as above.",
)
_SERVED = {"accuracy": "mean", "accuracy_std": "deviation", "accuracy_worst10": "worst 10 %"}
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
_LEVELS = 6
_FEW = 3
"""Seeds from which on there is an interval."""


def sections(
    results: Results, against: str | None = None, target: float | None = None, price: str | None = None
) -> list[Section]:
    """The comparison as tables.

    against: the variant that the others are set against, by default the first. target: in place of the scenarios'.
    price: one more cost, at these prices.

    Raises:
        ScenarioError: there is no such variant, or it is no price.
    """
    variants = results.variants()
    if against is not None and against not in variants:
        raise ScenarioError(f"{results.path}: no variant {against!r}; {advice(against, variants)}")
    base = next(iter(variants)) if against is None else against
    more = () if price is None else (price,)
    to = target_of(variants[base], target)
    paired = [] if len(variants) == 1 else [_paired(variants, base, to, (*TARGET_COSTS, *more))]
    return [*paired, _cheapest(variants, (*COSTS, *more)), _budgets(variants, (*COSTS, *more))]


def by_device(variants: Variants) -> Section:
    """How well each kind of device is served at the end, means over seeds, of finished runs."""

    def rows() -> Iterator[tuple[str, ...]]:
        for variant, runs in variants.items():
            served = [(run.summary or {})["by_device_class"] for run in runs]
            for device in sorted(set().union(*served)):
                here = [each[device] for each in served if device in each]
                count, *figures = (np.mean([part[key] for part in here]) for key in ("clients", *_SERVED))
                yield variant, device, f"{count:,.0f}", *(f"{figure:.3f}" for figure in figures)

    return Section("accuracy by device", ("variant", "device", "clients", *_SERVED.values()), tuple(rows()))


def _paired(variants: Variants, base: str, target: float | None, costs: Sequence[str]) -> Section:
    to = "in all" if target is None else f"to {target:.4g}"
    header = ("variant", "seeds", "accuracy", *(f"{find_cost(cost).name} {to}" for cost in costs))
    others = {name: _pairs(runs, variants[base]) for name, runs in variants.items() if name != base}
    rows = tuple((name, *_effects(pairs, target, costs)) for name, pairs in others.items())
    return Section(f"against {base}, seed by seed", header, rows, names=1)


def _pairs(runs: Sequence[Run], base: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs of equal seed: the same data, clients and fleet, which is why they are compared with each other."""
    by_seed = {run.scenario["seed"]: run for run in base}
    return [(run, by_seed[run.scenario["seed"]]) for run in runs if run.scenario["seed"] in by_seed]


def _effects(pairs: Sequence[tuple[Run, Run]], target: float | None, costs: Sequence[str]) -> Iterator[str]:
    yield str(len(pairs))
    if not pairs:
        yield from ["no seed in common"] * (1 + len(costs))
        return
    own, other = np.array([[run.metrics()["accuracy"][-1] for run in pair] for pair in pairs]).T
    yield _interval(own - other, "{:+.3f}".format)
    for cost in costs:
        yield _ratio([(_spent(mine, cost, target), _spent(base, cost, target)) for mine, base in pairs])


def _spent(run: Run, cost: str, target: float | None) -> float | None:
    """Of a cost, until the target was reached (None: never); without a target in all."""
    return float(find_cost(cost).of(run.metrics())[-1]) if target is None else to_target(run, target, cost)


def _ratio(spent: Sequence[tuple[float | None, float | None]]) -> str:
    """The geometric mean of the ratios; of the pairs in which both reached the target."""
    reached = [sum(pair[side] is not None for pair in spent) for side in (0, 1)]
    if not all(reached):
        return f"reached by {reached[0]}, against {reached[1]}"
    both = [(mine, base) for mine, base in spent if mine and base]
    if not both:
        return NOBODY  # at no cost at all, or never with the same seed
    text = _interval(np.array([np.log(mine / base) for mine, base in both]), lambda log: f"×{np.exp(log):.3g}")
    return text if len(both) == len(spent) else f"{text}, of {len(both)}"


def _interval(values: FloatArray, text: Callable[[float], str]) -> str:
    """The mean [value] and, of enough values, its 95 % interval."""
    if len(values) < _FEW:
        return text(float(values.mean()))
    mean, low, high = (text(float(side[0])) for side in interval(values[:, None]))
    return f"{mean} ({low} to {high})"


def _cheapest(variants: Variants, costs: Sequence[str]) -> Section:
    """For each cost and some accuracies, which variant comes to them for least, and which for second least."""
    levels = _levels(variants)
    rows = [
        (find_cost(cost).name, f"{level:.4g}", *(_ranked(variants, level, cost) + [NOBODY] * 2)[:2])
        for cost in costs
        for level in levels
    ]
    return Section("cheapest to an accuracy", ("cost", "to accuracy", "least", "next"), tuple(rows))


def _levels(variants: Variants) -> list[float]:
    """A few round accuracies, in the upper half of the way from where models begin to where the best variant comes with
    all its seeds."""
    curves = [[run.metrics()["accuracy"] for run in runs] for runs in variants.values()]
    begin = max(float(np.mean([curve[0] for curve in of])) for of in curves)
    best = max(min(float(np.max(curve)) for curve in of) for of in curves)
    middle = (begin + best) / 2
    for step in _STEPS:
        steps = [round(step * number, 2) for number in range(round(1 / step) + 1)]  # 0.6 itself, not 6 · 0.1
        levels = [level for level in steps if middle < level <= best]
        if len(levels) <= _LEVELS:
            return levels
    return levels


def _ranked(variants: Variants, level: float, cost: str) -> list[str]:
    spent = {name: [to_target(run, level, cost) for run in runs] for name, runs in variants.items()}
    means = {name: float(np.mean(known)) for name, of in spent.items() if (known := _all(of))}
    return [f"{name}, {find_cost(cost).readable(means[name])}" for name in sorted(means, key=means.__getitem__)]


def _all(values: Sequence[float | None]) -> list[float]:
    """The values, if there are no others than known ones."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _budgets(variants: Variants, costs: Sequence[str]) -> Section:
    """The hypervolume under every cost, up to the most that any run spent."""
    columns = {cost: {name: _spending(runs, cost) for name, runs in variants.items()} for cost in costs}
    most = {cost: max(spent[-1] for runs in of.values() for spent, _ in runs) for cost, of in columns.items()}
    header = (
        "variant",
        *(f"{kind.name}, to {kind.readable(most[cost])}" for cost in costs for kind in [find_cost(cost)]),
    )
    rows = tuple((name, *(_volume(columns[cost][name], most[cost]) for cost in costs)) for name in variants)
    return Section("accuracy within a budget, mean over budgets", header, rows, names=1)


def _spending(runs: Sequence[Run], cost: str) -> list[tuple[FloatArray, FloatArray]]:
    return [(find_cost(cost).of(run.metrics()), run.metrics()["accuracy"]) for run in runs]


def _volume(runs: Sequence[tuple[FloatArray, FloatArray]], budget: float) -> str:
    if not budget > 0:
        return "none spent"
    return _interval(np.array([hypervolume(*points, budget) for points in runs]), "{:.3f}".format)
