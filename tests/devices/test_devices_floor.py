"""The floor that devices/ stands on: no torch, no simpy, nothing of the rooms above."""

import pkgutil
import subprocess
import sys

import edgesim.devices

ABOVE = (
    "torch",
    "simpy",
    *(f"edgesim.{room}" for room in ("learning", "engine", "execution", "scenario", "results")),
)


def test_devices_imports_nothing_from_above() -> None:
    names = [f"edgesim.devices.{module.name}" for module in pkgutil.iter_modules(edgesim.devices.__path__)]
    assert len(names) >= 7
    program = f"import importlib, sys\nfor n in {names!r}: importlib.import_module(n)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(names) <= loaded
    assert not loaded & set(ABOVE)
