"""Running a plan: directories for its runs, each run in this process or a worker's, killed but never lost.

results/<plan>/<label>/scenario.yaml      written first: what the run is
                       checkpoint/        while it is unfinished: what resuming needs
                       summary.json       written last: it is finished
"""

import gc
import shutil
from collections.abc import Sequence
from itertools import product, starmap
from pathlib import Path
from warnings import warn

from edgesim.errors import EdgesimError, EdgesimWarning, RunError, ScenarioError
from edgesim.execution import checkpoint
from edgesim.execution.together import Company
from edgesim.plots.registry import PLOTS, file_name
from edgesim.results import atomic
from edgesim.results.columns import METRICS
from edgesim.results.costs import COSTS, PRICE
from edgesim.results.recorder import SUMMARY
from edgesim.results.store import Run, no_run, run_directories
from edgesim.scenario import closing, learning, mishap, record
from edgesim.scenario.assembly import assemble, make_fleet
from edgesim.scenario.group import groups
from edgesim.scenario.loading import Plan
from edgesim.scenario.lock import LOCK, check_idle, locked
from edgesim.scenario.progress import Asked, Interrupted, Notify, Pause
from edgesim.scenario.record import Record
from edgesim.scenario.sidebyside import run_side_by_side

_PERHAPS_NEVER = (
    "stop: accuracy alone may never be reached, and the run would not end; add a second limit, e.g. updates: 10000"
)


def prepare(plan: Plan, out: Path, *, replace: bool) -> list[Path]:
    """Make the directory of each run and write its scenario; the directories that have something to do.

    Raises:
        ScenarioError: `out` holds other or unfinished runs, and they are not to be replaced.
        RunError: another process is at work there.
    """
    existing = run_directories(out)
    records = {out / planned.label: Record.of(planned, plan.folder) for planned in plan.scenarios}
    if not replace:
        _check_same(out, existing, records)
        _tidy_finished(existing)
        for directory in existing:
            del records[directory]  # what is left, a command that was killed right here had not got to
    if not records:
        return []
    check(plan)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            if run_directories(out) != existing:  # while the plan was checked
                raise RunError(f"{out}: another process has begun runs here meanwhile; wait for it or stop it")
            if replace:
                _discard(out, existing)
            for directory, made in records.items():
                directory.mkdir(parents=True, exist_ok=True)
                made.write(directory)
    except OSError as error:
        raise ScenarioError(f"--out {out}: cannot be written to: {error.strerror}") from error
    return list(records)


def _discard(out: Path, existing: Sequence[Path]) -> None:
    """Remove all runs, and the page and pictures that have been made of them."""
    check_idle(directory for directory in existing if directory != out)  # whose lock is ours
    for directory in existing:
        shutil.rmtree(directory)
    pictures = starmap(file_name, product(PLOTS, (None, *METRICS.names), (None, *COSTS, PRICE)))
    for name in ["report.html", *pictures] if existing else ():
        (out / name).unlink(missing_ok=True)


def _check_same(out: Path, existing: Sequence[Path], records: dict[Path, Record]) -> None:
    """Existing runs are fine if they are this plan's and finished: then these need not be run again."""
    found = {directory: Run(directory).record for directory in existing if directory in records}
    other = [d for d in existing if d not in found or found[d]["hash"] != records[d].hash]
    if other:
        raise ScenarioError(
            f"{out} holds results of another scenario ({other[0].name}); "
            f"write --out with another folder, or --replace to discard them"
        )
    for directory, there in found.items():
        if told := record.changed(there["versions"], records[directory].versions):
            raise ScenarioError(
                f"{directory} holds results of this scenario, but of other versions ({told}); write --out with another "
                "folder, or --replace to discard them"
            )
    open_ = [directory for directory in existing if not (directory / SUMMARY).exists()]
    check_idle(open_)
    if open_:
        raise ScenarioError(
            f"{out} holds an unfinished run ({len(existing) - len(open_)} of {len(records)} done); go on with "
            f"`edgesim resume {out}`, or start again with --replace"
        )


def check(plan: Plan) -> None:
    """Make what the plan's runs are made of, once for each variant, so that all that cannot be comes out
    before anything runs.

    Raises ScenarioError with what is wrong with each variant.
    """
    problems = dict[str, None]()
    if any(planned.scenario.stop.perhaps_never for planned in plan.scenarios):
        warn(_PERHAPS_NEVER, EdgesimWarning, stacklevel=2)
    for planned in {planned.variant: planned for planned in plan.scenarios}.values():
        try:
            learning.check(planned.scenario, plan.folder, make_fleet(planned.scenario, plan.folder))
        except ScenarioError as error:
            problems[planned.placed(str(error))] = None
    if problems:
        raise ScenarioError("\n".join(problems))


