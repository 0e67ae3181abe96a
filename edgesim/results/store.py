"""Reading what runs left: one run's directory, or a folder of them."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from edgesim.errors import ScenarioError
from edgesim.results.analysis import report
from edgesim.results.analysis.source import DAMAGED, read, words
from edgesim.results.recorder import SUMMARY

Columns = dict[str, NDArray[Any]]
"""A table: column name → values [row]; words as Python strings, or None, a nullable number as float with NaN."""

SCENARIO = "scenario.yaml"
_METRICS = "metrics.parquet"


def run_directories(root: Path) -> list[Path]:
    """`root` itself if it is a run's directory, else its sub-folders that are, by name."""
    if (root / SCENARIO).is_file():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{SCENARIO}"))


def no_run(root: Path) -> ScenarioError:
    """That a folder holds none, and where there are some; or that there is no such folder."""
    if not root.is_dir():
        return ScenarioError(f"{root}: no such results folder; edgesim run SCENARIO makes one")
    deeper = sorted({str(path.parents[1]) for path in root.glob(f"*/*/{SCENARIO}")})
    there = f"; there are some in {', '.join(deeper)}" if deeper else ""
    return ScenarioError(f"{root}: holds no run (no {SCENARIO} in it or in its sub-folders){there}")


@dataclass(frozen=True)
class Run:
    """One run's directory, finished or not; a table is read from the disk when it is asked for.

    Attributes: path; among, what its label and variant begin with, where runs of other folders are looked at, too.
    """

    path: Path
    among: str = ""

    @cached_property
    def record(self) -> dict[str, Any]:
        """scenario.yaml as it lies there: scenario, hash, label, variant, versions."""
        path = self.path / SCENARIO
        try:
            record = YAML(typ="safe", pure=True).load(path)
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise ScenarioError(f"{path}: cannot be read as a run's scenario; {DAMAGED}") from error
        missing = {"scenario", "label", "variant"} - set(record if isinstance(record, dict) else ())
        if missing:
            raise ScenarioError(f"{path}: no {', '.join(sorted(missing))}; is this a result directory?")
        return dict(record)

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""
        return dict(self.record["scenario"])

    @property
    def label(self) -> str:
        """Tells this run from the others of its sweep."""
        return self.among + str(self.record["label"])

    @property
    def variant(self) -> str:
        """The label without the seed: runs of equal variant are repetitions of one experiment."""
        return self.among + str(self.record["variant"])

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / SUMMARY).is_file()

    @property
    def has_accuracies(self) -> bool:
        """Whether any was measured: not in estimates, where nothing is trained, nor on quadratic problems."""
        return bool(np.isfinite(self.metrics()["accuracy"]).any())

    @cached_property
    def summary(self) -> dict[str, Any] | None:
        """summary.json; None of an unfinished run."""
        if not self.finished:
            return None
        return dict(self._open(SUMMARY, lambda path: json.loads(path.read_text(encoding="utf-8"))))

    @property
    def has_metrics(self) -> bool:
        """Whether there is an evaluation yet; a finished run without a table of them is an error."""
        if not self.finished and not (self.path / _METRICS).is_file():
            return False
        return int(self._open(_METRICS, pq.read_metadata).num_rows) > 0

    def metrics(self) -> Columns:
        """One row for each evaluation (columns.METRICS)."""
        return self._metrics

    def events(self, columns: Sequence[str] | None = None) -> Columns:
        """One row for each stretch of a phase (columns.EVENTS), or only these columns of them."""
        return self._read("events.parquet", columns)

    def event_batches(self, columns: Sequence[str] | None = None, size: int = 65_536) -> Iterator[Any]:
        """The same as Arrow batches of so many rows: of any number of events in little memory."""
        name = "events.parquet"
        with self._open(name, pq.ParquetFile) as file:
            batches = file.iter_batches(size, columns=None if columns is None else list(columns))
            while (batch := self._open(name, lambda _: next(batches, None))) is not None:
                yield batch

    def aggregations(self) -> Columns:
        """One row for each aggregation (columns.AGGREGATIONS)."""
        return self._read("aggregations.parquet")

    def analysis(self) -> dict[str, Any]:
        """What its tables say (analysis.json, docs/results.md); finished runs only."""
        if not self.finished:
            raise ScenarioError(f"{self.path}: {self._advice()}")
        return report.read(self.path)

    def clients(self) -> Columns:
        """One row for each client (columns.CLIENTS); finished runs only."""
        return self._read("clients.parquet")

    def unseen(self) -> Columns | None:
        """One row for each client that is only tested (columns.UNSEEN); None where all may train. Of finished runs."""
        name = "unseen.parquet"
        return self._read(name) if (self.path / name).is_file() else None

    def availability(self) -> Columns | None:
        """The stretches off line (columns.AVAILABILITY); None where the run did not record them."""
        name = "availability.parquet"
        return self._read(name) if (self.path / name).is_file() else None

    @cached_property
    def _metrics(self) -> Columns:
        return self._read(_METRICS)

    def _read(self, name: str, columns: Sequence[str] | None = None) -> Columns:
        wanted = None if columns is None else list(columns)
        table = self._open(name, lambda path: read(path, wanted))
        return {column: _values(table[column]) for column in table.column_names}

    def _open(self, name: str, read: Callable[[Path], Any]) -> Any:
        """What `read` makes of one of the files."""
        path = self.path / name
        if not path.is_file():
            raise ScenarioError(f"{path}: not there; {self._advice()}")
        try:
            return read(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ScenarioError(f"{path}: cannot be read ({error}); {self._advice()}") from error

    def _advice(self) -> str:
        return DAMAGED if self.finished else f"the run is unfinished: edgesim resume {self.path}"


@dataclass(frozen=True)
class Results:
    """The runs of a results folder, or of several. Attributes: path, of the folder, or what those have in common; runs,
    that can be read, folder by folder in the order of their directory names; unreadable, directories of runs that were
    killed before they wrote any metrics."""

    path: Path
    runs: tuple[Run, ...]
    unreadable: tuple[Path, ...] = ()

    @classmethod
    def read(cls, path: Path | str, *more: Path | str) -> "Results":
        """Runs' directories, or folders whose sub-folders are runs; what lies in more than one folder is told apart by
        the folder's name.

        Raises ScenarioError when nothing can be read in one of them, or a run is damaged.
        """
        found = {Path(each): _readable(Path(each)) for each in (path, *more)}
        runs = {run.resolve(): run for readable, _ in found.values() for run in readable}
        among = _names([run.parent for run in runs])
        return cls(
            Path(path) if len(found) == 1 else _above(found),
            tuple(Run(path, among[whole.parent]) for whole, path in runs.items()),
            tuple(folder for _, unreadable in found.values() for folder in unreadable),
        )

    @property
    def name(self) -> str:
        """The names of the scenarios."""
        return ", ".join(dict.fromkeys(str(run.scenario.get("name", self.path.name)) for run in self.runs))

    @property
    def trained(self) -> bool:
        """Whether anything was: not in estimates."""
        return any(run.scenario["execution"]["backend"] != "none" for run in self.runs)

    @property
    def have_accuracies(self) -> bool:
        """Whether any run has."""
        return any(run.has_accuracies for run in self.runs)

    def finished(self) -> "Results":
        """Of these, the runs that came to their end; there may be none."""
        return Results(self.path, tuple(run for run in self.runs if run.finished))

    def variants(self) -> dict[str, list[Run]]:
        """The runs grouped without their seed, in the order in which variants first appear."""
        groups: dict[str, list[Run]] = {}
        for run in self.runs:
            groups.setdefault(run.variant, []).append(run)
        return groups


def _values(column: Any) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        return words(column)
    values: NDArray[Any] = column.to_numpy()
    return values.astype(np.float64) if column.null_count else values


def _readable(path: Path) -> tuple[list[Path], list[Path]]:
    """The runs there with and without metrics."""
    folders = run_directories(path)
    if not folders:
        raise no_run(path)
    readable = [folder for folder in folders if Run(folder).has_metrics]
    if not readable:
        raise ScenarioError(f"{path}: no run in it has metrics yet; resume the unfinished: edgesim resume {folders[0]}")
    return readable, [folder for folder in folders if folder not in readable]


def _above(folders: Iterable[Path]) -> Path:
    """The folder that they have in common; this one, if that is none of the user's."""
    common = Path(os.path.commonpath([each.absolute() for each in folders]))
    return Path() if common == Path(common.anchor) else common


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """What to put before the labels of each folder's runs: nothing if there is one, else as much of its path as tells
    it from the others."""
    different = list(dict.fromkeys(folders))
    if len(different) == 1:
        return {different[0]: ""}
    deepest = max(len(folder.parts) for folder in different)
    for depth in range(1, deepest + 1):
        names = {folder: "/".join(folder.parts[-depth:]) + "/" for folder in different}
        if len(set(names.values())) == len(different):
            return names
    return names
