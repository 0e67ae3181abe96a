"""How evenly clients take part: the Lorenz curve of the updates aggregated from each, with Gini and Jain."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edgesim.plots.style import finished, heading, legend, looks, styled
from edgesim.results.evenness import gini, jain, lorenz
from edgesim.results.store import Results


@styled
def draw(results: Results) -> Figure:
    """One line a finished run: the share of all updates that the clients with the fewest gave together. The thin
    diagonal: all gave equally many. The Gini coefficient, twice the area between the two, and Jain's index are means
    over the seeds of a variant."""
    groups = finished(results)
    styles = looks(groups)
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color="#666666", linewidth=0.8)
    handles, labels = [Line2D([], [], color="#666666", linewidth=0.8)], ["all gave equally many"]
    for name, runs in groups.items():
        counts = [run.clients()["jobs_aggregated"] for run in runs]
        look = {key: styles[name][key] for key in ("color", "linestyle")}
        for curve in map(lorenz, counts):
            axes.plot(np.linspace(0, 100, len(curve)), 100 * curve, linewidth=1.3, **look)
        handles.append(Line2D([], [], **look))
        figures = f"Gini {np.mean([*map(gini, counts)]):.3f}, Jain {np.mean([*map(jain, counts)]):.3f}"
        labels.append(f"{name}: {figures}" + (f", means of {len(runs)} seeds" if len(runs) > 1 else ""))
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("clients, fewest updates first (%)")
    axes.set_ylabel("updates aggregated from them (%)")
    heading(figure, results, "evenness of participation")
    legend(figure, handles, labels)
    return figure
