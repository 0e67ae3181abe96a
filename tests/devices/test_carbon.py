"""Carbon: grams by hand, against a sum over nanoseconds' worth of steps, and tables with mistakes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.devices.carbon import CarbonIntensity, national, read_carbon, steady
from edgesim.errors import ScenarioError

HOUR_NS = 3_600_000_000_000
KWH_J = 3.6e6
DAY = CarbonIntensity(
    regions=("a", "b"),
    starts_ns=np.array([0, 6, 18]) * HOUR_NS,
    g_per_kwh=np.array([[400.0, 100.0, 300.0], [50.0, 60.0, 70.0]]),
    period_ns=24 * HOUR_NS,
)


def test_grams_by_hand() -> None:
    """1 kWh from 4:00 to 8:00: two hours at 400 and two at 100 give 250 g; from 22:00 to 2:00 the next day 350 g;
    two whole days 225 g in the mean (6 · 400 + 12 · 100 + 6 · 300 = 5,400 over 24)."""
    starts, ends = np.array([4, 22, 0]) * HOUR_NS, np.array([8, 26, 48]) * HOUR_NS
    assert DAY.grams(0, KWH_J, starts, ends).tolist() == pytest.approx([250.0, 350.0, 225.0])
    assert float(DAY.grams(1, 2 * KWH_J, 7 * HOUR_NS, 8 * HOUR_NS)) == pytest.approx(120.0)
    assert float(DAY.grams(0, KWH_J, 18 * HOUR_NS, 18 * HOUR_NS)) == pytest.approx(300.0)


@pytest.mark.parametrize("lasts_ns", [0, 1, 1000])
@pytest.mark.parametrize("day", [0, 365, 36_500])
def test_short_times_are_as_exact_after_a_century_as_at_first(day: int, lasts_ns: int) -> None:
    at_ns = day * 24 * HOUR_NS + np.array([0, 6, 18]) * HOUR_NS
    assert DAY.grams(0, KWH_J, at_ns, at_ns + lasts_ns).tolist() == pytest.approx([400.0, 100.0, 300.0], rel=0.02)
    if lasts_ns == 0:
        assert DAY.grams(0, KWH_J, at_ns + HOUR_NS, at_ns + HOUR_NS).tolist() == [400.0, 100.0, 300.0]


@given(start=st.integers(0, 300), lasts=st.integers(1, 100), middle=st.floats(0, 1))
def test_grams_of_parts_add_up(start: int, lasts: int, middle: float) -> None:
    """At even power the joules of a part are its share of the time."""
    start_ns, end_ns = start * HOUR_NS // 4, (start + lasts) * HOUR_NS // 4
    cut_ns = start_ns + round(middle * (end_ns - start_ns))
    first = (cut_ns - start_ns) / (end_ns - start_ns)
    parts = DAY.grams(0, KWH_J * first, start_ns, cut_ns) + DAY.grams(0, KWH_J * (1 - first), cut_ns, end_ns)
    assert float(parts) == pytest.approx(float(DAY.grams(0, KWH_J, start_ns, end_ns)), rel=1e-6)
    quarters = np.arange(start, start + lasts) * HOUR_NS // 4
    by_quarter = DAY.grams(0, KWH_J / lasts, quarters, quarters + HOUR_NS // 4).sum()
    assert float(by_quarter) == pytest.approx(float(DAY.grams(0, KWH_J, start_ns, end_ns)))


def test_countries_are_shipped() -> None:
    means = national()
    assert float(means.grams(means.index("FRA"), KWH_J, 0, 5)) == pytest.approx(56.039)
    with pytest.raises(ScenarioError, match="unknown region 'FRAU'; did you mean FRA"):
        means.index("FRAU")


def test_a_table_is_read_and_begins_anew(tmp_path: Path) -> None:
    """Three steps of 8 h; the last is as long as the one before."""
    path = tmp_path / "grid.csv"
    path.write_text("# source\nstart_h,x,y\n0,100,1\n\n8,200,2\n16,300,3\n", encoding="utf-8-sig")
    found = read_carbon(path)
    assert found.period_ns == 24 * HOUR_NS
    assert found.regions == ("x", "y")
    assert float(found.grams(1, KWH_J, 33 * HOUR_NS, 34 * HOUR_NS)) == pytest.approx(2.0)


@pytest.mark.parametrize(("rows", "period_h"), [("0,1\n", 24), ("0,1\n5,2\n", 10), ("0,1\n5,2\n6,3\n", 7)])
def test_the_last_step_is_as_long_as_the_one_before_and_a_single_one_a_day(
    tmp_path: Path, rows: str, period_h: int
) -> None:
    (tmp_path / "grid.csv").write_text("start_h,x\n" + rows)
    assert read_carbon(tmp_path / "grid.csv").period_ns == period_h * HOUR_NS


def test_a_steady_grid() -> None:
    found = steady({"home": 380.0, "sun": 0.0})
    assert float(found.grams(0, KWH_J / 2, 5, 10**18)) == pytest.approx(190.0)
    assert float(found.grams(found.index("sun"), KWH_J, 5, 10**18)) == 0.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": header ''; must be start_h,region,region…"),
        ("start_h,a,a\n0,1,1\n", ": header 'start_h,a,a'; must be"),
        ("start,a\n0,1\n", ": header 'start,a'; must be start_h,region,region…"),
        ("begin_h,a\n0,1\n", ": header 'begin_h,a'; must be start_h,region,region…"),
        ("start_h\n0\n", ": header 'start_h'; must be start_h,region,region…"),
        ("start_h,a,\n0,1,2\n", ": header 'start_h,a,'; must be start_h,region,region…"),
        ("start_hr,a\n0,1\n", ": unknown unit 'hr' in 'start_hr'; did you mean h?"),
        ("start_h,a\n", ": has no row beside its header"),
        ("start_h,a\n0,1\n2\n", ", row 3: '2'; must be 2 numbers"),
        ("start_h,a\n0,x\n", ", row 2: '0,x'; must be 2 numbers"),
        ("start_h,a\n0,-1\n", ", row 2: '0,-1'; must be 2 numbers, a start and g CO2e/kWh, none below 0"),
        ("# c\nstart_h,a\n1,1\n", ", row 3: starts at 1; the first step must start at 0"),
        ("start_h,a\n0,1\n5,1\n5,2\n", ", row 4: starts at 5, after 5; starts must ascend"),
        ("start_ns,a\n0,1\n0.3,1\n", ", row 3: starts at 0.3, after 0; starts must ascend by a nanosecond"),
        ("start_d,a\n0,1\n1e8,1\n", ", row 3: starts at 1e+08, after 0; starts must ascend by a nanosecond"),
    ],
)
def test_a_mistake_in_a_table_is_told_with_file_and_row(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_carbon(path)
    assert str(caught.value).startswith(f"{path}{said}")


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="a table of carbon intensities is wanted"):
        read_carbon(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("start_h,Köln\n0,380\n".encode("latin-1"))
    with pytest.raises(ScenarioError, match=r"latin\.csv: not a text file in UTF-8; a table of carbon"):
        read_carbon(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"starts_ns": np.array([1, 6, 18])}, "must ascend from 0"),
        ({"period_ns": 18 * HOUR_NS}, "must ascend from 0"),
        ({"g_per_kwh": np.ones((1, 3))}, r"must be \[region, step\]"),
        ({"g_per_kwh": np.array([[1.0, 0.0, 1.0], [1.0, 1.0, -1.0]])}, "must be 0 or more"),
        ({"g_per_kwh": np.array([[1.0, 0.0, 1.0], [1.0, 1.0, np.inf]])}, "must be 0 or more"),
    ],
)
def test_impossible_intensities_are_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CarbonIntensity(**{**vars(DAY), **changed})
