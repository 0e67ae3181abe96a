"""The house stands on its floors: a room knows the rooms below it and no others, none of what simulates reads the
host's clock or its randomness."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {name: ROOT / name for name in ("devices", "algorithms", "plots")} | {
    name: ROOT / "edgesim" / name for name in ("learning", "engine", "execution", "results", "calibration", "scenario")
}
BELOW = {
    "devices": set[str](),
    "learning": {"devices"},
    "calibration": {"devices", "learning"},
    "algorithms": {"devices", "learning"},
    "engine": {"devices"},
    "results": {"devices", "engine"},
    "execution": {"devices", "learning", "algorithms", "engine", "results"},
    "plots": {"devices", "results"},
    "scenario": {"devices", "learning", "algorithms", "engine", "results", "execution", "plots"},
}
STRANGERS = {
    "devices": {"torch", "simpy", "matplotlib", "pyarrow"},
    "learning": {"simpy", "matplotlib", "pyarrow"},
    "algorithms": {"simpy", "matplotlib", "pyarrow"},
    "engine": {"torch", "matplotlib", "pyarrow"},
    "results": {"torch", "simpy", "matplotlib"},
    "plots": {"torch", "simpy", "pyarrow"},
}
SIMULATING = ("devices", "learning", "algorithms", "engine", "results", "execution")
OF_THE_HOST = {"time", "random", "secrets", "uuid"}


def imported(room: str) -> Iterator[tuple[str, str]]:
    """Every name that a room imports, within functions, too, and where."""
    files = sorted(FOLDERS[room].rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, f"{path}:{node.lineno}") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((f"{node.module}.{alias.name}", f"{path}:{node.lineno}") for alias in node.names)


@pytest.mark.parametrize("room", FOLDERS)
def test_a_room_knows_only_the_rooms_below_it(room: str) -> None:
    """An engine without torch, learning and algorithms without time, figures from what lies on the disk."""
    for name, where in imported(room):
        first, _, rest = name.partition(".")
        other = rest.split(".")[0]
        assert first not in STRANGERS.get(room, ()), where
        assert first != "edgesim" or other not in FOLDERS or other in BELOW[room] | {room}, where


@pytest.mark.parametrize("room", SIMULATING)
def test_what_simulates_knows_neither_the_hosts_clock_nor_its_chance(room: str) -> None:
    assert not [where for name, where in imported(room) if name.split(".")[0] in OF_THE_HOST]
