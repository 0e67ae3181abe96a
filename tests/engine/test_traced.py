"""A trace of whatever world: it shows all that was recorded, and its arrows are what the server did."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from test_every_world import SCHEDULES, World, build, worlds
from traces import Piece, Trace, read

from edgesim.engine.learning import Received
from edgesim.results.columns import PHASES
from edgesim.results.store import Run
from edgesim.results.trace import format
from edgesim.results.trace.drawing import Window, lines
from edgesim.scenario.closing import off_intervals

IN_DOUBT = ("tiered", "hierarchical", "hierarchical-async", "gossip-async")
"""Schedules under which the tables do not say which update went where."""


def simulated(folder: Path, name: str, world: World) -> tuple[Run, list[list[Received]]]:
    """A run, and the updates of each version of the server's model."""
    simulation, learning = build(folder, name, world)
    simulation.begin()
    simulation.run()
    simulation.finish()
    kind, _, mode = name.partition("-")
    scenario = {"schedule": {"kind": kind, "mode": mode or "sync"}}
    (folder / "scenario.yaml").write_text(json.dumps({"label": name, "variant": name, "scenario": scenario}))
    simulation.recorder.flush_partial(off_intervals(simulation))
    made = zip(learning.aggregations, learning.mergings, strict=True)
    return Run(folder), [received for received, merging in made if merging is None or not merging.is_local]


@pytest.mark.parametrize("name", SCHEDULES)
@given(worlds)
@settings(max_examples=6)
def test_a_trace_shows_all_that_was_recorded_and_what_the_server_did(name: str, world: World) -> None:
    with TemporaryDirectory() as path:
        run, merged = simulated(Path(path), name, world)
        if len(run.events()["job"]):
            format.write(run.path / "trace.json", lines(run, Window()), {})
            trace = read(run.path / "trace.json")
            check_stretches(run, trace)
            check_days(run, trace)
            check_arrows(trace, name, merged)


def check_stretches(run: Run, trace: Trace) -> None:
    """They are the rows of events.parquet."""
    rows = run.events()
    told = [
        (stretch.told["job"], stretch.kind, stretch.start_ns, stretch.end_ns, stretch.told["outcome"],
         stretch.told["bytes"], float(stretch.told["energy_j"]), stretch.process, stretch.track)
        for stretch in trace.of(*PHASES)
    ]  # fmt: skip
    names = ("job", "phase", "start_ns", "end_ns", "outcome", "bytes", "energy_j", "device_class")
    wanted = zip(*(rows[name].tolist() for name in names), strict=True)
    clients = [f"client {client}" for client in rows["client"].tolist()]
    assert sorted(told) == sorted((*row, client) for row, client in zip(wanted, clients, strict=True))


def check_days(run: Run, trace: Trace) -> None:
    """A job's time is stretches, waiting and absence without a gap, and a client's absence is all in its track."""
    away = run.availability()
    assert away is not None
    off_ns: dict[str, int] = defaultdict(int)
    for client, start_ns, end_ns in zip(
        *(away[name].tolist() for name in ("client", "start_ns", "end_ns")), strict=True
    ):
        off_ns[f"client {client}"] += end_ns - start_ns
    tracks: dict[str, list[Piece]] = defaultdict(list)
    for piece in trace.of(*PHASES, "waiting", "off line", "no charge"):
        tracks[piece.track].append(piece)
    for client, pieces in tracks.items():
        absent = [piece for piece in pieces if piece.kind in ("off line", "no charge")]
        assert sum(piece.end_ns - piece.start_ns for piece in absent) == off_ns[client]
        pieces.sort(key=lambda piece: (piece.start_ns, piece.end_ns))
        numbers = [piece.told.get("job") for piece in pieces]
        for job in {number for number in numbers if number is not None}:
            mine = pieces[numbers.index(job) : len(numbers) - numbers[::-1].index(job)]
            assert all(one.end_ns == other.start_ns for one, other in pairwise(mine))


def check_arrows(trace: Trace, name: str, merged: list[list[Received]]) -> None:
    aggregations = {piece.name: piece for piece in trace.of("aggregation")}
    assert sum(int(piece.told["updates"]) for piece in aggregations.values()) == sum(map(len, merged)) or "hier" in name
    taken: dict[int, Piece] = {}
    for piece in aggregations.values():
        first, _, last = str(piece.told["version"]).partition(" to ")
        for version in range(int(first), int(last or first) + 1):
            taken |= {update.job: piece for update in merged[version - 1]}
    updates = {start.told["job"]: end for start, end in trace.ends("update")}
    assert updates == ({} if name in IN_DOUBT else taken), sorted(taken.keys() ^ updates.keys())
    for start, end in trace.ends("closes"):
        assert start.told["job"] not in updates or updates[start.told["job"]] is not end
        assert start.end_ns <= end.start_ns
    for start, end in trace.ends("model"):
        first, _, last = str(start.told["version"]).partition(" to ")
        assert int(first) <= end.told["version"] <= int(last or first)
        assert start.end_ns <= end.start_ns
