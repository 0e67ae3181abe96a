"""Hardware: the catalogue of devices and links, the user's own, and one of them with its sources."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from edgesim import printing, units
from edgesim.devices import profiles
from edgesim.devices.device import Device
from edgesim.devices.levels import power_w
from edgesim.devices.link import Link
from edgesim.devices.traits import Traits
from edgesim.errors import ScenarioError
from edgesim.referencestep import WHAT, reference_step
from edgesim.spelling import advice


def devices(name: str | None, folder: Path | None, fleet: Path | None, out: Path | None) -> None:
    """What `edgesim devices` was asked for.

    Raises:
        ScenarioError: options that do not go together, and what `show` and `fleetview.show` raise.
    """
    if out is not None and fleet is None:
        raise ScenarioError("--out: only --fleet draws a picture; add --fleet SCENARIO")
    if fleet is None:
        show(name, folder)
    elif name is not None or folder is not None:
        raise ScenarioError("--fleet shows a scenario's fleet; leave out the name and --folder")
    else:
        from edgesim import fleetview

        fleetview.show(fleet, out)


def show(name: str | None, folder: Path | None = None) -> None:
    """All devices and links, or one with its sources; of the catalogue, or of a folder of the user's own.

    Raises:
        ScenarioError: no such name; the folder has no profiles, or some with mistakes.
    """
    boards, links = (profiles.devices(), profiles.links()) if folder is None else profiles.read_folder(folder)
    if name is None:
        _list_devices(list(boards.values()))
        _list_links(list(links.values()))
    elif name in boards:
        _show(boards[name], _device_figures(boards[name]), _file(name, folder))
    elif name in links:
        _show(links[name], _link_figures(links[name]), _file(name, folder))
    else:
        place = "the catalogue" if folder is None else str(folder)
        raise ScenarioError(f"no device or link {name!r} in {place}; {advice(name, [*boards, *links])}")


def _list_devices(boards: Sequence[Device]) -> None:
    header = ("device", "kind", "trains at", "RAM", "a step", "energy", "trust")
    rows = (
        (
            board.name,
            board.device_class,
            units.short(board.compute_flops, "compute"),
            units.format(board.ram_bytes, "size"),
            *_step(board),
            board.confidence,
        )
        for board in boards
    )
    title = f"devices; a step is {WHAT}\n(edgesim devices NAME: every figure, its source and how far to trust it)"
    if boards:
        printing.table(title, header, rows, header[2:6])


def _step(board: Device) -> tuple[str, str]:
    step = reference_step(board)
    return ("no room", "") if step is None else (units.short(step.time_s, "time"), units.short(step.energy_j, "energy"))


def _list_links(links: Sequence[Link]) -> None:
    header = ("link", "down", "up", "latency", "send", "tail", "trust")
    rows = (
        (
            link.name,
            units.short(link.down_bps, "rate"),
            units.short(link.up_bps, "rate"),
            units.short(link.latency_s, "time"),
            units.short(link.send_w, "power"),
            units.short(link.tail_j, "energy"),
            link.confidence,
        )
        for link in links
    )
    if links:
        printing.table("links", header, rows, header[1:6])


def _device_figures(board: Device) -> Iterator[tuple[str, str]]:
    yield "kind", board.device_class if board.year is None else f"{board.device_class}, {board.year}"
    yield "trains at", units.format(board.compute_flops, "compute") + _spread(board.compute_sigma)
    yield "memory bandwidth", units.format(board.bandwidth_bytes_per_s, "bandwidth")
    yield "overhead of a step", units.format(board.step_overhead_s, "time")
    eta = board.sparse_efficiency
    yield "sparse efficiency", f"{eta:g}: a layer of density d below that runs {eta:g} / d times as fast as a dense one"
    yield from _traits_figures(board.traits) if board.traits else ()
    usable = units.short(board.memory_bytes, "size")
    yield "RAM", f"{units.format(board.ram_bytes, 'size')}, of which a job may take {board.usable:.0%}: {usable}"
    yield "idle power", units.format(board.idle_w, "power")
    yield "power while training", f"{units.format(board.training_w, 'power')} (whole device)"
    if board.levels:
        yield "levels", _levels(board)
    if board.battery_j is not None:
        yield "battery", units.format(board.battery_j, "energy")
    step = reference_step(board)
    took = "does not fit into its memory" if step is None else " and ".join(_step(board))
    yield "reference step", f"{took} ({WHAT})"


def _traits_figures(traits: Traits) -> Iterator[tuple[str, str]]:
    if traits.convolution_flops is not None:
        yield "convolutions at", units.format(traits.convolution_flops, "compute")
    if traits.activation_bandwidth is not None:
        yield "activations at", units.format(traits.activation_bandwidth, "bandwidth")
    if traits.convolution_bandwidth is not None:
        yield "convolution weights at", units.format(traits.convolution_bandwidth, "bandwidth")
    if traits.layer_overhead_s:
        yield "overhead of a layer", units.format(traits.layer_overhead_s, "time")
    if not traits.overlap:
        yield "memory traffic", "adds to the arithmetic, as operators run one after the other"
    if traits.sparse_curve:
        points = (f"{speedup:.3g} at {density:.0%}" for density, speedup in traits.sparse_curve)
        yield "sparse layers", f"measured, times as fast as dense at a density: {', '.join(points)}"
    if traits.burst > 1:
        yield "burst", f"{traits.burst:g} times as fast in the first {units.format(traits.burst_s, 'time')} of a job"


def _levels(board: Device) -> str:
    powers = ((level, power_w(board.idle_w, board.training_w, level)) for level in board.levels)
    return ", ".join(f"{level.frequency:.0%} of the clock: {units.short(watts, 'power')}" for level, watts in powers)


def _spread(sigma: float) -> str:
    return f" (median; units differ by exp(N(0, {sigma:g})))" if sigma else ""


def _link_figures(link: Link) -> Iterator[tuple[str, str]]:
    yield "down", units.format(link.down_bps, "rate") + _spread(link.down_sigma)
    yield "up", units.format(link.up_bps, "rate") + _spread(link.up_sigma)
    if link.correlation:
        yield "correlation", f"{link.correlation:g}, of the logarithms of both rates"
    yield "latency", f"{units.format(link.latency_s, 'time')}, once a transfer{_spread(link.latency_sigma)}"
    yield "receiving", f"{units.format(link.receive_w, 'power')} on top of the device's idle power"
    yield "sending", f"{units.format(link.send_w, 'power')} on top of the device's idle power"
    tail = f"{units.format(link.tail_s, 'time')} at {units.format(link.tail_w, 'power')}"
    yield "radio tail", f"{tail}: {units.format(round(link.tail_j, 9), 'energy')} after each transfer"
    if link.promotion_s:
        yield "waking", f"{units.format(link.promotion_s, 'time')} more, once a transfer that begins after the tail"


def calibrate(out: Path, watts: str | None, threads: int | None, family: str) -> None:
    """Measure this machine, write its profile and show it.

    Raises:
        ScenarioError: as `board.calibrate` does.
    """
    from edgesim.calibration import board

    def say(text: str) -> None:
        print(f"measuring: {text}", file=sys.stderr)

    found = board.calibrate(out, watts=watts, threads=threads or os.cpu_count() or 1, family=family, say=say)
    _show(found, _device_figures(found), out)


def _show(entry: Device | Link, figures: Iterable[tuple[str, str]], file: Path) -> None:
    """One entry: figures, sources, and its file, which is the best start for one of your own."""
    printing.table(entry.name, ("figure", "value"), [*figures, ("confidence", entry.confidence)])
    printing.lines("sources", *(f"- {source}" for source in entry.sources))
    printing.lines(f"its file, to copy for one of your own: {file}")


def _file(name: str, folder: Path | None) -> Path:
    return (Path(str(files("edgesim.devices"))) if folder is None else folder) / f"{name}.yaml"
