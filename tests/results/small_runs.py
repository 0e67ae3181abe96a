"""Runs of a few rows, written through the recorder, for the tests of this folder."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgesim.results.columns import CLIENTS, METRICS
from edgesim.results.recorder import EventRow, Recorder
from edgesim.results.store import Run

CLASSES = ("small", "large")
UNSEEN = ("accuracy_unseen", "accuracy_unseen_trained")


def metric(**given: float) -> dict[str, Any]:
    """A row of metrics, 0 where nothing is given; all clients may train."""
    return dict.fromkeys(METRICS.names, 0) | dict.fromkeys(UNSEEN, math.nan) | given


def event(job: int, **given: Any) -> EventRow:
    """A row of events: job j trains on client j mod 7 from j to j + 5 ns."""
    row = {
        "job": job, "client": job % 7, "device_class": job % 2, "phase": "train", "start_ns": job,
        "end_ns": job + 5, "version": 0, "bytes": 0, "flops": 1e9, "energy_j": 0.1 * job, "outcome": "done",
        "reason": None, "staleness": job % 3 or None, "batch_size": None,
    }  # fmt: skip
    return tuple((row | given).values())  # type: ignore[return-value]


def clients(count: int = 2) -> dict[str, Any]:
    """The columns of clients.parquet, all 0 but number and class."""
    classes = [index % len(CLASSES) for index in range(count)]
    return {name: [0] * count for name in CLIENTS.names} | {"client": list(range(count)), "device_class": classes}


def write_run(
    directory: Path,
    rows: Sequence[dict[str, Any]],
    *,
    variant: str = "v",
    finished: bool = True,
    **scenario: Any,
) -> Run:
    """A run directory with these metrics."""
    recorder = Recorder(directory, CLASSES)
    record = {"label": directory.name, "variant": variant, "scenario": {"name": "small"} | scenario}
    (directory / "scenario.yaml").write_text(json.dumps(record))
    for row in rows:
        recorder.metric(row)
    if finished:
        recorder.finish(clients=clients(), summary={})
    else:
        recorder.flush_partial()
    return Run(directory)
