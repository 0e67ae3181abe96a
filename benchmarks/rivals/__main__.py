"""`python -m benchmarks.rivals`: edgesim against other simulators on this machine. See ../README.md, Rivals."""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measuring

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What its environment holds: releases that go together.
RIVALS = {
    "fedjax": (
        "fedjax==0.0.17", "jax==0.4.25", "jaxlib==0.4.25", "numpy<2", "dm-haiku==0.0.11", "optax==0.2.2",
        "chex==0.1.86", "scipy<1.13",
    ),
    "pfl": ("pfl==0.6.0", "torch", "-c", str(ROOT / "constraints.txt")),
    "flsim": ("flsim==0.1.0", "torch", "-c", str(ROOT / "constraints.txt")),
    "flgo": ("flgo==0.4.4", "torch", "-c", str(ROOT / "constraints.txt")),
}  # fmt: skip
RUNS = (  # rounds, of W4 ten updates each
    ("W1", "fedjax", 40), ("W1", "pfl", 10), ("W2", "pfl", 10), ("W3", "pfl", 4),
    ("W4", "flgo", 200), ("W4", "flsim", 200),
)  # fmt: skip
_SETTLING = 3  # rounds that are not counted, as compilers and caches warm up


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.rivals", description="edgesim against other simulators")
    parser.add_argument("workloads", nargs="*", metavar="W1 W2 W3 W4", help="only these (default: all)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "rivals", help="made where missing")
    asked = parser.parse_args()
    table = Table(title="ms a round, of W4 ten updates: medians; the ratio is that of the runs in turn")
    for heading in ("workload", "rival", "its ms", "edgesim's ms", "a run's round, ms", "ratio", "of a run"):
        table.add_column(heading, justify="left" if heading in ("workload", "rival") else "right")
    for workload, rival, rounds in RUNS:
        if asked.workloads and workload not in asked.workloads:
            continue
        python = _environment(rival, asked.environments)
        turns = [(_theirs(python, rival, workload, rounds), *_ours(workload)) for _ in range(asked.repetitions)]
        theirs, steady, whole = (statistics.median(column) for column in zip(*turns, strict=True))
        against = [(them / ours, them / run) for them, ours, run in turns]
        ratios = [f"{statistics.median(column):.1f}" for column in zip(*against, strict=True)]
        table.add_row(workload, rival, *(_digits(ms) for ms in (theirs, steady, whole)), *ratios)
    Console(width=100).print(table)


def _digits(ms: float) -> str:
    """Three of them, or more."""
    return f"{ms:,.{max(0, 2 - int(math.log10(ms)))}f}"


def _environment(rival: str, folder: Path) -> Path:
    """The Python of a rival's environment."""
    python = folder / rival / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / rival], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *RIVALS[rival]], check=True)
    return python


def _theirs(python: Path, rival: str, workload: str, rounds: int) -> float:
    """Milliseconds of a round once it is steady, on one core: edgesim trains on one as well."""
    command = [python, HERE / f"by_{rival}.py", workload, str(rounds)]
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, {0})} if hasattr(os, "sched_setaffinity") else {}
    done = subprocess.run(command, check=True, capture_output=True, text=True, **pinned)  # type: ignore[call-overload]
    taken: list[float] = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(taken[_SETTLING:])


def _ours(workload: str) -> tuple[float, float]:
    """Milliseconds of a round: by what more rounds take, and of a whole run of the workload's own length."""
    seconds: tuple[float, float] = measuring.apart(measuring.rounds_s, workload)
    return 1e3 * seconds[0], 1e3 * seconds[1]


if __name__ == "__main__":
    main()
