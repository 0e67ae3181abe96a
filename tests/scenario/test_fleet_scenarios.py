"""The shipped fleets: each is what its comment says, and a short piece of each run ends well."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgesim import console, shipped
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.loading import load

FEWER = {
    "fleet-smart-home": ("sweep.codec=[null]", 4),
    "fleet-phones": ("seed=1", 3),
    "fleet-factory": ("sweep.seed=[0]", 4),
}


@pytest.mark.parametrize("name", FEWER)
def test_the_points_of_the_sweep_estimate(name: str, tmp_path: Path) -> None:
    """Without training: networks, failures, batteries and schedules of its runs hold together."""
    fewer, count = FEWER[name]
    console.estimate(Path(name), ["stop={aggregations: 2}", fewer], tmp_path / "out", "1", replace=False)
    runs = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*/summary.json"))]
    assert len(runs) == count
    assert all(run["stopped_by"] == "aggregations" for run in runs)


def test_the_phones_are_a_fitted_fleet_that_sleeps_at_night() -> None:
    """At 09:00 UTC it is 01:00 to 04:00 in the four zones, at 18:00 UTC 10:00 to 13:00."""
    plan = load(shipped.find(Path("fleet-phones")))
    fleet = make_fleet(plan.scenarios[0].scenario, plan.folder)
    assert len(set(fleet.compute_flops[fleet.device_class == 1])) > 100
    everybody, hour_ns = np.arange(len(fleet)), 3_600_000_000_000
    assert fleet.availability.is_on_many(everybody, 9 * hour_ns).mean() > 0.4
    assert fleet.availability.is_on_many(everybody, 18 * hour_ns).mean() < 0.05
