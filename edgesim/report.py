"""A page of all that results tell, in one file: comparisons, figures, tables, and the scenarios that were run."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from edgesim import printing, units
from edgesim.errors import ScenarioError
from edgesim.plots.letters import no_warnings_of_boxes
from edgesim.plots.registry import PLOTS, find
from edgesim.results import comparison
from edgesim.results.analysis import tables
from edgesim.results.analysis.tables import Section
from edgesim.results.atomic import replacing
from edgesim.results.costs import PRICE, find_cost
from edgesim.results.estimate import estimate_table
from edgesim.results.store import SCENARIO, Results, Run
from edgesim.results.table import summary_table

_FRONTIERS = tuple(("frontier", {"cost": cost}) for cost in ("time", "energy", "bytes"))
_GRADIENTS = tuple(("curves", {"cost": cost, "metric": "gradient_norm"}) for cost in ("time", "energy", "bytes"))
_USES: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("time-use", {"cost": "time"}), ("time-use", {"cost": "energy"}), ("critical-path", {}), ("waste", {}),
    ("lorenz", {}), ("staleness", {}),
)  # fmt: skip


class Picture(NamedTuple):
    """A figure of the page: what it shows, and a PNG file in base64."""

    shows: str
    png: str


def write(
    folders: Sequence[Path], against: str | None, target: str | None, price: str | None, out: Path | None
) -> None:
    """Print how variants compare, write the page and say where.

    Raises:
        ScenarioError: no such results or variant, a target that is no accuracy, what is no price, or the page cannot be
            written.
    """
    results, accuracy = Results.read(*folders), _accuracy(target)
    for option, text in (
        (("--against", against), ("--target", target), ("--price", price)) if not results.have_accuracies else ()
    ):
        if text is not None:
            raise ScenarioError(f"{option} {text}: {results.path} has no accuracies to compare; leave it out")
    if price is not None and find_cost(price).name != PRICE:
        raise ScenarioError(f"--price {price}: the report has that cost anyway; write prices, e.g. 0.3/kWh + 2/GB")
    _check_alike(results)
    compared = comparison.sections(results, against, accuracy, price) if results.have_accuracies else []
    path = out or results.path / "report.html"
    with no_warnings_of_boxes():
        text = page(results, compared, accuracy, price)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from error
    for section in compared:
        printing.figures(section.title, section.header, section.rows, section.names)
    printing.lines(*comparison.NOTES if compared else (), str(path))


def _check_alike(results: Results) -> None:
    """Raise ScenarioError where some runs have accuracies and others none: neither kind of page would tell of both."""
    without = [run.label for run in results.runs if not run.has_accuracies]
    if 0 < len(without) < len(results.runs):
        raise ScenarioError(
            f"{without[0]} has no accuracies, as estimates and quadratic problems have none, and other runs do; report "
            "them apart"
        )


def page(results: Results, compared: Sequence[Section], target: float | None = None, price: str | None = None) -> str:
    """The page as HTML. compared: the sections of the comparison; none where there are no accuracies."""
    whole = results.finished()
    finished = whole.variants()
    frontiers = _FRONTIERS if price is None else (*_FRONTIERS, ("frontier", {"cost": price}))
    environment = Environment(
        loader=PackageLoader("edgesim", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        name=results.name,
        summary=summary_table(results, target) if results.trained else estimate_table(results),
        estimated=not results.trained,
        compared=compared,
        notes=comparison.NOTES,
        frontiers=_pictures(results, frontiers, target) if compared else _pictures(results, _GRADIENTS),
        finished=bool(finished),
        uses=_pictures(whole, _USES) if finished else [],
        served=[comparison.by_device(finished)] if compared and finished else [],
        analyses=tables.sections({n: tables.mean([run.analysis() for run in runs]) for n, runs in finished.items()}),
        runs=[("run", "seed", "hash", "backend", "ended by"), *map(_line, results.runs)],
        scenarios={name: (runs[0].path / SCENARIO).read_text("utf-8") for name, runs in results.variants().items()},
    )


def _line(run: Run) -> tuple[str, ...]:
    summary = run.summary or {"backend": "", "stopped_by": "unfinished"}
    return run.label, str(run.scenario["seed"]), str(run.record["hash"])[:12], summary["backend"], summary["stopped_by"]


def _accuracy(text: str | None) -> float | None:
    if text is None:
        return None
    accuracy = units.of_option("--target", text, "share")
    if not 0 < accuracy <= 1:
        raise ScenarioError(f"--target {text}: no accuracy is {accuracy:.4g}; write e.g. 0.8 or 80 %")
    return accuracy


def _pictures(
    results: Results, figures: Sequence[tuple[str, Mapping[str, str]]], target: float | None = None
) -> Iterator[Picture]:
    """The figures; what these results have nothing of (rounds, among peers, say) is left out."""
    for name, options in figures:
        draw, more = find(name), {} if target is None else {"target": target}
        with suppress(ScenarioError):
            file = io.BytesIO()
            draw(results, **options, **more).savefig(file, format="png")
            yield Picture(PLOTS[name], base64.b64encode(file.getvalue()).decode("ascii"))
