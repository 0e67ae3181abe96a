"""What there is to choose from: devices, links, algorithms, scenarios, and the schema of scenario files."""

import json
from collections.abc import Sequence
from dataclasses import fields
from inspect import getdoc, getmodule
from pathlib import Path
from typing import get_type_hints

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typing_extensions import Doc

from edgesim import shipped, units
from edgesim.errors import ScenarioError
from edgesim.spelling import advice

_out = Console()


def _print(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(escape, row))
    _out.print(table)


def devices(name: str | None) -> None:
    """The catalogue of devices and links, or one entry with its sources."""
    from edgesim.devices import profiles

    boards, links = profiles.devices(), profiles.links()
    if name is not None:
        if name not in {**boards, **links}:
            raise ScenarioError(f"no device or link {name!r} in the catalogue; {advice(name, [*boards, *links])}")
        _print(
            name,
            ("figure", "value"),
            [(key, str(value)) for key, value in vars({**boards, **links}[name]).items()],
        )
        return
    _print(
        "devices",
        ("name", "class", "training", "RAM", "idle", "training power", "confidence"),
        [
            (
                board.name,
                board.device_class,
                units.format(board.compute_flops, "compute"),
                units.format(board.ram_bytes, "size"),
                units.format(board.idle_w, "power"),
                units.format(board.training_w, "power"),
                board.confidence,
            )
            for board in boards.values()
        ],
    )
    _print(
        "links",
        ("name", "down", "up", "latency", "confidence"),
        [
            (
                link.name,
                units.format(link.down_bps, "rate"),
                units.format(link.up_bps, "rate"),
                units.format(link.latency_s, "time"),
                link.confidence,
            )
            for link in links.values()
        ],
    )


def algorithms(name: str | None) -> None:
    """The built-in algorithms, or one with its paper and hyper-parameters."""
    from edgesim.algorithms import registry

    if name is None:
        _print("algorithms", ("name", "what it is"), list(registry.names().items()))
        return
    kind = registry.find(name, Path())
    _out.print(escape(f"{name}: {getdoc(kind)}\n\n{getdoc(getmodule(kind))}\n"), highlight=False)
    hints = get_type_hints(kind, include_extras=True)
    rows = []
    for field in fields(kind):
        notes = [note.documentation for note in getattr(hints[field.name], "__metadata__", ()) if isinstance(note, Doc)]
        rows.append((field.name, str(field.default), *notes))
    _print("hyper-parameters", ("name", "default", "meaning"), rows)


def scenarios() -> None:
    """The shipped scenarios: name and first comment line."""
    rows = [(name, _first_comment(path)) for name, path in shipped.scenarios().items()]
    _print("scenarios (edgesim run NAME)", ("name", "what it shows"), rows)


def _first_comment(path: Path) -> str:
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return next((line[2:] for line in lines if "yaml-language-server" not in line), "")


def schema() -> None:
    """The JSON Schema of scenario files."""
    from edgesim.scenario.editor import json_schema

    print(json.dumps(json_schema(), indent=2))
