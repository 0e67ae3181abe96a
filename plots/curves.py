"""Accuracy (or loss) as a cost grows: one line a variant, the mean over seeds in its band."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edgesim.errors import ScenarioError
from edgesim.plots.style import (
    accuracy_axis,
    bands,
    cost_axis,
    heading,
    legend,
    looks,
    measured,
    shade,
    styled,
    target_line,
)
from edgesim.results.costs import find_cost
from edgesim.results.store import Results
from edgesim.results.table import target_of
from edgesim.results.trajectory import trajectory
from edgesim.spelling import advice

METRICS = {
    "accuracy": "accuracy (mean over clients)",
    "accuracy_worst10": "accuracy (mean of the worst 10 % of clients)",
    "accuracy_pooled": "accuracy (over all test samples)",
    "accuracy_unseen": "accuracy (mean over clients that never train)",
    "accuracy_unseen_trained": "accuracy (mean over clients that never train, after one job of their own)",
    "accuracy_std": "standard deviation of accuracy over clients",
    "loss": "loss",
    "gradient_norm": "norm of the shared gradient",
}


@styled
def draw(results: Results, *, cost: str = "time", metric: str = "accuracy") -> Figure:
    """Curves over a cost (time, energy, bytes, flops).

    metric: a key of METRICS; a gradient norm has a logarithmic axis and geometric means. Thin lines are single seeds;
    the thick one ends where the first seed ends.
    """
    if metric not in METRICS:
        raise ScenarioError(f"unknown metric {metric!r}; {advice(metric, METRICS)}")
    kind = find_cost(cost)
    groups = measured(results, results.variants(), metric)
    falls = metric == "gradient_norm"
    paths = {name: trajectory(runs, cost, metric, geometric=falls) for name, runs in groups.items()}
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    worth = cost_axis(axes, kind, max(path.end_cost.high[0] for path in paths.values()))
    styles = looks(paths)
    for name, path in paths.items():
        colour, dashes = styles[name]["color"], styles[name]["linestyle"]
        x = path.cost / worth
        axes.fill_between(x, path.accuracy.low, path.accuracy.high, color=colour, alpha=shade(len(paths)), linewidth=0)
        for costs, values in path.each if len(path.each) > 1 else ():
            axes.plot(costs / worth, values, color=colour, linewidth=0.7, alpha=0.5)
        axes.plot(x, path.accuracy.mean, color=colour, linestyle=dashes)
    if metric == "accuracy":
        target_line(axes, target_of(results.runs))
    if metric.startswith("accuracy"):
        accuracy_axis(axes, METRICS[metric])
    else:
        axes.set_ylabel(METRICS[metric])
        axes.set_yscale("log" if falls else "linear")
    heading(figure, results, f"{'gradient norm' if falls else metric.split('_')[0]} over {kind.title}", *bands(groups))
    lines = [Line2D([], [], color=styles[name]["color"], linestyle=styles[name]["linestyle"]) for name in paths]
    legend(figure, lines, list(paths))
    return figure
