"""Trace sets: draws are distributed as recorded, belong together as recorded, and bad files say where."""

from pathlib import Path

import numpy as np
import pytest

from edgesim.devices.arrays import FloatArray
from edgesim.devices.fleet import Fleet, FleetGroup, sample_fleet
from edgesim.devices.profiles import devices, find_device, find_link, links
from edgesim.devices.traceset import TraceSet, from_rows
from edgesim.devices.tracesetfiles import find_trace_set, read_trace_set, shipped
from edgesim.errors import ScenarioError

MANY = np.arange(100_000)
GRID = np.arange(0.02, 0.99, 0.02)


def error_at(draws: FloatArray, values: FloatArray, shares: FloatArray) -> float:
    """The greatest distance between the drawn and the recorded distribution function, at the recorded quantiles."""
    at = GRID[(shares[0] <= GRID) & (shares[-1] >= GRID)]
    wanted, ordered = np.interp(at, shares, values), np.sort(draws)
    # where the distribution function jumps, any share between both sides of the jump will do
    below = np.searchsorted(ordered, wanted * (1 - 1e-6), "left") / len(draws)
    up_to = np.searchsorted(ordered, wanted * (1 + 1e-6), "right") / len(draws)
    return float(np.maximum(below - at, at - up_to).max())


@pytest.mark.parametrize("name", [*shipped("link"), *shipped("device")])
def test_a_hundred_thousand_draws_have_the_quantiles_of_the_shipped_statistics(name: str) -> None:
    """By Kolmogorov and Smirnov 10⁵ draws stray by 0.0062 with probability 0.001 (1.95 / sqrt(n))."""
    known = shipped("link") | shipped("device")
    drawn = known[name].draw(MANY, 3, "test")
    for quantity, values in known[name].values.items():
        assert error_at(drawn[quantity], values, known[name].shares) < 0.0062, quantity


def test_rows_are_drawn_as_recorded_and_belong_together() -> None:
    """100 rows whose upload falls as the download rises: the draws' ranks are as opposed as the rows' are."""
    down = np.exp(np.linspace(1, 3, 100))
    noise = np.array([(37 * row) % 100 for row in range(100)])
    up = 1000 / (down + 0.05 * noise)
    made = from_rows({"down": down[np.argsort(noise)], "up": up[np.argsort(noise)]})
    drawn = made.draw(MANY, 0, "test")
    for name, recorded in (("down", down), ("up", up)):
        assert error_at(drawn[name], np.sort(recorded), np.linspace(0, 1, 100)) < 0.0062
        assert recorded.min() * (1 - 1e-6) <= drawn[name].min() <= drawn[name].max() <= recorded.max() * (1 + 1e-6)
    assert rank_correlation(drawn) == pytest.approx(rank_correlation({"down": down, "up": up}), abs=0.01)


def rank_correlation(columns: dict[str, FloatArray]) -> float:
    one, other = (np.argsort(np.argsort(values)) for values in columns.values())
    return float(np.corrcoef(one, other)[0, 1])


def test_quantiles_are_drawn_with_their_correlation() -> None:
    """Spearman's rank correlation of a Gaussian copula is 6/π · asin(ρ/2): 0.786 for ρ = 0.8."""
    grid = np.linspace(0, 1, 11)
    made = TraceSet(shares=grid, values={"speed": 1 + grid, "ram": 2 + grid}, ranks={}, correlation=0.8)
    assert rank_correlation(made.draw(MANY, 0, "test")) == pytest.approx(0.786, abs=0.01)


def test_a_draw_depends_on_the_device_alone() -> None:
    made = find_trace_set("speedtest-lte", "link")
    few, all_of_them = made.draw(np.array([7, 90_000]), 1, "test"), made.draw(MANY, 1, "test")
    assert few["down"].tolist() == all_of_them["down"][[7, 90_000]].tolist()


def test_every_shipped_set_has_a_base_in_the_catalogue_and_a_source() -> None:
    for name, made in shipped("link").items():
        assert find_link(made.base or "", Path()), name
        assert made.source
    for name, made in shipped("device").items():
        assert find_device(made.base or "", Path()), name
        assert made.source


def fleet(**given: object) -> Fleet:
    group = FleetGroup(device=devices()["phone-mid"], share=1, link=links()["lte"], **given)  # type: ignore[arg-type]
    return sample_fleet([group], 2_000, seed=5)


def test_a_fitted_fleet_has_the_figures_of_its_trace(tmp_path: Path) -> None:
    """Down 10 or 20 Mbit/s and up 8 or 4, in between as well; latency always 30 ms; powers are the base's."""
    path = tmp_path / "mine.csv"
    path.write_text("# base: lte\ndown_Mbit/s,up_Mbit/s,latency_ms\n10,8,30\n20,4,30\n")
    made = fleet(link_trace=read_trace_set(path, "link"))
    assert 10e6 <= made.down_bps.min() < 10.1e6
    assert 19.9e6 < made.down_bps.max() <= 20e6
    assert np.corrcoef(made.down_bps, made.up_bps)[0, 1] < -0.6
    assert made.latency_s == pytest.approx(0.03)
    assert set(made.send_w) == {links()["lte"].send_w}


