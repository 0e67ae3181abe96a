"""Calibration: rates are found again from times made with them, counters are read as they run, profiles load."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from edgesim.calibration import board, nets, power
from edgesim.calibration.rates import Rates, fit, nonnegative
from edgesim.calibration.text import Board, profile_text
from edgesim.devices import cost
from edgesim.devices.profiles import find_device
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError

TRUE = Rates(
    dense_flops=2e11,
    convolution_flops=1.5e11,
    bandwidth=2e10,
    convolution_bandwidth=7e9,
    activation_bandwidth=5e9,
    step_overhead_s=5e-5,
    layer_overhead_s=2e-5,
    error=0.0,
)
BOARD = Board(
    rates=TRUE,
    curve=((0.05, 4.0), (0.2, 1.2)),
    copy_bandwidth=2.5e10,
    ram_bytes=4 * 2**30,
    usable=0.8,
    power=power.given("3,6.5"),
    threads=1,
    networks=14,
)


def works() -> list[Workload]:
    return [board.epoch_workload(model, batch, batch) for model in list(nets.fitted())[::2] for batch in board.BATCHES]


def seconds(work: Workload, folder: Path) -> float:
    """What the cost model of a run says of a job on the board whose profile lies in the folder."""
    device = find_device("my-board.yaml", folder)
    time_ns = cost.compute_ns(
        work,
        compute_flops=device.compute_flops,
        bandwidth=device.bandwidth_bytes_per_s,
        step_overhead_s=device.step_overhead_s,
        sparse_efficiency=device.sparse_efficiency,
        sparse_speedup="realised",
        traits=device.traits,
    )
    return time_ns / 1e9


def test_rates_are_found_again_from_times_made_with_them(tmp_path: Path) -> None:
    """Rates → profile file → cost model → times → rates: the whole way round, to the digits that a file keeps."""
    (tmp_path / "my-board.yaml").write_text(profile_text(BOARD, "my-board", "sbc", board.BATCHES, date(2024, 5, 17)))
    made = works()
    found = fit(made, [seconds(work, tmp_path) for work in made])
    for name, value in vars(TRUE).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.02, abs=1e-4), name


def test_a_profile_says_how_and_when_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "my-board.yaml").write_text(profile_text(BOARD, "my-board", "sbc", board.BATCHES, date(2024, 5, 17)))
    device = find_device("my-board.yaml", tmp_path)
    assert (device.idle_w, device.training_w, device.ram_bytes) == (3.0, 6.5, 4.295e9)
    assert device.sparse_efficiency == 0.24  # 0.2 · 1.2
    assert device.traits is not None
    assert (device.traits.overlap, device.traits.sparse_curve) == (False, BOARD.curve)
    assert any("edgesim calibrate" in source and "2024-05-17" in source for source in device.sources)
    assert any("given by the user" in source for source in device.sources)


@pytest.mark.parametrize(("error", "trust"), [(0.1, "high"), (0.2, "medium"), (0.8, "low")])
def test_a_poor_fit_is_trusted_less(error: float, trust: str) -> None:
    text = profile_text(
        replace(BOARD, rates=replace(TRUE, error=error)), "my-board", "sbc", board.BATCHES, date(2024, 5, 17)
    )
    assert f"confidence: {trust}\n" in text


def test_what_would_be_negative_is_left_out() -> None:
    """y = 1 for x = (1, 0), (1, 1), (1, 2) needs no second figure; a decreasing one would ask for a negative."""
    rows = np.array([[1.0, 1.0], [1.25, 2.5], [1.6, 5.0]])
    found = nonnegative(rows)
    assert found[1] == 0.0
    assert found[0] == pytest.approx((1 + 1.25 + 1.6) / (1 + 1.25**2 + 1.6**2))


def test_a_sparse_curve_never_rises_with_the_density() -> None:
    noisy = [(0.05, 4.0), (0.1, 4.1), (0.2, 1.0)]
    assert list(board._rising(noisy)) == [(0.05, 4.0), (0.1, 4.0), (0.2, 1.0)]


# ── power ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "--watts 3: write idle and training power"),
        ("3,x", "write idle and training power"),
        ("6,3", "training not below it"),
    ],
)
def test_impossible_watts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        power.given(text)


def _counter(folder: Path, name: str, energy_uj: int, domain: str = "package-0") -> Path:
    (folder / name).mkdir()
    (folder / name / "name").write_text(f"{domain}\n")
    (folder / name / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / name / "max_energy_range_uj").write_text("1000000000\n")
    return folder / name / "energy_uj"


def test_only_packages_are_counted(tmp_path: Path) -> None:
    """intel-rapl:0:1 is a part of package intel-rapl:0; psys is the whole board, packages included."""
    package = _counter(tmp_path, "intel-rapl:0", 5)
    _counter(tmp_path, "intel-rapl:0:1", 3, "core")
    _counter(tmp_path, "intel-rapl:1", 9, "psys")
    assert power.counters(tmp_path) == [package]
    with pytest.raises(ScenarioError, match=r"there are none\); measure the whole device and write --watts"):
        power.counters(tmp_path / "gone")


def test_a_counter_that_wraps_is_read_on(tmp_path: Path) -> None:
    """The range ends at 1 kJ: from 999.9999 J to 0.0001 J are 200 µJ."""
    path = _counter(tmp_path, "intel-rapl:0", 0)
    assert power._passed(path, 999_999_900, 100) == 200
    assert power._passed(path, 100, 300) == 200


def test_power_is_energy_over_time(tmp_path: Path) -> None:
    """Each piece of work adds 1 J; idle adds none."""
    path = _counter(tmp_path, "intel-rapl:0", 0)

    def work() -> None:
        path.write_text(str(int(path.read_text()) + 1_000_000))

    found = power.measured([path], work, seconds=0.02)
    assert found.idle_w == 0.0
    assert found.training_w > 0.0


def test_memory_that_caches_hold_is_usable(tmp_path: Path) -> None:
    path, ram_bytes = tmp_path / "meminfo", board._ram_bytes()
    for available, share in ((ram_bytes // 2, 0.5), (0, 0.01), (ram_bytes, 0.9)):
        path.write_text(f"MemTotal: 9 kB\nMemFree:    1 kB\nMemAvailable:   {available // 1024} kB\nBuffers: 2 kB\n")
        assert board.usable(path) == pytest.approx(share, rel=1e-5)
    assert 0.01 <= board.usable(tmp_path / "none") <= 0.9


def test_what_cannot_be_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"--out .*none/a\.yaml: .*none is no folder that can be written to"):
        board.calibrate(tmp_path / "none" / "a.yaml", watts="1,2", threads=1, family="sbc", say=print)
    with pytest.raises(ScenarioError, match=r"--family labtop: did you mean laptop\? \(gateway, .*\)"):
        board.calibrate(tmp_path / "a.yaml", watts="1,2", threads=1, family="labtop", say=print)
    assert list(tmp_path.iterdir()) == []


def test_a_profile_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "my-board.yaml"
    out.write_text("mine")
    with pytest.raises(ScenarioError, match=r"my-board\.yaml exists; choose another file"):
        board.calibrate(out, watts="1,2", threads=1, family="sbc", say=print)
    with pytest.raises(ScenarioError, match="a profile's file is named as the device"):
        board.calibrate(tmp_path / "My Board.yaml", watts="1,2", threads=1, family="sbc", say=print)
    assert out.read_text() == "mine"
