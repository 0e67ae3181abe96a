"""A user's own profiles in a scenario: found by name, refused with both places, drawn as they say."""

from importlib.resources import files
from pathlib import Path

import pytest

from edgesim.errors import ScenarioError
from edgesim.scenario.assembly import make_fleet
from edgesim.scenario.loading import load

SCENARIO = """\
name: own
profiles: ./mine
task: {dataset: digits, clients: 4, model: mlp}
training: {lr: 0.1}
fleet: [{device: my-pi, share: 1, link: wifi-home}]
schedule: {kind: sync, cohort: 2}
algorithm: fedavg
evaluate: {every: 1 min}
stop: {time: 1 min}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """The scenario beside a folder with a copy of the Raspberry Pi 4 under another name."""
    (tmp_path / "mine").mkdir()
    text = Path(str(files("edgesim.devices") / "raspberry-pi-4.yaml")).read_text(encoding="utf-8")
    (tmp_path / "mine" / "my-pi.yaml").write_text(text.replace("device: raspberry-pi-4", "device: my-pi"))
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return tmp_path / "s.yaml"


def test_a_device_is_found_by_name_in_the_folder(scenario: Path) -> None:
    planned = load(scenario).scenarios[0]
    fleet = make_fleet(planned.scenario, scenario.parent)
    assert fleet.class_names == ("my-pi",)
    assert fleet.compute_flops.tolist() == [9e9] * 4


def test_clock_and_background_reach_the_fleet(scenario: Path) -> None:
    """A third of the clock, half of which other work takes: 9 GFLOP/s · 0.33 / 2; 3.1 + 3.5 · 0.33 · 0.85² W."""
    planned = load(scenario, ["fleet.0.dvfs=low", "fleet.0.background=50 %"]).scenarios[0]
    fleet = make_fleet(planned.scenario, scenario.parent)
    assert fleet.compute_flops.tolist() == pytest.approx([9e9 * 0.33 / 2] * 4)
    assert fleet.training_w.tolist() == pytest.approx([3.1 + 3.5 * 0.33 * 0.85**2] * 4)


def test_two_profiles_of_one_name_are_refused(scenario: Path) -> None:
    """Results call devices by the names in their profiles, whatever their files are called."""
    other = scenario.parent / "other.yaml"
    other.write_text((scenario.parent / "mine" / "my-pi.yaml").read_text().replace("ram: 4 GiB", "ram: 8 GiB"))
    entries = ", ".join(f"{{device: {name}, share: 0.5, link: wifi-home}}" for name in ("my-pi", "other.yaml"))
    with pytest.raises(
        ScenarioError, match=r"fleet\.1\.device: the devices of an earlier entry are called 'my-pi', too"
    ):
        load(scenario, [f"fleet=[{entries}]"])
    assert load(scenario, [f"fleet=[{entries.replace('other.yaml', 'mine/my-pi.yaml')}]"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("profiles=./gone", r"profiles: there is no folder .*gone; a path counts from the scenario's folder"),
        ("fleet.0.device=my-pie", r"fleet\.0\.device: unknown device 'my-pie'; did you mean my-pi\?"),
        ("fleet.0.dvfs=0.1", r"fleet\.0\.dvfs: dvfs 0\.1: must lie between 0\.33, the lowest level, and 1"),
        ("fleet.0.background=1", r"fleet\.0\.background: "),
    ],
)
def test_mistakes_are_told_where_they_stand(scenario: Path, override: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load(scenario, [override])


def test_a_name_in_both_places_is_refused(scenario: Path) -> None:
    own = scenario.parent / "mine" / "my-pi.yaml"
    own.rename(own.with_name("lte.yaml"))
    with pytest.raises(ScenarioError, match=r"mine/lte\.yaml: lte is also in the catalogue, .*devices/lte\.yaml"):
        load(scenario, ["fleet.0.device=lte"])
