"""Where an analysis finds the tables of its run: in the run's files, or in memory where they have just been written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from edgesim.errors import ScenarioError
from edgesim.results.columns import ADDED

Table = dict[str, NDArray[Any]]

DAMAGED = "the directory is damaged; delete it, then `edgesim run` makes just this run of its scenario anew"
"""What to do about a finished run whose files are not all there, or cannot be read."""


class Source(Protocol):
    """The tables of one run."""

    def has(self, name: str) -> bool:
        """Whether there is such a table."""
        ...

    def table(self, name: str, columns: Sequence[str]) -> Table:
        """Some columns of a table; words as such. ScenarioError where it is missing or damaged."""
        ...

    def events(self, columns: Sequence[str], size: int) -> Iterator[Any]:
        """The rows of events.parquet as Arrow batches of so many; errors as of `table`."""
        ...


def read(path: Path, columns: Sequence[str] | None = None) -> Any:
    """The file of a table, or these columns of it; what a run of an earlier version lacks, as columns.ADDED says."""
    file, added = pq.read_metadata(path), ADDED.get(path.stem, {})
    lacking = [name for name in columns or added if name in added and name not in file.schema.names]
    wanted = None if columns is None else [name for name in columns if name not in lacking]
    table = pq.read_table(path, columns=wanted)
    for name in lacking:
        value, kind = added[name]
        table = table.append_column(name, pa.array([value] * file.num_rows, kind))
    return table


@dataclass(frozen=True)
class Files(Source):
    """A run's directory."""

    directory: Path

    def has(self, name: str) -> bool:
        return self._path(name).is_file()

    def table(self, name: str, columns: Sequence[str]) -> Table:
        try:
            table = read(self._path(name), list(columns))
        except (OSError, pa.ArrowException) as error:
            raise ScenarioError(f"{self._path(name)}: cannot be read ({error}); {DAMAGED}") from error
        return _arrays(table, columns)

    def events(self, columns: Sequence[str], size: int) -> Iterator[Any]:
        path = self._path("events")
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(size, columns=list(columns))
        except (OSError, pa.ArrowException) as error:
            raise ScenarioError(f"{path}: cannot be read ({error}); {DAMAGED}") from error

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.parquet"


@dataclass(frozen=True)
class Held(Source):
    """Arrow tables by name."""

    tables: Mapping[str, Any]

    def has(self, name: str) -> bool:
        return name in self.tables

    def table(self, name: str, columns: Sequence[str]) -> Table:
        return _arrays(self.tables[name], columns)

    def events(self, columns: Sequence[str], size: int) -> Iterator[Any]:
        yield from self.tables["events"].select(list(columns)).to_batches(size)


def words(column: Any) -> NDArray[Any]:
    """A column of words as Python's own strings, or None [row]."""
    parts = [_words(chunk) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, object)


def _words(chunk: Any) -> NDArray[Any]:
    known = np.array([*chunk.dictionary.to_pylist(), None], object)
    found: NDArray[Any] = known[chunk.indices.fill_null(len(known) - 1).to_numpy()]
    return found


def _arrays(table: Any, columns: Sequence[str]) -> Table:
    return {column: _values(table[column]) for column in columns}


def _values(column: Any) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        return words(column)
    if column.null_count:  # of the jobs of aggregations
        column = column.fill_null(-1)
    values: NDArray[Any] = column.to_numpy()
    return values
