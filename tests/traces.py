"""A trace read back as Perfetto does it, and strictly: what it would drop or bind elsewhere is an error here."""

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

COLOURS = {
    "rail_response", "rail_load", "thread_state_iowait", "terrible", "bad", "grey", "black", "generic_work", "olive",
}  # fmt: skip
"""Of those that chrome://tracing has by name; others are an error there."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Attributes: process and track by their names."""

    process: str
    track: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    told: dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """Attributes: arrows, (kind, from, to); levels, curve → (time, value)."""

    pieces: list[Piece]
    arrows: list[tuple[str, Piece, Piece]]
    levels: dict[str, list[tuple[int, float]]]

    def of(self, *kinds: str) -> list[Piece]:
        """Pieces of these kinds."""
        return [piece for piece in self.pieces if piece.kind in kinds]

    def ends(self, kind: str) -> list[tuple[Piece, Piece]]:
        """Where the arrows of a kind begin and end."""
        return [(start, end) for name, start, end in self.arrows if name == kind]


def read(path: Path) -> Trace:
    """What a file shows."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    document = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    assert set(document) == {"traceEvents", "otherData"}
    events: list[dict[str, Any]] = document["traceEvents"]
    names = _names(events)
    pieces, arrows = _played(events, names)
    _follow_each_other(pieces)
    levels: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if event["ph"] == "C":
            ((unit, value),) = event["args"].items()
            levels.setdefault(f"{event['name']} {unit}", []).append((_ns(event["ts"]), float(value)))
    return Trace(pieces, arrows, levels)


def _names(events: list[dict[str, Any]]) -> dict[tuple[int, int], tuple[str, str]]:
    """(process, thread) → their names. Each has one, and a place."""
    told: dict[str, dict[Any, Any]] = {}
    for event in events:
        if event["ph"] == "M":
            ((key, value),) = event["args"].items()
            who = event["pid"] if event["name"].startswith("process") else (event["pid"], event["tid"])
            assert key == ("name" if event["name"].endswith("name") else "sort_index")
            assert who not in told.setdefault(event["name"], {})
            told[event["name"]][who] = value
    processes, threads = told["process_name"], told["thread_name"]
    assert processes.keys() == told["process_sort_index"].keys()
    assert threads.keys() == told["thread_sort_index"].keys()
    assert len(set(processes.values())) == len(processes)
    numbers = Counter([*processes, *(thread for _, thread in threads)])
    assert set(numbers.values()) == {1}, "Perfetto needs numbers that are unique among processes and threads"
    assert 0 not in numbers
    assert {(event["pid"], event["tid"]) for event in events} <= threads.keys()
    return {(process, thread): (processes[process], name) for (process, thread), name in threads.items()}


def _played(
    events: list[dict[str, Any]], names: dict[tuple[int, int], tuple[str, str]]
) -> tuple[list[Piece], list[tuple[str, Piece, Piece]]]:
    """In the order of time and, at one instant, of the file; an end of an arrow is at the piece that began last."""
    pieces, arrows = [], []
    latest: dict[tuple[int, int], Piece] = {}
    begun: dict[int, tuple[str, Piece]] = {}
    numbers = [event["id"] for event in events if event["ph"] == "s"]
    assert len(numbers) == len(set(numbers))
    for event in sorted((event for event in events if event["ph"] != "M"), key=lambda event: event["ts"]):
        track, at_ns = (event["pid"], event["tid"]), _ns(event["ts"])
        if event["ph"] == "X":
            assert set(event) == {"ph", "name", "ts", "pid", "tid", "dur", "cat", "cname", "args"}
            assert event["cname"] in COLOURS
            end_ns = at_ns + _ns(event["dur"])
            latest[track] = Piece(*names[track], event["name"], event["cat"], at_ns, end_ns, event["args"])
            pieces.append(latest[track])
            continue
        if event["ph"] == "C":
            continue
        assert set(event) - {"bp"} == {"ph", "name", "ts", "pid", "tid", "cat", "id"}
        here = latest[track]
        assert here.start_ns <= at_ns < max(here.end_ns, here.start_ns + 1)
        if event["ph"] == "s":
            begun[event["id"]] = event["name"], here
        else:
            assert (event["ph"], event["bp"]) == ("f", "e")
            kind, start = begun.pop(event["id"])
            assert kind == event["name"] == event["cat"]
            assert start.start_ns <= here.start_ns, "Perfetto would turn it round"
            arrows.append((kind, start, here))
    assert not begun
    return pieces, arrows


def _follow_each_other(pieces: list[Piece]) -> None:
    tracks: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        assert piece.start_ns <= piece.end_ns
        tracks.setdefault((piece.process, piece.track), []).append(piece)
    for mine in tracks.values():
        mine.sort(key=lambda piece: (piece.start_ns, piece.end_ns))
        assert all(one.end_ns <= other.start_ns for one, other in pairwise(mine))


def _ns(us: Decimal | int) -> int:
    ns = 1000 * us
    assert ns == int(ns)
    return int(ns)


def _refuse(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")
