"""Fleet view: counts and quantiles are those of the fleet, and every class is in the picture."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from edgesim import fleetview, hardware
from edgesim.devices.diurnal import Diurnal
from edgesim.devices.fleet import FleetGroup, sample_fleet
from edgesim.devices.profiles import devices, links
from edgesim.errors import ScenarioError
from edgesim.plots import availability
from edgesim.plots import fleet as picture

SCENARIO = """\
name: two-kinds
task: {dataset: digits, clients: 10, model: mlp}
training: {lr: 0.1}
fleet:
  - {device: raspberry-pi-4, share: 0.7, link: wifi-home}
  - {device: esp32-s3, share: 0.3, link: lte}
schedule: {kind: sync, cohort: 2}
algorithm: fedavg
evaluate: {every: 1 min}
stop: {time: 1 min}
"""


def drawn(count: int) -> Figure:
    groups = [
        FleetGroup(device=devices()["raspberry-pi-4"], share=0.7, link=links()["wifi-home"]),
        FleetGroup(device=devices()["esp32-s3"], share=0.3, link=links()["lte"]),
    ]
    return picture.draw(sample_fleet(groups, count, 0), "a fleet")


def test_every_device_is_a_mark_where_it_belongs() -> None:
    boards, chips = (marks for marks in drawn(10).axes[0].collections if isinstance(marks, PathCollection))
    assert np.asarray(boards.get_offsets()).tolist() == [[9.0, 86.0]] * 7
    assert np.asarray(chips.get_offsets()).tolist() == [[0.15, 36.0]] * 3
    assert float(boards.get_sizes()[0]) == pytest.approx(60.0)  # the most memory
    assert float(chips.get_sizes()[0]) == pytest.approx(60 - 18 * np.log10(0.6 * 4 * 2**30 / (0.8 * 8.5 * 2**20)))
    assert [text.get_text() for text in drawn(10).axes[0].texts] == ["×7", "×3"]  # alike, so under one mark each


def test_a_fleet_of_equal_devices_has_ticks_that_can_be_read() -> None:
    group = FleetGroup(device=devices()["raspberry-pi-4"], share=1.0, link=links()["wifi-home"])
    figure = picture.draw(sample_fleet([group], 10, 0), "a fleet")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for labels, (low, high) in (
        (axes.get_xticklabels(which="both"), axes.get_xlim()),
        (axes.get_yticklabels(which="both"), axes.get_ylim()),
    ):
        values = [float(label.get_text()) for label in labels if label.get_text()]
        assert sum(low <= value <= high for value in values) >= 2


def test_of_a_large_fleet_only_some_are_shown() -> None:
    """20,000 devices, one of 4: the title says so."""
    axes = drawn(20_000).axes[0]
    assert sum(len(np.asarray(marks.get_offsets())) for marks in axes.collections) == 5_000
    assert axes.get_title(loc="left") == "a fleet; one of 4 devices shown"


def test_the_table_says_what_the_fleet_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    fleetview.show(tmp_path / "s.yaml", tmp_path / "fleet.png")
    text = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["raspberry-pi-4"][1:] == ["7", "9", "GFLOP/s", "86", "Mbit/s", "46", "Mbit/s", "2.58", "GB"]
    assert rows["esp32-s3"][1:] == ["3", "150", "MFLOP/s", "36", "Mbit/s", "11", "Mbit/s", "7.13", "MB"]
    assert (tmp_path / "fleet.png").stat().st_size > 1_000
    assert (tmp_path / "fleet-availability.png").stat().st_size > 1_000


def test_quantiles_far_apart_have_units_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Microcontrollers among servers: no 0.00384 GB, and no 1e+03."""
    fleet = "[{device: esp32-s3, share: 0.4, link: lorawan}, {device: server-xeon, share: 0.6, link: ethernet}]"
    text = re.sub("fleet:.*?schedule", f"fleet: {fleet}\nschedule", SCENARIO, flags=re.DOTALL)
    (tmp_path / "s.yaml").write_text(text)
    fleetview.show(tmp_path / "s.yaml", tmp_path / "fleet.png")
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "0.15 280 280 GFLOP/s" in rows["all"]
    assert "48 bit/s 940 Mbit/s 940 Mbit/s" in rows["all"]
    assert "7.13 MB 55 GB 55 GB" in rows["all"]


def test_availability_over_the_week_is_that_of_the_law() -> None:
    """Sessions of 8 h around 02:00 in a zone an hour ahead: 21:00 to 05:00 UTC on weekdays; the other class always."""
    night = Diurnal(peak_s=7_200, hours_s=28_800, weekend_peak_s=7_200, weekend_hours_s=28_800, zones_s=(3_600,))
    groups = [
        FleetGroup(device=devices()["phone-mid"], share=0.5, link=links()["lte"], availability=night),
        FleetGroup(device=devices()["esp32-s3"], share=0.5, link=links()["lte"]),
    ]
    fleet = sample_fleet(groups, 10, 0)
    share = availability.week(fleet, np.flatnonzero(fleet.device_class == 0)).reshape(7, 24)
    assert share[2].tolist() == [1.0] * 5 + [0.0] * 16 + [1.0] * 3
    assert availability.week(fleet, np.flatnonzero(fleet.device_class == 1)).tolist() == [1.0] * 168
    axes = availability.draw(fleet, "a fleet").axes[0]
    assert [patch.get_label() for patch in axes.patches] == ["phone-mid", "esp32-s3"]


def test_classes_that_are_always_on_line_share_a_line() -> None:
    """Lines upon one another would show the last one's colour alone."""
    night = Diurnal(peak_s=7_200, hours_s=28_800, weekend_peak_s=7_200, weekend_hours_s=28_800)
    groups = [
        FleetGroup(device=devices()["raspberry-pi-4"], share=1 / 3, link=links()["lte"]),
        FleetGroup(device=devices()["phone-mid"], share=1 / 3, link=links()["lte"], availability=night),
        FleetGroup(device=devices()["esp32-s3"], share=1 / 3, link=links()["lte"]),
    ]
    axes = availability.draw(sample_fleet(groups, 9, 0), "a fleet").axes[0]
    assert [patch.get_label() for patch in axes.patches] == ["raspberry-pi-4, esp32-s3", "phone-mid"]


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="--out: only --fleet draws a picture"):
        hardware.devices(None, None, None, tmp_path / "a.png")
    with pytest.raises(ScenarioError, match="leave out the name and --folder"):
        hardware.devices("lte", None, tmp_path / "s.yaml", None)
