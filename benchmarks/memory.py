"""`python -m benchmarks.memory`: what a process holds at most, of large client states, many events and large estimates.

States: every client keeps a model of 1.2 million parameters (scenarios/states.yaml), on disk but for 300 MB. With
10,000 clients, the default, they take 47 GB in the folder of temporary files: see --clients and TMPDIR.
Events: jobs that only count, three rows of events.parquet each.
Estimates: scenarios/estimate.yaml, a million updates among a million devices, from the scenario to the last table.
"""

import argparse
import resource
import time
from collections.abc import Callable
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from benchmarks import counting, endtoend
from edgesim.execution.process import prepare_process

_ROWS_A_JOB = 3
_COHORT = 50  # of scenarios/states.yaml
_CONSOLE = Console(width=100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description="the most that a process holds")
    parser.add_argument("--clients", type=int, default=10_000, help="that keep a model")
    parser.add_argument("--rows", type=int, nargs="*", default=[10**5, 10**6, 10**7], help="of events.parquet")
    parser.add_argument("--no-estimates", dest="estimates", action="store_false", help="leave them out")
    asked = parser.parse_args()
    table = Table("", "seconds", "peak RSS MB")
    table.add_row("nothing", *_alone(_nothing, 0))
    for rows in asked.rows:
        table.add_row(f"{rows:,} rows of events", *_alone(_events, rows))
    if asked.estimates:
        table.add_row("estimate, buffered", *_alone(_buffered, 0))
        table.add_row("estimate, in rounds of 1,000", *_alone(_rounds, 1000))
    if asked.clients:
        table.add_row(f"{asked.clients:,} models of 4.7 MB", *_alone(_states, asked.clients))
    _CONSOLE.print(table)


def _alone(work: Callable[[int], None], size: int) -> tuple[str, str]:
    """In a process of its own, whose peak is its own."""
    with get_context("spawn").Pool(1) as pool:
        seconds, peak_mb = pool.apply(_measured, (work, size))
    return f"{seconds:,.1f}", f"{peak_mb:,.0f}"


def _measured(work: Callable[[int], None], size: int) -> tuple[float, float]:
    prepare_process()
    begun_s = time.perf_counter()
    work(size)
    return time.perf_counter() - begun_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _nothing(size: int) -> None:
    """Imports only."""


def _events(rows: int) -> None:
    counting.run(10_000, rows // _ROWS_A_JOB)


def _buffered(size: int) -> None:
    endtoend.run("estimate")


def _rounds(size: int) -> None:
    endtoend.run("estimate", f"schedule={{kind: sync, cohort: {size}}}", "evaluate.every=100 aggregations")


def _states(clients: int) -> None:
    endtoend.run("states", f"task.clients={clients}", f"stop.aggregations={-(-clients // _COHORT)}")


if __name__ == "__main__":
    main()
