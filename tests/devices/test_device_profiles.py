"""Profiles: every shipped file loads and names its sources; a wrong one is refused at its position."""

from pathlib import Path

import pytest

from edgesim.devices.profiles import devices, find_device, find_link, links
from edgesim.errors import ScenarioError

BOARD = """\
device: my-board
family: sbc
processor: {training: 9 GFLOP/s, bandwidth: 12.8 GB/s, step_overhead: 2 ms, sparse_efficiency: 0.45}
memory: {ram: 4 GB, usable: 60 %}
power: {idle: 3.1 W, training: 6.6 W}
confidence: low
sources: [measured at home]
"""


def write(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    return "mine.yaml"


def test_the_catalogue_has_what_scenarios_name() -> None:
    assert {"raspberry-pi-4", "jetson-nano", "pixel-4", "pixel-6", "esp32-s3", "stm32h7"} <= set(devices())
    assert {"wifi-home", "wifi-iot", "lte", "5g", "ethernet", "ble", "nb-iot"} == set(links())
    assert len(devices()) >= 10


@pytest.mark.parametrize("name", devices())
def test_every_device_is_sourced_and_plausible(name: str) -> None:
    """Each figure group has its source; energy per FLOP lies between a GPU's 0.02 and an MCU's 3 nJ."""
    device = devices()[name]
    assert device.name == name
    text = " ".join(device.sources)
    for figure in ("training", "ram", "bandwidth", "idle", "sparse_efficiency", "step_overhead", "usable"):
        assert figure in text, figure
    assert 0.02e-9 < device.training_w / device.compute_flops < 3e-9
    assert device.ram_bytes / 2 <= device.memory_bytes < device.ram_bytes


@pytest.mark.parametrize("name", links())
def test_every_link_is_sourced_and_plausible(name: str) -> None:
    """Energy per byte sent: 0.001 uJ on a cable to 360 uJ on NB-IoT (at the best coverage, 100-360)."""
    link = links()[name]
    assert link.name == name
    assert all(figure in " ".join(link.sources) for figure in ("rate", "latency", "power"))
    assert 0.001e-6 < 8 * link.send_w / link.up_bps < 360e-6


def test_the_rows_that_the_documentation_quotes() -> None:
    """The default figures of the Raspberry Pi 4B and of LTE: 0.40 + 0.0150 · 36 and 0.57 + 0.0795 · 11 W."""
    board, lte = devices()["raspberry-pi-4"], links()["lte"]
    assert (board.compute_flops, board.bandwidth_bytes_per_s, board.step_overhead_s) == (9e9, 12.8e9, 2e-3)
    assert (board.memory_bytes, board.idle_w, board.training_w) == (2_400_000_000, 3.1, 6.6)
    assert (lte.down_bps, lte.up_bps, lte.latency_s) == (36e6, 11e6, 0.04)
    assert [lte.receive_w, lte.send_w, lte.tail_j] == pytest.approx([0.40 + 0.015 * 36, 0.57 + 0.0795 * 11, 1.2])


def test_the_catalogue_is_listed_slowest_first_and_cannot_be_spoilt() -> None:
    rates = [device.compute_flops for device in devices().values()]
    assert rates == sorted(rates)
    devices().clear()
    assert devices()


def test_a_name_is_looked_up_in_the_catalogue(tmp_path: Path) -> None:
    assert find_device("pixel-6", tmp_path) == devices()["pixel-6"]
    assert find_link("lte", tmp_path) == links()["lte"]


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown device 'raspberry-pi4'; did you mean raspberry-pi-4\?"):
        find_device("raspberry-pi4", tmp_path)
    with pytest.raises(ValueError, match=r"unknown link 'wifi-hom'; did you mean wifi-home\?.*\(\.yaml\)"):
        find_link("wifi-hom", tmp_path)


def test_a_file_is_read_relative_to_the_folder(tmp_path: Path) -> None:
    board = find_device(write(tmp_path, BOARD), tmp_path)
    assert (board.name, board.device_class, board.confidence) == ("my-board", "sbc", "low")
    assert (board.compute_flops, board.memory_bytes, board.sources) == (
        9e9,
        2_400_000_000,
        ("measured at home",),
    )


def test_a_link_file_may_leave_out_its_tail(tmp_path: Path) -> None:
    text = """\
link: my-link
rate: {down: 1 Mbit/s, up: 500 kbit/s}
latency: 10 ms
power: {receive: 10 mW, send: 20 mW}
confidence: low
sources: [data sheet]
"""
    link = find_link(write(tmp_path, text), tmp_path)
    assert (link.down_bps, link.up_bps, link.latency_s, link.send_w) == (1e6, 5e5, 0.01, 0.02)
    assert link.tail_j == 0.0


def test_a_link_without_a_rate_is_refused(tmp_path: Path) -> None:
    text = "link: a\nrate: {down: 0 bit/s, up: 0 bit/s}\nlatency: 0 s\npower: {receive: 0 W, send: 0 W}\n"
    with pytest.raises(ScenarioError, match=r"mine\.yaml:2:\d+: rate\.down: .*\n.*rate\.up: "):
        find_link(write(tmp_path, text + "confidence: low\nsources: [a]\n"), tmp_path)


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no device profile at .*gone\.yaml; .* the scenario's folder"):
        find_device("gone.yaml", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("9 GFLOP/s", "9", r"mine\.yaml:3:\d+: processor\.training: missing unit"),
        ("12.8 GB/s", "12.8 W", r"mine\.yaml:3:\d+: processor\.bandwidth: '12\.8 W' is a power"),
        ("9 GFLOP/s", "0 GFLOP/s", r"mine\.yaml:3:\d+: processor\.training: "),
        ("12.8 GB/s", "0 GB/s", r"mine\.yaml:3:\d+: processor\.bandwidth: "),
        ("0.45", "0", r"mine\.yaml:3:\d+: processor\.sparse_efficiency: "),
        ("4 GB", "0 GB", r"mine\.yaml:4:\d+: memory\.ram: "),
        ("usable: 60 %", "usable: 0", r"mine\.yaml:4:\d+: memory\.usable"),
        ("training: 6.6 W", "training: 1 W", r"mine\.yaml:5:\d+: power: .*training 1 W is below idle 3\.1 W"),
        ("confidence: low", "confidence: sure", r"mine\.yaml:6:\d+: confidence"),
        ("family:", "famly:", r"mine\.yaml:2:\d+: famly: .*family"),
        ("[measured at home]", "[]", r"mine\.yaml:7:\d+: sources"),
    ],
)
def test_a_wrong_file_is_refused_at_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BOARD
    with pytest.raises(ScenarioError, match=message):
        find_device(write(tmp_path, BOARD.replace(old, new)), tmp_path)


def test_a_profile_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"mine\.yaml: this is a link profile; a device profile is wanted"):
        find_device(write(tmp_path, "link: my-link\n"), tmp_path)
    with pytest.raises(ScenarioError, match=r"mine\.yaml: this is a device profile; a link profile is wanted"):
        find_link(write(tmp_path, BOARD), tmp_path)
