"""`python -m benchmarks.algorithms [NAME …]`: what a client update of W1 takes under each algorithm.

The run is W1 but for the algorithm, so costs that an algorithm brings are in it: states of clients, messages of unlike
size, personal models that are tested, 1,000 of them three times in 20 rounds.
"""

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks import endtoend
from edgesim.algorithms import registry
from edgesim.errors import ScenarioError
from edgesim.execution.process import prepare_process


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.algorithms", description="W1 under each algorithm")
    parser.add_argument("names", nargs="*", help="all by default")
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    prepare_process()
    table = Table("algorithm", "µs an update", "over fedavg", title="W1, the least of each one's runs")
    base = _least("fedavg", asked.repetitions)
    for name in asked.names or registry.names():
        try:
            found = _least(name, asked.repetitions)
        except ScenarioError as error:
            table.add_row(name, "–", str(error).split(";")[0])
        else:
            table.add_row(name, f"{found:,.0f}", f"{found / base:.1f}")
    Console(width=120).print(table)


def _least(name: str, repetitions: int) -> float:
    """µs an update, after a run that warms up."""
    runs = [endtoend.run("w1", f"algorithm={name}") for _ in range(repetitions + 1)]
    return min(1e6 * run.run_s / run.updates for run in runs[1:])


if __name__ == "__main__":
    main()
