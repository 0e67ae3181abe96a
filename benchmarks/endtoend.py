"""edgesim's side: a scenario run as `edgesim run` runs it, into a folder that is thrown away."""

import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from edgesim.results.store import Run
from edgesim.scenario import running
from edgesim.scenario.assembly import assemble
from edgesim.scenario.loading import load

SCENARIOS = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Attributes: setup_s, until the simulation stands ready: the scenario read, data made and dealt out, the
    model measured; run_s, from there until the last file is written; updates, aggregated."""

    setup_s: float
    run_s: float
    updates: int


def run(name: str, *overrides: str, around: AbstractContextManager[object] | None = None) -> Timed:
    """Run scenarios/<name>.yaml once; `around` is entered for everything but the set-up."""
    plan = load(SCENARIOS / f"{name}.yaml", overrides)
    ready_s = 0.0
    context = around or nullcontext()

    def assembled(*args: Any) -> Any:
        nonlocal ready_s
        simulation = assemble(*args)
        ready_s = time.perf_counter()
        context.__enter__()
        return simulation

    with tempfile.TemporaryDirectory() as folder:
        (directory,) = running.prepare(plan, Path(folder) / "results", replace=False)
        with mock.patch.object(running, "assemble", assembled):
            begun_s = time.perf_counter()
            running.run(directory, notify=lambda _: None, asked_to_stop=lambda: False)
            ended_s = time.perf_counter()
            context.__exit__(None, None, None)
        updates = int(Run(directory).metrics()["updates"][-1])
    return Timed(setup_s=ready_s - begun_s, run_s=ended_s - ready_s, updates=updates)
