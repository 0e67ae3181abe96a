"""What the command line does with scenarios and results: progress on stderr, results on stdout."""

import math
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgesim import printing, shipped, units
from edgesim.errors import RunError, ScenarioError
from edgesim.results.differences import differences
from edgesim.results.estimate import estimate_table
from edgesim.results.store import Results
from edgesim.results.table import summary_table
from edgesim.scenario import progress, running, spread, verifying
from edgesim.scenario.loading import Plan, load
from edgesim.scenario.progress import Interrupted, Notify, Terminated

_err = Console(stderr=True, emoji=False, markup=False)


def run(scenario: Path, overrides: Sequence[str], out: Path | None, workers: str | None, *, replace: bool) -> None:
    """Run every run of a scenario, then print the summary table."""
    plan = load(shipped.find(scenario), overrides)
    _run(plan, out or Path("results") / plan.name, workers, replace=replace)


def estimate(scenario: Path, overrides: Sequence[str], out: Path | None, workers: str | None, *, replace: bool) -> None:
    """Run every run of a scenario without training, then print what each costs."""
    plan = load(shipped.find(scenario), [*overrides, "execution.backend=none"])
    _run(plan, out or Path("results") / f"{plan.name}-estimate", workers, replace=replace)


def _run(plan: Plan, folder: Path, workers: str | None, *, replace: bool) -> None:
    chosen = spread.workers(workers)
    directories = running.prepare(plan, folder, replace=replace)
    if not directories:
        _err.print(
            f"{folder} holds the finished results of this very scenario; --replace runs it again", soft_wrap=True
        )
    _work(directories, folder, chosen)


def resume(folder: Path, workers: str | None) -> None:
    """Finish the unfinished runs of a folder, then print the summary table."""
    chosen = spread.workers(workers)
    directories = running.unfinished(folder)
    if not directories:
        _err.print(f"{folder}: all runs are finished; nothing to resume", soft_wrap=True)
    _work(directories, folder, chosen)


def verify(folder: Path, workers: str | None) -> None:
    """Run the finished runs of a folder once more, elsewhere, and say what came out otherwise."""
    chosen = spread.workers(workers)
    runs = Results.read(folder).finished().runs
    if not runs:
        raise ScenarioError(f"{folder}: no run is finished; go on with: edgesim resume {folder}")
    unlike = 0
    with verifying.again([run.path for run in runs]) as pairs:
        _run_all([pair.anew for pair in pairs], chosen, "interrupted; nothing has been changed")
        for run, pair in zip(runs, pairs, strict=True):
            found = differences(pair.directory, pair.anew)
            unlike += bool(found)
            told = ["versions: " + pair.versions] if pair.versions else []
            told = [f"{run.label}: {'not the same' if found else 'the same, byte for byte'}", *told, *found]
            printing.out.print("\n  ".join(told), markup=False, soft_wrap=True)
    if unlike:
        raise RunError(f"{unlike} of {len(runs)} runs came out otherwise than they did")


def _work(directories: Sequence[Path], folder: Path, workers: int | str) -> None:
    if directories:
        _run_all(
            directories, workers, f"interrupted; what there is has been written, go on with: edgesim resume {folder}"
        )
    print_summary(Results.read(folder))


def _run_all(directories: Sequence[Path], workers: int | str, if_interrupted: str) -> None:
    with _progress(len(directories)) as notify, _interruptible() as asked:
        try:
            running.run_all(directories, workers=workers, notify=notify, asked_to_stop=lambda: bool(asked))
        except Interrupted:
            raise (Terminated if asked[0] == signal.SIGTERM else Interrupted)(if_interrupted) from None


def print_summary(results: Results) -> None:
    """One line a variant, over its seeds; of an estimate, one line a class of devices."""
    found = summary_table(results) if results.trained else estimate_table(results)
    table = Table(title=escape(str(results.path)), caption=escape(found.note), box=box.SIMPLE_HEAD)
    table.title_justify = table.caption_justify = "left"
    table.padding = (0, 0, 0, 1)
    for i, cells in enumerate(zip(found.header, *found.rows, strict=True)):
        # A narrow terminal may break a name anywhere, but figures only between words.
        longest = max(len(word) for cell in cells for word in cell.split()) if i else 8
        table.add_column(escape(cells[0]), justify="right" if i else "left", overflow="fold", min_width=longest)
    for row in found.rows:
        table.add_row(*map(escape, row))
    printing.out.print(table)


def validate(scenario: Path, overrides: Sequence[str]) -> None:
    """Check a scenario as far as can be without running it; data, models and algorithms are really made."""
    plan = load(shipped.find(scenario), overrides)
    running.check(plan)
    count = len(plan.scenarios)
    labels = (f"  {planned.label}" for planned in plan.scenarios)
    printing.lines(f"{scenario}: fine; {count} run{'s' if count > 1 else ''}", *labels)


@contextmanager
def _progress(runs: int) -> Iterator[Notify]:
    """A line for each run at work, and one for all, on stderr; nothing where that is no terminal."""
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=_err, disable=not sys.stderr.isatty(), transient=True) as bars:
        overall = bars.add_task(f"{runs} runs" if runs > 1 else "1 run", total=runs, note="")
        tasks: dict[str, TaskID] = {}
        shares: dict[str, float] = {}

        def notify(now: progress.Progress) -> None:
            if now.label not in tasks:
                tasks[now.label] = bars.add_task(escape(now.label), total=1.0, note="")
            shares[now.label] = now.share
            accuracy = "" if math.isnan(now.accuracy) else f", accuracy {now.accuracy:.3f}"
            note = f"{units.format(round(now.time_s), 'time')}, {now.updates} updates{accuracy}"
            bars.update(tasks[now.label], completed=now.share, note=note, visible=not now.done)
            bars.update(overall, completed=sum(shares.values()))

        yield notify


@contextmanager
def _interruptible() -> Iterator[Sequence[int]]:
    """Ctrl-C, or a SIGTERM, asks the runs to stop at the next instant; a second one stops at once. The signals that
    have come."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        _err.print(
            "stopping at the next instant, to write down what there is (Ctrl-C again: at once) …", soft_wrap=True
        )

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
