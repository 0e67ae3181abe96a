"""Emissions through the whole engine: joules by hand, on grids that change."""

import copy
from pathlib import Path

import numpy as np
import pytest
from worlds import Counting, fleet, simulation

from edgesim.devices.carbon import CarbonIntensity
from edgesim.engine.emissions import Emissions
from edgesim.engine.limits import Evaluate, Stop
from edgesim.engine.schedules import Sync
from edgesim.engine.simulation import Simulation
from edgesim.results.columns import METRICS
from edgesim.results.recorder import Recorder
from edgesim.scenario.closing import client_table

S = 1_000_000_000


def world(folder: Path, stop_s: float, recorder: Recorder | None = None) -> tuple[Simulation, Counting]:
    """Jobs of 1 s down, 2 s of training and 1 s up, each at 1 W: the first device in the second region, where a joule
    is 10 g; the others in the first, where it is 1 g, and from 2 s on 2 g."""
    intensity = CarbonIntensity(
        regions=("a", "b"), starts_ns=np.array([0, 2 * S]), period_ns=1000 * S,
        g_per_kwh=3.6e6 * np.array([[1.0, 2.0], [10.0, 10.0]]),
    )  # fmt: skip
    return simulation(
        folder, fleet([2.0, 2.0, 2.0]), Sync(2), Stop(time_ns=round(stop_s * S)), evaluate=Evaluate(every_ns=S),
        emissions=Emissions(intensity, np.array([1, 0, 0])), recorder=recorder,
    )  # fmt: skip


@pytest.mark.parametrize("paused", [False, True])
def test_what_a_joule_emits_depends_on_where_and_when(tmp_path: Path, paused: bool) -> None:
    """In the second region a second is 10 g. In the first a job from 0 to 4 s is 1 + 3 + 2 g, a later second 2 g.
    Clients 0 and 1 work in the first round, 1 and 2 in the second, 2 and 0 in the third, of which half a second is."""
    run, _ = world(tmp_path, 8.5)
    run.begin()
    if paused:
        run.run(lambda run: run.now_ns >= 6 * S, events=0)
        state = copy.deepcopy(run.state())
        run, _ = world(tmp_path, 8.5, Recorder.restore(tmp_path, state["recorder"]))
        run.restore(state)
    run.run()
    run.finish()
    assert np.asarray(client_table(run)["carbon_g"]).tolist() == [40 + 5, 6 + 2 * 4, 2 * 4 + 1]
    rows = [dict(zip(METRICS.names, row, strict=True)) for row in run.state()["recorder"]["metrics"]]
    assert [row["carbon_g"] for row in rows] == [0, 11, 22, 34, 46, 50, 54, 58, 62, 68]
