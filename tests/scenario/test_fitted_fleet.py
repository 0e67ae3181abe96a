"""Fitted fleets in a scenario: a trace by name or path becomes the fleet's figures; mistakes are told in place."""

from pathlib import Path

import numpy as np
import pytest

from edgesim.devices.profiles import devices, links
from edgesim.errors import ScenarioError
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.loading import load

SCENARIO = """\
name: fitted
task: {{dataset: digits, clients: 400, model: mlp}}
training: {{lr: 0.1}}
fleet:
  - {{device: {device}, share: 0.5, link: {link}}}
  - {{device: raspberry-pi-4, share: 0.5, link: wifi-home}}
schedule: {{kind: sync, cohort: 2}}
algorithm: fedavg
evaluate: {{every: 1 min}}
stop: {{time: 1 min}}
"""


def write(folder: Path, device: str = "pixel-6", link: str = "lte") -> Path:
    path = folder / "s.yaml"
    path.write_text(SCENARIO.format(device=device, link=link))
    return path


def test_a_trace_by_name_and_one_by_path_make_the_fleet(tmp_path: Path) -> None:
    """The class is called by its base; the shipped 5 % and 95 % of LTE's download are 52.8 and 198.1 Mbit/s."""
    (tmp_path / "mine.csv").write_text("speed_GFLOP/s\n1\n2\n")
    device = "{kind: trace, path: mine.csv, base: pixel-6}"
    plan = load(write(tmp_path, device, "{kind: trace, name: speedtest-lte}"))
    fleet = make_fleet(plan.scenarios[0].scenario, plan.folder)
    assert fleet.class_names == ("pixel-6", "raspberry-pi-4")
    phones, boards = fleet.device_class == 0, fleet.device_class == 1
    assert 0.99e9 < fleet.compute_flops[phones].min() < fleet.compute_flops[phones].max() < 2.01e9
    assert 52e6 < fleet.down_bps[phones].min() < fleet.down_bps[phones].max() < 199e6
    assert set(fleet.compute_flops[boards]) == {devices()["raspberry-pi-4"].compute_flops}
    assert set(fleet.down_bps[boards]) == {links()["wifi-home"].down_bps}


def test_a_trace_replaces_the_spread_of_its_base(tmp_path: Path) -> None:
    """wifi-users spreads without end; of a trace no device lies beyond the recorded ones."""
    plan = load(write(tmp_path, "phone-high-2019", "{kind: trace, name: flash-wifi, base: wifi-users}"))
    fleet = make_fleet(plan.scenarios[0].scenario, plan.folder)
    down = fleet.down_bps[fleet.device_class == 0]
    assert 18.9e6 < down.min() < down.max() < 138.7e6
    assert np.median(down) == pytest.approx(34.5e6, rel=0.1)


WRONG = {
    "{kind: trace}": "fleet.0.link: got neither; write exactly one of name and path",
    "{kind: trace, name: flash-wifi, path: a.csv}": "fleet.0.link: got both",
    "{kind: trace, name: flash-wify}": "link.name: unknown trace of links 'flash-wify'; did you mean flash-wifi",
    "{kind: trace, name: mobile-world}": "'mobile-world' is a link of the catalogue, .* write link: mobile-world",
    "{kind: trace, name: flash-wifi, base: wifi-hom}": "unknown link 'wifi-hom'; did you mean wifi-home",
    "{kind: trace, path: nowhere.csv}": r"fleet.0.link.path: .*nowhere\.csv: No such file",
    "{kind: trace, path: nobase.csv}": "this trace names no base; write base: NAME, a link of the catalogue",
    "{kind: trace, path: bad.csv}": r"fleet.0.link.path: .*bad\.csv, row 3: up_Mbit/s is 'x'",
    "{kind: tracer, name: flash-wifi}": "fleet.0.link.kind: got 'tracer'; did you mean trace",
    "[lte]": "fleet.0.link: got a list; should be a mapping",
    "{kind: trace, nam: flash-wifi}": r"fleet.0.link.nam: unknown key; did you mean name",
}


@pytest.mark.parametrize("link", WRONG)
def test_a_mistake_is_told_in_its_place(tmp_path: Path, link: str) -> None:
    (tmp_path / "nobase.csv").write_text("rate_Mbit/s\n1\n")
    (tmp_path / "bad.csv").write_text("down_Mbit/s,up_Mbit/s\n10,5\n20,x\n")
    with pytest.raises(ScenarioError, match=rf"s\.yaml:5:\d+: .*{WRONG[link]}"):
        load(write(tmp_path, link=link))
