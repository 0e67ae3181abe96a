"""What five seeds take, over what one takes: in one process on one thread, and as a command. See README.md."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from benchmarks.endtoend import SCENARIOS
from edgesim.execution.process import prepare_process
from edgesim.scenario import running
from edgesim.scenario.assembly import assemble
from edgesim.scenario.group import run_group
from edgesim.scenario.loading import load

SEEDS = 5
WORLDS = {
    "W1: rounds of 100": ("w1", []),
    "W1 in rounds of 10": ("w1", ["schedule.cohort=10", "stop.aggregations=200", "evaluate={every: 100 aggregations}"]),
    "W4: buffers of 10": ("w4", []),
}


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Seconds of the processor: of all, and of the set-up in it."""

    all_s: float
    setup_s: float

    @property
    def run_s(self) -> float:
        return self.all_s - self.setup_s


def timed(name: str, overrides: list[str], seeds: int, *, together: bool) -> Timed:
    """Runs of so many seeds in this process, from the scenario to the last file."""
    setup_s = 0.0

    def assembled(*args: Any) -> Any:
        nonlocal setup_s
        began_s = time.process_time()
        simulation = assemble(*args)
        setup_s += time.process_time() - began_s
        return simulation

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(running, "assemble", assembled):
        began_s = time.process_time()
        plan = load(SCENARIOS / f"{name}.yaml", [*overrides, f"sweep.seed={[*range(seeds)]}"])
        directories = running.prepare(plan, Path(folder) / "results", replace=False)
        setup_s += time.process_time() - began_s
        groups = [tuple(directories)] if together else [(directory,) for directory in directories]
        for group in groups:
            assert not run_group(running.run, group, notify=lambda _: None, asked_to_stop=lambda: False)
        return Timed(all_s=time.process_time() - began_s, setup_s=setup_s)


def in_one_process(name: str, overrides: list[str], repetitions: int) -> list[str]:
    """Medians: one, and of the ratios within each repetition."""
    prepare_process()
    timed(name, [*overrides, "stop.aggregations=1"], 1, together=False)  # first calls
    rounds = [
        (
            timed(name, overrides, 1, together=False),
            timed(name, overrides, SEEDS, together=False),
            timed(name, overrides, SEEDS, together=True),
        )
        for _ in range(repetitions)
    ]

    def median(ratio: Callable[[Timed, Timed, Timed], float]) -> str:
        return f"{statistics.median(ratio(*three) for three in rounds):.2f}"

    return [
        median(lambda one, apart, together: one.all_s),
        median(lambda one, apart, together: apart.run_s / one.run_s),
        median(lambda one, apart, together: together.run_s / one.run_s),
        median(lambda one, apart, together: together.all_s / one.all_s),
    ]


def command_s(seeds: int, *options: str) -> float:
    """W1 as a command, from the shell and back."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = ["--set", f"sweep.seed={[*range(seeds)]}", "--out", f"{folder}/results", *options]
        began_s = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "edgesim", "run", SCENARIOS / "w1.yaml", *chosen], check=True, capture_output=True
        )
        return time.perf_counter() - began_s


def as_commands(repetitions: int) -> Iterator[list[str]]:
    """By what `--workers` says."""
    for label, options in (("all cores", ()), ("--workers 1", ("--workers", "1"))):
        pairs = [(command_s(1, *options), command_s(SEEDS, *options)) for _ in range(repetitions)]
        ratio = statistics.median(five / one for one, five in pairs)
        yield [f"edgesim run w1.yaml, {label}", f"{min(one for one, _ in pairs):.2f}", "", "", f"{ratio:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.seeds", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    table = Table(title=f"{SEEDS} seeds over one, medians")
    for heading in ("", "one, s", "one by one", "together", "together, with set-up"):
        table.add_column(heading, justify="right" if heading else "left")
    for label, (name, overrides) in WORLDS.items():
        table.add_row(label, *measuring.apart(in_one_process, name, overrides, repetitions))
    for row in as_commands(repetitions):
        table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