def unfinished(root: Path) -> list[Path]:
    """The runs in `root` (a run's directory, or a folder of them) that have not ended.

    Raises:
        ScenarioError: there is no run at all.
        RunError: another process is at work on one of them.
    """
    found = run_directories(root)
    if not found:
        raise no_run(root)
    _tidy_finished(found)
    open_ = [directory for directory in found if not (directory / SUMMARY).exists()]
    check_idle(open_)
    return open_


def run_all(directories: Sequence[Path], *, workers: int | str, notify: Notify, asked_to_stop: Asked) -> None:
    """Run directories in this process and so many less one beside it, one thread each, and runs that differ in their
    seeds only together; where a cluster trains, all in this one. `workers` may also be the address of a Ray cluster
    that runs them.

    Workers to spare train one run's clients side by side, where that pays. Their number changes no result.
    Raises the first error once all runs have ended or stopped.
    """
    if isinstance(workers, str):
        from edgesim.scenario import spread  # which runs `run` in its turn

        errors = spread.run_on_cluster(directories, workers, notify, asked_to_stop)
    else:
        clustered = Record.read(directories[0]).scenario.execution.kind == "ray"
        errors = run_side_by_side(run, groups(directories, workers), 1 if clustered else workers, notify, asked_to_stop)
    if errors:
        stopped = [error for error in errors if isinstance(error, Interrupted)]
        raise type((stopped or errors)[0])("\n".join(str(error) for error in stopped or errors))


def run(
    directory: Path,
    *,
    processes: int = 1,
    folder: Path | None = None,
    company: Company | None = None,
    notify: Notify,
    asked_to_stop: Asked,
) -> None:
    """Run, or go on with, the run of one directory, with so many processes to train in, or in company. Paths in its
    scenario count from `folder`, if that is not where it was begun.

    Raises:
        RunError: the run cannot go on, or broke a law; its directory stays unfinished.
        Interrupted: the user asked to stop; partial tables and a checkpoint are written.
    """
    gc.freeze()  # what is there stays: the collector need not look through it again and again
    try:
        _run(directory, processes, folder, company, notify, asked_to_stop)
    except EdgesimError:
        raise
    except (Exception, SystemExit) as error:  # of somebody's own algorithm or model, most likely
        raise RunError(f"{directory}: {mishap.told(error, directory)}") from error
    finally:
        gc.collect()  # parts of a simulation know each other: without this, the next run's would come on top
        gc.unfreeze()


def _run(
    directory: Path, processes: int, folder: Path | None, company: Company | None, notify: Notify, asked_to_stop: Asked
) -> None:  # fmt: skip
    made = Record.read(directory, folder)
    with locked(directory):
        if (directory / SUMMARY).exists():
            return  # another process has finished it meanwhile
        state = checkpoint.load(directory, made.hash)
        simulation = assemble(made.scenario, made.folder, directory, state, processes, company)
        pause = Pause(made, directory, notify, asked_to_stop)
        try:
            if state is None:
                simulation.begin()
            if not simulation.run(pause):
                checkpoint.save(directory, simulation.state(), made.hash)
                simulation.recorder.flush_partial(closing.off_intervals(simulation))
                raise Interrupted(f"{directory}: stopped at {simulation.now_ns / 1e9:g} s of simulated time")
            closing.close(simulation, made)
        except RunError as error:
            raise RunError(f"{directory}: {error}") from error
        finally:
            simulation.learning.close()
        _tidy(directory)
        notify(pause.progress(simulation, done=True))


def _tidy_finished(directories: Sequence[Path]) -> None:
    """Of a run that was killed after its last file the lock is still there, and perhaps a checkpoint."""
    for directory in directories:
        if (directory / SUMMARY).exists() and (directory / LOCK).exists():
            with locked(directory):
                _tidy(directory)


def _tidy(directory: Path) -> None:
    shutil.rmtree(directory / checkpoint.FILE.parent, ignore_errors=True)
    atomic.remove_leftovers(directory)
    (directory / mishap.FILE).unlink(missing_ok=True)