def test_a_fitted_device_is_as_fast_and_has_as_much_memory_as_drawn(tmp_path: Path) -> None:
    """One row, 3 GFLOP/s and 2 GB: phone-mid, half as fast in all its parts, with its usable share of 2 GB."""
    path, board = tmp_path / "mine.csv", devices()["phone-mid"]
    path.write_text("speed_GFLOP/s,ram_GB\n3,2\n")
    made, slower = fleet(device_trace=read_trace_set(path, "device")), 3e9 / board.compute_flops
    assert made.compute_flops == pytest.approx(3e9)
    assert made.bandwidth == pytest.approx(board.bandwidth_bytes_per_s * slower)
    assert made.step_overhead_s == pytest.approx(board.step_overhead_s / slower)
    assert set(made.memory_bytes) == {int(2e9 * board.usable)}


def test_factors_scale_the_base_and_leave_other_groups_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("share,factor\n0,0.5\n1,0.5\n")
    pi, link = devices()["raspberry-pi-4"], links()["lte"]
    half = FleetGroup(device=pi, share=0.5, link=link, device_trace=read_trace_set(path, "device"))
    made = sample_fleet([half, FleetGroup(device=devices()["esp32-s3"], share=0.5, link=link)], 10, seed=0)
    assert set(made.compute_flops[made.device_class == 0]) == {pi.compute_flops / 2}
    assert set(made.compute_flops[made.device_class == 1]) == {devices()["esp32-s3"].compute_flops}


BAD = {
    "down_Mbit/s,up_Mbit/s\n10,5\n20,abc\n": "row 3: up_Mbit/s is 'abc'; write a number",
    "# a remark\ndown_Mbit/s,up_Mbit/s\n10,5\n-20,3\n": "row 4: down_Mbit/s is -20; it must lie between",
    "down_Mbit/s,up_Mbit/s\nnan,5\n": "row 2: down_Mbit/s is nan",
    "down_Mbit/s,up_Mbit/s\n10,5\n\n20\n": "row 4: '20': 1 values under a header of 2",
    "down_Gbit/s,up_Gbit/s\n86000,46000\n": "row 2: down_Gbit/s is 86000; .* is the unit in the header the right one",
    "down_Mbit/s\n10\n": "row 1: 'down_Mbit/s' must have either down and up, or rate",
    "down_Mbit/s,up_Mbit/s,rate_kbit/s\n10,5,1\n": "row 1: .* must have either down and up, or rate",
    "down_Mbps,up_Mbit/s\n10,5\n": "row 1: unknown unit 'Mbps' in 'down_Mbps'; did you mean Mbit/s",
    "down,up\n10,5\n": "row 1: 'down' has no unit; write e.g. down_Mbit/s",
    "download_Mbit/s,up_Mbit/s\n10,5\n": "row 1: unknown column 'download_Mbit/s' .* did you mean down",
    "down_Mbit/s,down_kbit/s,up_kbit/s\n10,5,1\n": "row 1: down_Mbit/s and down_kbit/s are the same quantity",
    "down_Mbit/s;up_Mbit/s\n10,5;3\n": "row 1: .* part columns by commas",
    "share,down_Mbit/s,up_Mbit/s\n0.1,10,5\n0.5,8,6\n": "row 3: down_Mbit/s falls from the row before",
    "share,rate_Mbit/s\n0.5,10\n0.2,20\n": "row 3: share falls from the row before",
    "share,rate_Mbit/s\n5,10\n": "row 2: share is 5; it must lie between 0 and 1",
    "share_%,rate_Mbit/s\n5,10\n": "row 1: 'share_%': share is a plain number; write share",
    "# correlation: 2\nshare,down_Mbit/s,up_Mbit/s\n0.1,10,5\n": "correlation is '2'; write a number from -1 to 1",
    "# correlation: 0.5\nshare,rate_Mbit/s\n0.1,10\n": "a correlation takes two quantities, and there is one",
    "# correlation: 0.5\ndown_Mbit/s,up_Mbit/s\n1,2\n": "a correlation is of quantiles",
    "down_Mbit/s,up_Mbit/s\n": "there is no row below the header",
    "": "there is no header",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_one_error_that_names_file_and_row(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=f"bad.csv, .*{BAD[text]}"):
        read_trace_set(path, "link")


def test_what_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match=r"bad\.csv: not a text file"):
        read_trace_set(tmp_path / "bad.csv", "link")
    with pytest.raises(ScenarioError, match=r"none\.csv: No such file or directory; a trace of devices is wanted"):
        read_trace_set(tmp_path / "none.csv", "device")
