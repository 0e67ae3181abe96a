"""Units: a closed table, read exactly, written back so that it reads as the same number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from edgesim import units
from edgesim.units import Seconds, Share


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("20 min", "time", 1200.0),
        ("1.5h", "time", 5400.0),
        ("3 \u00b5s", "time", 3e-6),  # the micro sign …
        ("3 \u03bcs", "time", 3e-6),  # … and the Greek letter
        ("2.2 ms", "time", 0.0022),  # the nearest float to 0.0022, which 2.2 * 0.001 is not
        ("4 GB", "size", 4e9),  # k M G are powers of ten …
        ("4 GiB", "size", 4 * 2**30),  # … Ki Mi Gi of two
        ("20 Mbit/s", "rate", 20e6),
        ("3.7 W", "power", 3.7),
        ("1 kWh", "energy", 3.6e6),
        ("1.5 GFLOP/s", "compute", 1.5e9),
        ("12.8 GB/s", "bandwidth", 12.8e9),
        ("30 %", "share", 0.3),
        ("0.3", "share", 0.3),
        (0.3, "share", 0.3),
    ],
)
def test_quantities_are_read(text: object, kind: str, value: float) -> None:
    assert units.parse(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (300, "time", "missing unit in 300; write e.g. 5 min (ns, us, ms, s, min, h, d)"),
        ("300", "time", "missing unit in '300'; write e.g. 5 min (ns, us, ms, s, min, h, d)"),
        ("2 W", "time", "'2 W' is a power; a time is wanted, e.g. 5 min"),
        ("1 J", "power", "'1 J' is an energy; a power is wanted, e.g. 3.7 W"),
        (
            "1 Mb/s",
            "rate",
            "'1 Mb/s': unknown unit 'Mb/s'; did you mean Mbit/s? (bit/s, kbit/s, Mbit/s, Gbit/s)",
        ),
        (
            "5 mbit/s",
            "rate",
            "'5 mbit/s': unknown unit 'mbit/s'; did you mean Mbit/s? (bit/s, kbit/s, Mbit/s, Gbit/s)",
        ),
        ("20m", "time", "'20m': unknown unit 'm'; write one of ns, us, ms, s, min, h, d"),
        ("20 mins", "time", "'20 mins': unknown unit 'mins'; did you mean min? (ns, us, ms, s, min, h, d)"),
        ("5 mj", "energy", "'5 mj': unknown unit 'mj'; did you mean mJ or MJ? (mJ, J, kJ, MJ, Wh, kWh)"),
        ("5 Mbps", "rate", "'5 Mbps': unknown unit 'Mbps'; did you mean Mbit/s? (bit/s, kbit/s, Mbit/s, Gbit/s)"),
        ("5 MBps", "rate", "'5 MBps': unknown unit 'MBps'; write one of bit/s, kbit/s, Mbit/s, Gbit/s"),
        ("100 MB/s", "rate", "'100 MB/s' is a bandwidth; a rate is wanted: write 800 Mbit/s"),
        ("20 Mbit/s", "bandwidth", "'20 Mbit/s' is a rate; a bandwidth is wanted: write 2.5 MB/s"),
        ("1 MiB/s", "rate", "'1 MiB/s': unknown unit 'MiB/s'; write 8388608 bit/s"),
        (
            "5 GFLOPS",
            "compute",
            "'5 GFLOPS': unknown unit 'GFLOPS'; did you mean GFLOP/s? (FLOP/s, MFLOP/s, GFLOP/s, TFLOP/s)",
        ),
        (
            "3000 mAh",
            "energy",
            "'3000 mAh' is a charge; an energy is wanted: times the volts, e.g. 1000 mAh at 3.7 V are 3.7 Wh",
        ),
        ("2.4 GHz", "bandwidth", "'2.4 GHz': unknown unit 'GHz'; write one of B/s, MB/s, GB/s"),
        ("-3 W", "power", "'-3 W' is negative; a power is 0 or more, e.g. 3.7 W"),
        ("1e999 W", "power", "'1e999 W' is beyond what a number can hold; write e.g. 3.7 W"),
        ("soon", "time", "'soon' is not a time; write e.g. 5 min"),
        (True, "share", "true is not a share; write e.g. 30 %"),
        (None, "energy", "null is not an energy; write e.g. 1 kJ"),
        ([1], "size", "a list is not a size; write e.g. 4 GB"),
    ],
)
def test_all_else_is_refused_with_what_would_do(text: object, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        units.parse(text, kind)
    assert str(refusal.value) == message


@given(st.sampled_from(sorted(units.TABLE)), st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_what_is_written_reads_as_the_same_number(kind: str, value: float) -> None:
    assert units.parse(units.format(value, kind), kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1800.0, "time", "30 min"),
        (100.0, "time", "100 s"),
        (0.0, "power", "0 W"),
        (0.25, "share", "25 %"),
        (2.0**20, "size", "1 MiB"),
        (1e6, "size", "1 MB"),
    ],
)
def test_quantities_are_written_as_people_do(value: float, kind: str, text: str) -> None:
    assert units.format(value, kind) == text


class _Model(BaseModel):
    every: Seconds = Field(default=60.0, gt=0)
    part: Share | None = None


def test_a_field_reads_and_writes_its_unit() -> None:
    model = _Model.model_validate({"every": "2 h", "part": "40 %"})
    assert (model.every, model.part) == (7200.0, 0.4)
    assert model.model_dump(mode="json") == {"every": "2 h", "part": "40 %"}
    assert model.model_dump() == {"every": 7200.0, "part": 0.4}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"every": 5}, "missing unit in 5"),
        ({"every": "0 s"}, "greater than 0"),
        ({"part": "120 %"}, "'120 %' is above 1; a share is between 0 and 1"),
    ],
)
def test_a_field_keeps_its_limits(data: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _Model.model_validate(data)


def test_a_field_tells_editors_what_to_write() -> None:
    every = _Model.model_json_schema()["properties"]["every"]
    assert (every["type"], every["examples"]) == ("string", ["5 min"])
