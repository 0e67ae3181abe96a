"""Groups: runs that differ in their seeds only, worked at in turn in one process, whose clients train together."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from edgesim.errors import EdgesimError
from edgesim.execution.strand import Strand
from edgesim.execution.together import Together
from edgesim.scenario.progress import Asked, Notify
from edgesim.scenario.record import Record
from edgesim.scenario.schema import Scenario

Group: TypeAlias = tuple[Path, ...]
Run: TypeAlias = Callable[..., None]
"""What runs one directory; a function that a worker can import."""

_RUNS, _CLIENTS = 8, 200_000
"""A group has at most so many runs, and clients in all: they are in memory together."""


def groups(directories: Sequence[Path], workers: int) -> list[Group]:
    """The runs that differ in their seeds only and gain by company, in parts that keep so many workers busy; each
    other run for itself."""
    share = -(-len(directories) // workers)
    alike: dict[str, list[Path]] = {}
    most: dict[str, int] = {}
    for directory in directories:
        made = Record.read(directory)
        key = made.variant if _gains(made.scenario) else str(directory)
        alike.setdefault(key, []).append(directory)
        most[key] = max(1, min(_RUNS, share, _CLIENTS // made.scenario.task.clients))
    return [part for key, runs in alike.items() for part in _parts(runs, most[key])]


def _gains(scenario: Scenario) -> bool:
    """Whether cohorts of several runs share stacks (see `together`): what waits to be trained comes near to all that
    are at work at once, under schedules without rounds as well, so it is that of which two must fit."""
    execution = scenario.execution
    stacked = execution.kind == "local" and execution.backend in ("auto", "stacked")
    return stacked and 2 * scenario.schedule.busiest[1] <= execution.cohort


def _parts(runs: Sequence[Path], most: int) -> Iterator[Group]:
    """As few parts as there can be, and as equal."""
    count = -(-len(runs) // most)
    for part in range(count):
        yield tuple(runs[part * len(runs) // count : (part + 1) * len(runs) // count])


def run_group(
    run: Run, group: Group, *, processes: int = 1, notify: Notify, asked_to_stop: Asked
) -> list[EdgesimError]:
    """`run` the directories of a group, in turn wherever one needs what is to be trained; what went wrong.

    An error of one run leaves the others to go on. Any other exception, and Ctrl-C, ends them all where they are.
    """
    together, errors = Together(), list[EdgesimError]()

    def work(directory: Path, strand: Strand) -> None:
        run(
            directory,
            processes=processes,
            company=partial(together.backend, rest=strand.rest) if len(group) > 1 else None,
            notify=notify,
            asked_to_stop=lambda: strand.is_wanted() and asked_to_stop(),
        )

    strands = [Strand(partial(work, directory)) for directory in group]
    try:
        while open_ := [strand for strand in strands if not strand.over]:
            for strand in open_:
                try:
                    strand.go_on()
                except EdgesimError as error:
                    errors.append(error)
            together.train()
    finally:
        for strand in strands:
            strand.abandon()
    return errors
