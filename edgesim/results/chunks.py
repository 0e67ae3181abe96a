"""Chunks: rows of a table that grows without end, written to the disk as they fill, so that memory stays flat."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edgesim.errors import RunError
from edgesim.results import atomic
from edgesim.results.columns import table

CHUNK_ROWS = 65_536


class Chunks:
    """Attributes: name, of the table; rows, those that are in no chunk on the disk yet; parts, chunks on the disk;
    size, rows a chunk.

    Chunks lie in `folder` as <name>-00000.parquet … until `write` joins them. `names` as in columns.table.
    """

    def __init__(self, folder: Path, name: str, schema: Any, names: Mapping[str, Sequence[str]], size: int) -> None:
        self.name, self.size = name, size
        self.rows: list[tuple[Any, ...]] = []
        self.parts = 0
        self._folder, self._schema, self._names = folder, schema, names

    def add(self, row: tuple[Any, ...]) -> None:
        """One more row. Values are checked when its chunk is written."""
        self.rows.append(row)
        self.spill()

    def spill(self) -> None:
        """Write the chunks that are full."""
        while len(self.rows) >= self.size:
            write(self._part(self.parts), self._table(self.rows[: self.size]))
            self.parts += 1
            del self.rows[: self.size]

    def restore(self, parts: int, rows: Sequence[Sequence[Any]]) -> None:
        """Be as with so many chunks on the disk and these rows; later chunks are removed. RunError if one is gone."""
        self.parts = parts
        self.rows = [tuple(row) for row in rows]  # they may have been through a format without tuples
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
        """All rows as one file."""
        with atomic.replacing(path) as temporary, pq.ParquetWriter(temporary, self._schema, compression="zstd") as file:
            for index in range(self.parts):  # one row group a chunk, so that bytes do not depend on stops
                file.write_table(_read(self._part(index)), row_group_size=self.size)
            file.write_table(self._table(self.rows), row_group_size=self.size)

    def _part(self, index: int) -> Path:
        return self._folder / f"{self.name}-{index:05d}.parquet"

    def _table(self, rows: Sequence[tuple[Any, ...]]) -> Any:
        schema = self._schema
        try:
            columns = list(zip(*rows, strict=True)) or [()] * len(schema)
            named = dict(zip(schema.names, columns, strict=True))
        except ValueError as error:
            raise RunError(f"{self.name}: a row has not the {len(schema)} columns {schema.names}") from error
        return table(named, schema, self._names, f"{self._folder.parent}: {self.name}")


def write(path: Path, content: Any) -> None:
    """Replace `path` by a table."""
    with atomic.replacing(path) as temporary:
        pq.write_table(content, temporary, compression="zstd", row_group_size=CHUNK_ROWS)


_read: Callable[[Path], Any] = pq.read_table
