"""Chunks: rows of a table that grows without end, written to the disk as they fill, so that memory stays flat."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.columns import Column, table

CHUNK_ROWS = 65_536
_SMALL = 2048  # rows


class Chunks:
    """Attributes: name, of the table; parts, chunks on the disk; size, rows a chunk.

    Chunks lie in `folder` as <name>-00000.parquet … until `write` joins them. `names` as in columns.table.
    """

    def __init__(self, folder: Path, name: str, schema: Any, names: Mapping[str, Sequence[str]], size: int) -> None:
        self.name, self.size = name, size
        self.parts = 0
        self._rows: list[tuple[Any, ...]] = []  # the last of those in no chunk on the disk yet
        self._tables: list[Any] = []  # what comes before them
        self._folder, self._schema, self._names = folder, schema, names

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """More rows. Values are checked when their chunk is written, or a checkpoint."""
        self._rows += rows
        if len(self._rows) >= self.size:
            self._spill()

    def add_columns(self, columns: Mapping[str, Column]) -> None:
        """The same, column by column."""
        self._gather()
        self._tables.append(table(columns, self._schema, self._names, self._what))
        self._spill()

    def pending(self) -> Any:
        """The rows that are in no chunk on the disk yet, as one table."""
        self._gather()
        whole = pa.concat_tables(self._tables).combine_chunks() if self._tables else self._schema.empty_table()
        self._tables = [whole]
        return whole

    def pending_rows(self) -> list[tuple[Any, ...]]:
        """The same as plain data, words as such."""
        return list(zip(*(column.to_pylist() for column in self.pending().columns), strict=True))

    def restore(self, parts: int, rows: Sequence[Sequence[Any]]) -> None:
        """Be as with so many chunks on the disk and these rows; later chunks are removed. RunError if one is gone."""
        self.parts = parts
        self._rows = [tuple(row) for row in rows]  # they may have been through a format without tuples
        self._tables = []
        gone = [self._part(i).name for i in range(self.parts) if not self._part(i).exists()]
        if gone:
            raise RunError(f"{self._folder}: {', '.join(gone)} missing; the run must be started again")
        self.drop(after=self.parts)

    def drop(self, after: int = 0) -> None:
        """Remove all chunks but the first so many."""
        keep = {self._part(index) for index in range(after)}
        for part in self._folder.glob(f"{self.name}-*.parquet"):
            if part not in keep:
                part.unlink()

    def write(self, path: Path) -> None:
        """All rows as one file, at once where it belongs: see `atomic.replace_all`."""
        pending = self.pending()
        rows = self.parts * self.size + len(pending)
        with pq.ParquetWriter(path, self._schema, **_options(self._schema, rows)) as file:
            for index in range(self.parts):  # one row group a chunk, so that bytes do not depend on stops
                file.write_table(_read(self._part(index)), row_group_size=self.size)
            file.write_table(pending, row_group_size=self.size)

    def _spill(self) -> None:
        """Write the chunks that are full."""
        if len(self._rows) + sum(len(piece) for piece in self._tables) < self.size:
            return
        whole = self.pending()
        full = len(whole) // self.size
        for number in range(full):
            with atomic.replacing(self._part(self.parts)) as path:
                write(whole.slice(number * self.size, self.size), path)
            self.parts += 1
        self._tables = [whole.slice(full * self.size)]

    def _gather(self) -> None:
        """Let no row stand by itself."""
        if self._rows:
            self._tables.append(self._table(self._rows))
            self._rows = []

    def _part(self, index: int) -> Path:
        return self._folder / f"{self.name}-{index:05d}.parquet"

    def _table(self, rows: Sequence[tuple[Any, ...]]) -> Any:
        schema = self._schema
        try:
            named = dict(zip(schema.names, zip(*rows, strict=True), strict=True))
        except ValueError as error:
            raise RunError(f"{self.name}: a row has not the {len(schema)} columns {schema.names}") from error
        return table(named, schema, self._names, self._what)

    @property
    def _what(self) -> str:
        return f"{self._folder.parent}: {self.name}"


def write(content: Any, path: Path) -> None:
    """A table as one file."""
    pq.write_table(content, path, row_group_size=CHUNK_ROWS, **_options(content.schema, len(content)))


def _options(schema: Any, rows: int) -> dict[str, Any]:
    """Words by their numbers, numbers as they are: half the bytes of what Arrow does by itself, in three quarters of
    the time. What zstd costs a column is worth its smaller files from some thousand rows on."""
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return {"compression": "zstd" if rows > _SMALL else "snappy", "use_dictionary": words or False}


_read: Callable[[Path], Any] = pq.read_table
