"""Verifying: directories in which runs that are finished can be run once more, as they would be begun today."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edgesim.errors import RunError
from edgesim.results.store import SCENARIO, Run
from edgesim.scenario.loading import restore, scenario_hash
from edgesim.scenario.record import Record, changed, versions


class Again(NamedTuple):
    """Attributes: directory, of the finished run; anew, to run it in; versions, what they are other than then."""

    directory: Path
    anew: Path
    versions: str


@contextmanager
def again(directories: Sequence[Path]) -> Iterator[list[Again]]:
    """For each finished run a directory that has only its scenario, gone afterwards.

    Raises RunError for a scenario that was changed after its run.
    """
    with tempfile.TemporaryDirectory(prefix="edgesim-") as root:
        made = []
        for number, directory in enumerate(directories):
            there = Run(directory).record
            folder = Path(there["folder"])
            scenario = restore(directory / SCENARIO, folder)
            if scenario_hash(scenario) != there["hash"]:
                raise RunError(f"{directory / SCENARIO}: another scenario than was run; put back what it was")
            now = versions(scenario, folder)
            anew = Path(root) / str(number) / directory.name
            anew.mkdir(parents=True)
            Record(
                scenario=scenario, hash=there["hash"], label=there["label"], variant=there["variant"], folder=folder,
                versions=now,
            ).write(anew)  # fmt: skip
            made.append(Again(directory, anew, changed(there["versions"], now)))
        yield made
