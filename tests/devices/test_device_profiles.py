"""Profiles: every shipped file loads and names its sources; a wrong one is refused at its position."""

from pathlib import Path

import pytest

from edgesim.devices.levels import Level
from edgesim.devices.profiles import devices, find_device, find_link, links, read_folder
from edgesim.devices.traits import Traits
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
    assert {"wifi-home", "wifi-iot", "lte", "5g", "ethernet", "ble", "nb-iot"} <= set(links())


def test_the_rows_that_the_documentation_quotes() -> None:
    """The default figures of the Raspberry Pi 4B and of LTE: 0.40 + 0.0150 · 36 and 0.57 + 0.0795 · 11 W."""
    board, lte = devices()["raspberry-pi-4"], links()["lte"]
    assert (board.compute_flops, board.bandwidth_bytes_per_s, board.step_overhead_s) == (9e9, 12.8e9, 2e-3)
    assert (board.memory_bytes, board.idle_w, board.training_w) == (2_576_980_377, 3.1, 6.6)  # 0.6 of 4 GiB
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


LINK = """\
link: my-link
rate: {down: {median: 1 Mbit/s, sigma: 0.5}, up: 500 kbit/s, correlation: 0.5}
latency: {median: 10 ms, sigma: 0.1}
power: {receive: 10 mW, send: 20 mW}
confidence: low
sources: [data sheet]
"""
FULL = """\
device: my-board
family: sbc
processor:
  training: {median: 9 GFLOP/s, sigma: 0.2}
  bandwidth: 12.8 GB/s
  step_overhead: 2 ms
  sparse_efficiency: 0.45
  convolution: 12 GFLOP/s
  layer_overhead: 50 us
  activation_bandwidth: 5 GB/s
  overlap: false
  sparse_curve: [{density: 0.1, speedup: 2.5}, {density: 50 %, speedup: 0.5}]
  levels: [{frequency: 0.5, voltage: 0.8}, {frequency: 1, voltage: 1}]
  burst: {speed: 1.5, time: 2 min}
memory: {ram: 4 GB, usable: 60 %}
power: {idle: 3.1 W, training: 6.6 W, battery: 10 Wh}
confidence: low
sources: [measured at home]
"""


def test_a_profile_may_say_much_more(tmp_path: Path) -> None:
    board = find_device(write(tmp_path, FULL), tmp_path)
    assert (board.compute_flops, board.compute_sigma, board.battery_j) == (9e9, 0.2, 36_000.0)
    assert board.levels == (Level(frequency=0.5, voltage=0.8), Level(frequency=1.0, voltage=1.0))
    assert board.traits == Traits(
        compute_flops=9e9,
        bandwidth=12.8e9,
        convolution_flops=12e9,
        layer_overhead_s=5e-5,
        activation_bandwidth=5e9,
        overlap=False,
        sparse_curve=((0.1, 2.5), (0.5, 0.5)),
        burst=1.5,
        burst_s=120.0,
    )


def test_a_plain_profile_has_no_traits(tmp_path: Path) -> None:
    assert find_device(write(tmp_path, BOARD), tmp_path).traits is None


def test_rates_may_be_distributions(tmp_path: Path) -> None:
    link = find_link(write(tmp_path, LINK), tmp_path)
    assert (link.down_bps, link.down_sigma, link.up_bps, link.up_sigma) == (1e6, 0.5, 5e5, 0.0)
    assert (link.latency_s, link.latency_sigma, link.correlation) == (0.01, 0.1, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("median: 9 GFLOP/s", "median: 9", r"mine\.yaml:4:\d+: processor\.training\.median: missing unit"),
        ("sigma: 0.2", "sigma: -1", r"mine\.yaml:4:\d+: processor\.training\.sigma"),
        ("density: 50 %", "density: 5 %", r"mine\.yaml:4:\d+: processor: .*densities \[0\.1, 0\.05\] must rise"),
        ("{frequency: 1, voltage: 1}", "{frequency: 0.4, voltage: 1}", r"processor: levels must rise in frequency"),
        ("speed: 1.5", "speed: 0.5", r"mine\.yaml:14:\d+: processor\.burst\.speed"),
    ],
)
def test_a_wrong_figure_is_refused_at_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FULL
    with pytest.raises(ScenarioError, match=message):
        find_device(write(tmp_path, FULL.replace(old, new)), tmp_path)


def own_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my-board.yaml").write_text(BOARD)
    (folder / "my-link.yaml").write_text(LINK)
    return folder


def test_a_folder_of_ones_own_is_searched_by_name(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    assert find_device("my-board", tmp_path, folder).compute_flops == 9e9
    assert find_link("my-link", tmp_path, folder).down_bps == 1e6
    assert find_device("pixel-6", tmp_path, folder) == devices()["pixel-6"]
    boards, radios = read_folder(folder)
    assert (list(boards), list(radios)) == (["my-board"], ["my-link"])


def test_a_name_in_both_places_is_refused_with_both(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    (folder / "pixel-6.yaml").write_text(BOARD.replace("my-board", "pixel-6"))
    with pytest.raises(ScenarioError, match=r"mine/pixel-6\.yaml: pixel-6 is also in the catalogue, .*devices/pixel-6"):
        find_device("pixel-6", tmp_path, folder)
    with pytest.raises(ScenarioError, match="is also in the catalogue"):
        read_folder(folder)


def test_a_profile_must_be_named_as_its_file(tmp_path: Path) -> None:
    folder = own_folder(tmp_path)
    (folder / "other.yaml").write_text(BOARD)
    with pytest.raises(ScenarioError, match=r"other\.yaml: the name inside, my-board, must be the file's"):
        find_device("other", tmp_path, folder)


def test_names_of_ones_own_are_suggested(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown device 'my-bord'; did you mean my-board\?"):
        find_device("my-bord", tmp_path, own_folder(tmp_path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no profile in it"):
        read_folder(tmp_path)
    with pytest.raises(ScenarioError, match="no folder of profiles at"):
        read_folder(tmp_path / "gone")
