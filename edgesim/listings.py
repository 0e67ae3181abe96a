"""What there is to choose from: devices, links, algorithms, scenarios, and the schema of scenario files."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from importlib.resources import files
from inspect import getdoc, getmodule
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typing_extensions import Doc

from edgesim import shipped, units
from edgesim.errors import ScenarioError
from edgesim.spelling import advice

if TYPE_CHECKING:
    from edgesim.algorithms.contract import Algorithm
    from edgesim.devices.device import Device
    from edgesim.devices.link import Link

# A pipe has no width of its own: there, tables are as wide as they need.
_out = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def _print(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """A table; its first column, the names one types, is never cut. Headings in `right` are of quantities."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if name in right else "left", no_wrap=i == 0 or name in right)
    made = [tuple(map(escape, row)) for row in rows]
    table.columns[0].min_width = max(len(row[0]) for row in made)
    for row in made:
        table.add_row(*row)
    _out.print(table)


def devices(name: str | None) -> None:
    """The catalogue of devices and links, or one entry with its sources."""
    from edgesim.devices import profiles

    boards, links = profiles.devices(), profiles.links()
    if name is None:
        _list_devices(list(boards.values()))
        _list_links(list(links.values()))
    elif name in boards:
        _show(boards[name], _device_figures(boards[name]))
    elif name in links:
        _show(links[name], _link_figures(links[name]))
    else:
        raise ScenarioError(f"no device or link {name!r} in the catalogue; {advice(name, [*boards, *links])}")


def _list_devices(boards: Sequence["Device"]) -> None:
    header = ("device", "kind", "trains at", "RAM", "idle", "training", "trust")
    rows = (
        (
            board.name,
            board.device_class,
            units.format(board.compute_flops, "compute"),
            units.format(board.ram_bytes, "size"),
            units.format(board.idle_w, "power"),
            units.format(board.training_w, "power"),
            board.confidence,
        )
        for board in boards
    )
    _print(
        "devices (edgesim devices NAME: every figure, its source and how far to trust it)", header, rows, header[2:6]
    )


def _list_links(links: Sequence["Link"]) -> None:
    header = ("link", "down", "up", "latency", "receive", "send", "tail", "trust")
    rows = (
        (
            link.name,
            units.format(link.down_bps, "rate"),
            units.format(link.up_bps, "rate"),
            units.format(link.latency_s, "time"),
            units.format(_three_digits(link.receive_w), "power"),
            units.format(_three_digits(link.send_w), "power"),
            units.format(_three_digits(link.tail_j), "energy"),
            link.confidence,
        )
        for link in links
    )
    _print("links", header, rows, header[1:7])


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def _device_figures(board: "Device") -> Iterator[tuple[str, str]]:
    yield "kind", board.device_class
    yield "trains at", units.format(board.compute_flops, "compute")
    yield "memory bandwidth", units.format(board.bandwidth_bytes_per_s, "bandwidth")
    yield "overhead of a step", units.format(board.step_overhead_s, "time")
    eta = board.sparse_efficiency
    yield "sparse efficiency", f"{eta:g}: a layer of density d below that runs {eta:g} / d times as fast as a dense one"
    usable = units.format(board.memory_bytes, "size")
    yield "RAM", f"{units.format(board.ram_bytes, 'size')}, of which a job may take {board.usable:.0%}: {usable}"
    yield "idle power", units.format(board.idle_w, "power")
    yield "power while training", f"{units.format(board.training_w, 'power')} (whole device)"


def _link_figures(link: "Link") -> Iterator[tuple[str, str]]:
    yield "down", units.format(link.down_bps, "rate")
    yield "up", units.format(link.up_bps, "rate")
    yield "latency", f"{units.format(link.latency_s, 'time')}, once a transfer"
    yield "receiving", f"{units.format(link.receive_w, 'power')} on top of the device's idle power"
    yield "sending", f"{units.format(link.send_w, 'power')} on top of the device's idle power"
    tail = f"{units.format(link.tail_s, 'time')} at {units.format(link.tail_w, 'power')}"
    yield "radio tail", f"{tail}: {units.format(round(link.tail_j, 9), 'energy')} after each transfer"


