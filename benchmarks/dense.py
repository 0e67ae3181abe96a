"""`python -m benchmarks.dense`: W1's learning without the engine, against the bare limit: rounds trained and merged.

Processor time a client update, in turn in one process on one thread. 100 clients a round, of which `execution.cohort`
train at once; the limit always trains 25 at once.
"""

import argparse
import time
from collections.abc import Callable
from statistics import quantiles

from rich.console import Console
from rich.table import Table

from benchmarks import bare
from benchmarks.rounds import learning_of, placed
from edgesim.execution.process import prepare_process

_COHORTS = (25, 50, 100)
_ROUNDS = 20  # in one measurement, as many as the limit's


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.dense", description="W1 without the engine")
    parser.add_argument("--repetitions", type=int, default=20)
    asked = parser.parse_args()
    prepare_process()
    limit = bare.dense_rounds()
    measured: dict[str, Callable[[], object]] = {"bare limit": limit}
    measured |= {f"{cohort} at once": rounds(cohort) for cohort in _COHORTS}
    found: dict[str, list[float]] = {name: [] for name in measured}
    for repetition in range(asked.repetitions + 1):
        for name, work in measured.items():
            begun_s = time.process_time()
            work()
            if repetition:  # the first one warms up
                found[name].append(1e6 * (time.process_time() - begun_s) / bare.W1.updates)
    table = Table("", "least, µs", "of the limit", "lower quartile, µs", "of the limit", title="a client update of W1")
    base, *_ = found.values()
    for name, each in found.items():
        low, base_low = quantiles(each, n=4)[0], quantiles(base, n=4)[0]
        table.add_row(
            name, f"{min(each):.1f}", f"{min(base) / min(each):.2f}", f"{low:.1f}", f"{base_low / low:.2f}"
        )  # fmt: skip
    Console(width=100).print(table)


def rounds(cohort: int) -> Callable[[], None]:
    """Rounds of W1: placed, trained and merged as the engine asks for them, but without an engine."""
    learning, size = learning_of("w1", f"execution.cohort={cohort}")
    number = 0

    def some() -> None:
        nonlocal number
        for _ in range(_ROUNDS):
            learning.aggregate(placed(learning, number, size)[1])
            number += 1

    return some


if __name__ == "__main__":
    main()
