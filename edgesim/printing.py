"""Printing: tables and texts of the listings, whole in a narrow terminal too."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgesim.folding import fold

# A pipe has no width of its own: there, tables are as wide as they need.
out = Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False)

_GAP = 2  # letters between columns, and at both edges together
_LEAST = 20  # letters of a name, before it is folded for the sake of figures


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


def figures(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> None:
    """A table whose first `names` columns say what the figures in the others are of.

    No figure is cut: names that are too long for the terminal are folded, those of the first column only where they
    change, and figures that there is no room for beside the names stand in a table of their own below.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    beside_one = (out.width - _GAP - max(widths[names:]) - _GAP) // names - _GAP  # room of a name, if it must be
    folded = [min(width, max(1, min(beside_one, max(_LEAST, out.width // 4)))) for width in widths[:names]]
    room = out.width - _GAP - sum(width + _GAP for width in folded)
    for number, part in enumerate(_parts(range(names, len(header)), widths, room)):
        spare = room - sum(widths[column] + _GAP for column in part)
        first = max(folded[0], min(widths[0], folded[0] + spare))
        made = Table(title=f"{title}, continued" if number else title, title_justify="left", box=box.SIMPLE_HEAD)
        made.pad_edge, made.padding = False, (0, 1, 0, 0)
        for column in (*range(names), *part):
            made.add_column(header[column], justify="left" if column < names else "right", no_wrap=True)
        above: Sequence[str] = ()
        for row in rows:
            whose = ["\n".join(fold(name, width)) for name, width in zip(row, (first, *folded[1:]), strict=False)]
            if row[:1] == above[:1] and "\n" in whose[0]:
                whose[0] = ""
            made.add_row(*map(escape, [*whose, *(row[column] for column in part)]))
            above = row
        out.print(made)


def _parts(columns: Sequence[int], widths: Sequence[int], room: int) -> list[list[int]]:
    """The columns in order, as many together as there is room for, at least one."""
    parts: list[list[int]] = [[]]
    for column in columns:
        if parts[-1] and sum(widths[other] + _GAP for other in (*parts[-1], column)) > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def lines(*texts: str) -> None:
    """Text as it is, an empty line after it; the terminal folds what is too long, so that copies stay whole."""
    for text in (*texts, ""):
        out.print(escape(text), soft_wrap=True)
