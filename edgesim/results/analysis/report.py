"""The analysis of one run, from the tables that it left."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesim.engine.reasons import NO_CHARGE, OFF_LINE
from edgesim.results import atomic
from edgesim.results.analysis.absences import COLUMNS, Absences
from edgesim.results.analysis.concurrency import Concurrency
from edgesim.results.analysis.criticality import Criticality
from edgesim.results.analysis.jobs import Jobs, blocks
from edgesim.results.analysis.participation import participation
from edgesim.results.analysis.source import Files, Source
from edgesim.results.analysis.staleness import Staleness
from edgesim.results.analysis.usage import RESTS, Usage
from edgesim.results.analysis.waste import Waste
from edgesim.results.columns import PHASES

FILE = "analysis.json"
FORMAT = 3
"""Of the file; another one is not read but made anew from the tables."""
PARTS = 60
"""Equal parts of a run, over which jobs in flight are averaged."""

_CLIENTS = ("device_class", "jobs_aggregated", *(f"{name}_s" for name in (*PHASES, *RESTS)), "idle_j")
_AGGREGATIONS = ("time_ns", "done_ns", "cause", "job")


class Part(Protocol):
    """A piece of the analysis that grows block by block."""

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        ...


def read(directory: Path) -> dict[str, Any]:
    """analysis.json of a finished run; made from the tables where there is none, or none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        found = json.loads((directory / FILE).read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("format") == FORMAT:
            return found
    return dict(atomic.finite(analyse(Files(directory))))


def analyse(source: Source) -> dict[str, Any]:
    """What the events, aggregations, metrics and clients of a finished run say, as plain data (docs/results.md tells
    what is what). Works through any number of events in little memory.

    Raises ScenarioError where a table is missing or damaged.
    """
    clients = source.table("clients", _CLIENTS)
    classes = tuple(sorted(set(clients["device_class"].tolist())))
    of_class = {name: clients["device_class"] == name for name in classes}
    run_ns, n = _end_ns(source), len(classes)
    amounts = {name: values for name, values in clients.items() if name != "device_class"}
    staleness, usage, waste = Staleness(n), Usage(amounts, [*of_class.values()], _absences(source)), Waste()
    concurrency = Concurrency(n, run_ns, PARTS)
    critical = _critical(source, n)
    parts: list[Part] = [staleness, usage, waste, concurrency, *([critical] if critical else [])]
    for jobs in blocks(source, classes, run_ns):
        for part in parts:
            part.add(jobs)
    return {
        "format": FORMAT,
        "time_s": run_ns / 1e9,
        "participation": participation(clients["jobs_aggregated"], of_class),
        "staleness": _each(staleness.of, classes),
        "concurrency": _concurrency(concurrency, classes),
        "utilisation": _each(usage.utilisation, classes),
        "time": _each(usage.time, classes),
        "energy": _each(usage.energy, classes),
        "critical_path": None if critical is None else critical.result(classes),
        "waste": waste.result(),
    }


def in_flight(directory: Path, parts: int) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Device classes; the seconds at which equal parts of the run begin and end [part + 1]; the mean number of jobs
    in flight in each [class, part]."""
    source = Files(directory)
    classes = tuple(sorted(set(source.table("clients", ["device_class"])["device_class"].tolist())))
    run_ns = _end_ns(source)
    concurrency = Concurrency(len(classes), run_ns, parts)
    for jobs in blocks(source, classes, run_ns):
        concurrency.add(jobs)
    return classes, concurrency.edges_ns / 1e9, concurrency.over_time()


def _end_ns(source: Source) -> int:
    """When the run ended."""
    time_s = source.table("metrics", ["time_s"])["time_s"]
    return round(float(time_s[-1]) * 1e9) if len(time_s) else 0


def _critical(source: Source, classes: int) -> Criticality | None:
    """None of a run that recorded no aggregations."""
    if not source.has("aggregations"):
        return None
    return Criticality(classes, source.table("aggregations", _AGGREGATIONS))


def _absences(source: Source) -> dict[str, Absences] | None:
    """When devices had no charge, and when they were off line; None of a fleet that is too large for it to be
    recorded."""
    if not source.has("availability"):
        return None
    table = source.table("availability", (*COLUMNS, "reason"))
    reason = table.pop("reason")
    of_rest = {"no_charge": reason == NO_CHARGE, "off": reason == OFF_LINE}
    return {rest: Absences({name: values[here] for name, values in table.items()}) for rest, here in of_rest.items()}


def _each(of: Callable[..., Any], classes: Sequence[str]) -> dict[str, Any]:
    return {"all": of(), "classes": {name: of(number) for number, name in enumerate(classes)}}


def _concurrency(concurrency: Concurrency, classes: Sequence[str]) -> dict[str, Any]:
    over_time = {
        "time_s": (concurrency.edges_ns[1:] / 1e9).tolist(),
        "jobs": concurrency.over_time().sum(0).tolist(),
    }
    return {**_each(concurrency.of, classes), "over_time": over_time}
