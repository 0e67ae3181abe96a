"""What a run costs each class of devices: the table at the end of an estimate."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.costs import COSTS
from edgesim.results.remarks import remarks
from edgesim.results.store import Columns, Results, Run
from edgesim.results.table import Table

_HEADER = (
    "variant", "device", "devices", "jobs", "download", "training", "upload", "bytes a job", "energy a job", "memory",
    "bytes", "energy",
)  # fmt: skip
_PHASES = ("download_s", "train_s", "upload_s")
_BYTES = ("bytes_down", "bytes_up")


def estimate_table(results: Results) -> Table:
    """For each variant a line for each class of devices and one for all; means over seeds."""
    rows = [row for variant, runs in results.variants().items() for row in _rows(variant, runs)]
    return Table(_HEADER, tuple(rows), _note(results))


def _rows(variant: str, runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    tables = [run.clients() for run in runs]
    classes = list(dict.fromkeys(np.concatenate([table["device_class"] for table in tables]).tolist()))
    for name in sorted(classes):
        yield variant, name, *_figures([(table, table["device_class"] == name) for table in tables])
    yield variant, "all", *_figures([(table, np.ones(len(table["client"]), bool)) for table in tables])


def _figures(parts: Sequence[tuple[Columns, NDArray[Any]]]) -> Iterator[str]:
    """Devices and jobs, then what a job takes on average, lost ones included, its memory at most, then all of them
    together."""

    def mean(*columns: str) -> float:
        return float(np.mean([sum(float(table[column][here].sum()) for column in columns) for table, here in parts]))

    jobs = mean("jobs_dispatched")
    yield f"{np.mean([np.count_nonzero(here) for _, here in parts]):,.0f}"
    yield f"{jobs:,.0f}"
    for cost, columns in (
        *(("time", (phase,)) for phase in _PHASES),
        ("bytes", _BYTES),
        ("energy", ("energy_j",)),
    ):
        yield COSTS[cost].readable(mean(*columns) / jobs) if jobs else "no job"
    yield COSTS["bytes"].readable(max(float(table["memory_bytes"][here].max(initial=0)) for table, here in parts))
    yield COSTS["bytes"].readable(mean(*_BYTES))
    yield COSTS["energy"].readable(mean("energy_j"))


def _note(results: Results) -> str:
    lines = [
        "Times, bytes and energy of jobs: the mean over all that were dispatched, then their sum; memory is what the "
        "most demanding one needs. Idle devices draw energy, too: idle_j in summary.json."
    ]
    for variant, runs in results.variants().items():
        time_s = float(np.mean([run.metrics()["time_s"][-1] for run in runs]))
        updates = float(np.mean([run.metrics()["updates"][-1] for run in runs]))
        lines.append(f"{variant}: {COSTS['time'].readable(time_s)} of simulated time, {updates:,.0f} updates.")
    notes = dict.fromkeys(note for run in results.runs for note in (run.summary or {}).get("notes", ()))
    lines += [f"{run.label}: {remark}." for run in results.runs for remark in remarks(run)]
    return "\n".join([*lines, *(f"{note[0].upper()}{note[1:]}." for note in notes)])
