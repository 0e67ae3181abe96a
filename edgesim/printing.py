"""Printing: tables and texts of the listings, whole in a narrow terminal too."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# A pipe has no width of its own: there, tables are as wide as they need.
out = Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """A table; its first column, the names one types, is never cut. Headings in `right` are of quantities."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, name in enumerate(header):
        made.add_column(name, justify="right" if name in right else "left", no_wrap=i == 0 or name in right)
    cells = [tuple(map(escape, row)) for row in rows]
    made.columns[0].min_width = max(len(row[0]) for row in cells)
    for row in cells:
        made.add_row(*row)
    out.print(made)


def lines(*texts: str) -> None:
    """Text as it is, an empty line after it; the terminal folds what is too long, so that copies stay whole."""
    for text in (*texts, ""):
        out.print(escape(text), soft_wrap=True)