def _show(entry: "Device | Link", figures: Iterator[tuple[str, str]]) -> None:
    """One entry: figures, sources, and its file, which is the best start for one of your own."""
    _print(entry.name, ("figure", "value"), [*figures, ("confidence", entry.confidence)])
    _lines("sources", *(f"- {source}" for source in entry.sources))
    _lines(f"its file, to copy for one of your own: {files('edgesim.devices') / entry.name}.yaml")


def _lines(*lines: str) -> None:
    """Text as it is, an empty line after it; the terminal folds what is too long, so that copies stay whole."""
    for line in (*lines, ""):
        _out.print(escape(line), soft_wrap=True)


def algorithms(name: str | None) -> None:
    """The built-in algorithms, or one, your own too, with its paper, hyper-parameters and costs."""
    from edgesim.algorithms import registry

    if name is None:
        _print("algorithms (edgesim algorithms NAME: what it does)", ("name", "what it is"), registry.names().items())
        return
    kind = registry.find(name, Path())
    _lines(f"{name}: {kind.summary or getdoc(kind)}", "", getdoc(getmodule(kind)) or "")
    rows = list(_hyper_parameters(kind))
    if rows:
        _print("hyper-parameters", ("name", "default", "meaning"), rows)
    _lines(*_costs(kind))
    _lines(f"schedules: any ({', '.join(_schedules())})")


def _hyper_parameters(kind: "type[Algorithm]") -> Iterator[tuple[str, str, str]]:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        notes = [note.documentation for note in getattr(hints[field.name], "__metadata__", ()) if isinstance(note, Doc)]
        default: Any = field.default_factory() if field.default_factory is not MISSING else field.default
        text = "none" if default is None else str(default)
        yield field.name, "required" if default is MISSING else text, "; ".join(notes)


def _costs(kind: "type[Algorithm]") -> Iterator[str]:
    """What its first job costs, beside dense FedAvg's."""
    from edgesim.algorithms.fedavg import FedAvg
    from edgesim.samplejob import TASK, sample_job

    if any(field.default is MISSING and field.default_factory is MISSING for field in fields(kind)):
        yield "costs: it has required hyper-parameters; edgesim validate and a short run tell"
        return
    job, dense = sample_job(kind()), sample_job(FedAvg())
    yield f"costs of one job ({TASK}; in brackets the share of fedavg's)"
    for what, mine, theirs in (
        ("down", job.down_bytes, dense.down_bytes),
        ("up", job.up_bytes, dense.up_bytes),
        ("peak memory", job.memory_bytes, dense.memory_bytes),
        ("FLOPs", job.flops, dense.flops),
    ):
        unit = "" if what == "FLOPs" else " B"
        yield f"  {what:<12} {mine:>12,.0f}{unit} ({mine / theirs:.0%})"


def _schedules() -> list[str]:
    """The kinds of schedule; no algorithm can refuse one so far."""
    from edgesim.scenario.schedule import Buffered, Sync

    return [str(kind.model_fields["kind"].annotation.__args__[0]) for kind in (Sync, Buffered)]  # type: ignore[union-attr]


def scenarios() -> None:
    """The shipped scenarios: name and first comment line."""
    rows = [(name, _first_comment(path)) for name, path in shipped.scenarios().items()]
    _print("scenarios (edgesim run NAME)", ("name", "what it shows"), rows)


def _first_comment(path: Path) -> str:
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return next((line[2:] for line in lines if "yaml-language-server" not in line), "")


def schema(*, markdown: bool) -> None:
    """The JSON Schema of scenario files, or the page of docs/ that is made from it."""
    from edgesim import reference
    from edgesim.scenario.editor import json_schema

    found = json_schema()
    print(reference.markdown(found) if markdown else json.dumps(found, indent=2), end="" if markdown else "\n")
