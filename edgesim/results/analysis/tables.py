"""The tables of an analysis: a line for each variant and device class (or reason), means over seeds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgesim.results.analysis.criticality import PARTS, RULES
from edgesim.results.analysis.usage import ENERGIES, TIMES
from edgesim.results.analysis.waste import PARTS as WASTED
from edgesim.results.costs import COSTS

Analysis = Mapping[str, Any]
Rows = Iterator[tuple[str, ...]]

WHY = {
    "off-line": "device off line",
    "no-charge": "battery too low",
    "server-down": "server out of reach",
    "crash": "program crashed",
    "corrupt": "arrived damaged",
    "out-of-memory": "out of memory",
    "stale": "too stale",
    "deadline": "too late for the round",
    "over-selected": "over-selected",
    "outdated": "model too old",
    "peer": "left by its peer",
    "not-recorded": "not recorded",
}
"""Reasons in words, of jobs that were lost or discarded."""
RULE_NAMES = {"server": "server computing", "dispatch": "waiting for dispatch", "timer": "timer, or an edge"}


@dataclass(frozen=True)
class Section:
    """Attributes: title; header [column]; rows [row][column], text; names, how many columns say what figures are of."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 2


def why(part: str, reason: str) -> str:
    """Why something was in vain: a job ("lost"), or an attempt that was "repeated"."""
    return WHY[reason] if part == "lost" else f"{WHY[reason]}, an attempt"


def mean(analyses: Sequence[Analysis]) -> dict[str, Any]:
    """The mean over seeds, figure by figure; a figure that a run does not have (null) does not count."""
    return {name: _mean([analysis.get(name) for analysis in analyses]) for name in analyses[0]}


def sections(variants: Mapping[str, Analysis]) -> list[Section]:
    """All tables, of the mean analysis of each variant."""

    def section(title: str, header: tuple[str, ...], rows: Any) -> Section:
        found = [(name, *cells) for name, analysis in variants.items() for cells in rows(analysis)]
        return Section(title, ("variant", *header), tuple(found))

    return [
        section(
            "who takes part",
            ("device", "clients", "of clients", "updates", "of updates", "coverage", "Jain", "Gini"),
            _taking_part,
        ),
        section(
            "staleness at arrival", ("device", "arrived", "mean", "median", "95 %", "max", "too stale"), _staleness
        ),
        section(
            "time of the devices",
            ("device", *(name.replace("_", " ") for name in TIMES), "in flight", "at work", "utilisation"),
            _times,
        ),
        section("energy of the devices", ("device", *ENERGIES, "total"), _energies),
        section("what set the time of rounds", ("set by", "rounds", "time", *PARTS), _critical),
        section("wasted work", ("reason", "times", "time", "bytes", "FLOPs", "energy", "of energy"), _waste),
    ]


def _mean(values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], Mapping):
        return {name: _mean([value[name] for value in known]) for name in known[0]}
    if isinstance(known[0], list):
        # seeds may run for different times, so that their parts are not the same
        return known[0] if len(known) == 1 else None
    numbers = [float(value) for value in known]
    return math.fsum(numbers) / len(numbers)


def _each(tree: Analysis) -> Iterator[tuple[str, Any]]:
    yield from sorted(tree["classes"].items())
    if len(tree["classes"]) > 1:
        yield "all", tree["all"]


def _taking_part(analysis: Analysis) -> Rows:
    whole = analysis["participation"]
    for name, part in sorted(whole["classes"].items()):
        yield name, *_part(part), "", ""
    every = {**whole, "share_of_clients": 1.0, "share_of_updates": 1.0}
    yield "all", *_part(every), _figure(whole["jain"]), _figure(whole["gini"])


def _part(part: Mapping[str, Any]) -> tuple[str, ...]:
    clients, updates = _count(part["clients"]), _count(part["updates"])
    return (
        clients,
        _share(part["share_of_clients"]),
        updates,
        _share(part["share_of_updates"]),
        _share(part["coverage"]),
    )


def _staleness(analysis: Analysis) -> Rows:
    for name, part in _each(analysis["staleness"]):
        figures = (_figure(part[key]) for key in ("mean", "median", "p95", "max"))
        yield name, _count(part["arrived"]), *figures, _share(part["too_stale_share"])


def _times(analysis: Analysis) -> Rows:
    jobs, used = dict(_each(analysis["concurrency"])), dict(_each(analysis["utilisation"]))
    for name, part in _each(analysis["time"]):
        flight = jobs[name]
        shares = (_share(part[key]) for key in TIMES)
        yield name, *shares, _figure(flight["jobs"]), _figure(flight["working"]), _share(used[name])


def _energies(analysis: Analysis) -> Rows:
    for name, part in _each(analysis["energy"]):
        yield name, *(_share(part[key]) for key in ENERGIES), COSTS["energy"].readable(part["joules"])


def _critical(analysis: Analysis) -> Rows:
    found = analysis["critical_path"]
    if found is None:
        yield "not recorded", *[""] * (2 + len(PARTS))
        return
    rounds, time_s = found["rounds"], found["time_s"]

    def line(who: str, of: Sequence[Mapping[str, float]], parts: Sequence[float]) -> tuple[str, ...]:
        mine = sum(pair["rounds"] for pair in of), sum(pair["time_s"] for pair in of)
        return who, _of(mine[0], rounds), _of(mine[1], time_s), *(_of(part, time_s) for part in parts)

    for name, pairs in sorted(found["classes"].items()):
        yield line(name, [*pairs.values()], [pairs[part]["time_s"] for part in PARTS])
    for rule in RULES:
        pair = found["rules"][rule]
        if pair["rounds"] or pair["time_s"]:
            yield (*line(RULE_NAMES[rule], [pair], ()), *[""] * len(PARTS))


def _waste(analysis: Analysis) -> Rows:
    found, total = analysis["waste"], analysis["waste"]["spent"]["joules"]
    for part in WASTED:
        for reason, work in found[part].items():
            if work["count"]:
                yield why(part, reason), *_work(work), _of(work["joules"], total)
    yield "all of it", *_work(found["wasted"]), _of(found["wasted"]["joules"], total)


def _work(work: Mapping[str, float]) -> Iterator[str]:
    yield _count(work["count"])
    for cost, name in (("time", "seconds"), ("bytes", "bytes"), ("flops", "flops"), ("energy", "joules")):
        yield COSTS[cost].readable(work[name])


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.1%}"


def _of(part: float, whole: float) -> str:
    return _share(part / whole if whole else None)
