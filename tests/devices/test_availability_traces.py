"""Availability traces: three formats read, and every mistake told with file and row."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from edgesim.devices.tracefiles import Format, read_trace
from edgesim.devices.traces import Trace
from edgesim.errors import ScenarioError

SECOND_NS = 1_000_000_000


def test_own_csv_in_minutes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("device,start_min,end_min\nb,0,2\na,1,1.5\nb,3,4\n", encoding="utf-8-sig")  # as Excel writes it
    found = read_trace(path)
    assert found.users == ("b", "a")
    assert found.first.tolist() == [0, 2, 3]
    assert found.starts_us.tolist() == [0, 180_000_000, 60_000_000]
    assert found.ends_us.tolist() == [120_000_000, 240_000_000, 90_000_000]
    assert found.period_us.tolist() == [240_000_000, 240_000_000]


def test_the_period_may_be_longer_than_the_last_interval(tmp_path: Path) -> None:
    """One user on in [0, 3) of 10 s: looping it is on in [10, 13) too, once it is off for ever."""
    path = tmp_path / "t.csv"
    path.write_text("device,start_s,end_s\na,0,3\n")
    recording = read_trace(path, period_s=10.0)
    loop, once = Trace(recording=recording).start(0), Trace(recording=recording, loop=False).start(0)
    assert [loop.next_change_ns(5, t * SECOND_NS) for t in (0, 3, 12)] == [
        3 * SECOND_NS,
        10 * SECOND_NS,
        13 * SECOND_NS,
    ]
    assert [once.next_change_ns(5, t * SECOND_NS) for t in (0, 3, 12)] == [3 * SECOND_NS, None, None]
    assert not once.is_on(5, 11 * SECOND_NS)


def test_devices_spread_evenly_over_the_users(tmp_path: Path) -> None:
    """Half of the devices follow the user that is on; 4,000 devices, five standard errors; another seed, others."""
    path = tmp_path / "t.csv"
    path.write_text("device,start_s,end_s\na,0,5\nb,5,10\n")
    law = Trace(recording=read_trace(path))
    on = law.start(1).is_on_many(np.arange(4000), 0)
    assert abs(on.mean() - 0.5) < 5 * 0.5 / 4000**0.5
    assert (on != law.start(2).is_on_many(np.arange(4000), 0)).any()


def test_fedscale_pickle(tmp_path: Path) -> None:
    path = tmp_path / "behave.pkl"
    entry = {"duration": 9, "active": [10, 40], "inactive": [30, 50], "finish_time": 100, "model": "X1"}
    path.write_bytes(pickle.dumps({3834: entry, 7: {**entry, "active": [], "inactive": [], "finish_time": 60}}))
    found = read_trace(path, "fedscale")
    assert found.users == ("3834", "7")
    assert found.first.tolist() == [0, 2, 2]
    assert found.starts_us.tolist() == [10_000_000, 40_000_000]
    assert found.period_us.tolist() == [100_000_000, 60_000_000]
    started = Trace(recording=found).start(0)
    idle = next(device for device in range(50) if started.user(np.array([device]))[0] == 1)
    assert not started.is_on(idle, 0)
    assert started.next_change_ns(idle, 0) is None


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "behave.pkl"
    path.write_bytes(pickle.dumps({1: Evil()}))
    with pytest.raises(ScenarioError, match=r"asks for builtins\.print, and a trace is plain data"):
        read_trace(path, "fedscale")
    assert capsys.readouterr().out == ""


def test_flash_states(tmp_path: Path) -> None:
    """Charging, on Wi-Fi and locked or dark: from 01:00 (all three) to 02:00 (mobile), from 03:00 to the end, 04:00;
    the next day again at the same hours. A user with a single event, at midnight, has a day, too."""
    lines = (
        "2020-01-29 00:10:00\tscreen_off", "2020-01-29 00:30:00\tbattery_charged_on", "2020-01-29 00:40:00\t87.0%",
        "2020-01-29 01:00:00\twifi", "2020-01-29 01:30:00\tscreen_lock", "2020-01-29 01:40:00\tscreen_on",
        "2020-01-29 02:00:00\t4G", "2020-01-29 03:00:00\twifi", "2020-01-29 04:00:00\tbattery_charged_off", "",
    )  # fmt: skip
    path = tmp_path / "states.json"
    users = {"0": {"model": "M", "messages": "\n".join(lines)}, "1": {"messages": "2020-01-29 00:00:00\twifi"}}
    path.write_text(json.dumps(users))
    found = read_trace(path, "flash")
    assert (found.starts_us / 3.6e9).tolist() == [1.0, 3.0]
    assert (found.ends_us / 3.6e9).tolist() == [2.0, 4.0]
    assert (found.period_us / 3.6e9).tolist() == [24.0, 24.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "row 1: '': must be a header such as device,start_s,end_s"),
        ("a,0,1\n", "row 1: 'a,0,1': must be a header"),
        ("device,start_s,end_h\n", "row 1: 'device,start_s,end_h': must be a header"),
        ("device,start,end\na,0,1\n", "row 1: 'device,start,end': must say its unit, as in device,start_s,end_s"),
        ("device,start_mins,end_mins\na,1,2\n", "row 1: unknown unit 'mins' in 'start_mins'; did you mean min?"),
        ("device,start_s,end_s\n", "as a whole: there is no interval, so nobody would ever be on line; write"),
        ("device,start_ns,end_ns\na,0,9000\n", "user a: lasts 9e-06 s, which is less than a millisecond; is the unit"),
        (
            "device,start_s,end_s\na,30,0\n",
            "row 2: user a: 30 s to 0 s: must end after it begins, and within a century",
        ),
        ("device,start_s,end_s\na,0,1\na,2\n", "row 3: 'a,2': must be device,start,end"),
        ("device,start_s,end_s\na,0,\n", "row 2: 'a,0,': must be device,start,end, none of them empty"),
        ("device,start_s,end_s\na,0,1 h\n", "row 2: 'a,0,1 h': start and end must be numbers"),
        ("device,start_s,end_s\na,-1,4\n", "row 2: user a: -1 s to 4 s: must not begin before 0"),
        ("device,start_s,end_s\na,nan,4\n", "row 2: user a: nan s to 4 s: must not begin before 0"),
        ("device,start_s,end_s\na,4,4\n", "row 2: user a: 4 s to 4 s: must end after it begins"),
        ("device,start_s,end_s\na,4,inf\n", "row 2: user a: 4 s to inf s: must end after it begins, and within"),
        (
            "device,start_s,end_s\nb,0,9\na,5,7\nb,9,9.5\na,1,2\n",
            "row 5: user a: 1 s to 2 s: comes after one that begins",
        ),
        ("device,start_s,end_s\na,0,5\na,4,7\n", "row 3: user a: 4 s to 7 s: overlaps the one before, 0 s to 5 s"),
    ],
)
def test_a_mistake_in_a_csv_is_told_with_file_and_row(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}, {said}")


@pytest.mark.parametrize(
    ("form", "content", "said"),
    [
        ("csv", b"\xff\xfe\x00", ": not a text file; is it of another format?"),
        ("fedscale", b"nonsense", ", as a whole: not a pickle of plain data"),
        ("fedscale", pickle.dumps([1]), ", as a whole: must be a mapping from users"),
        ("fedscale", pickle.dumps({5: {"active": [1]}}), ", user 5: must have active and inactive"),
        (
            "fedscale",
            pickle.dumps({5: {"active": [0, 5], "inactive": [6, 7], "finish_time": 10}}),
            ", user 5, place 1: user 5: 5 s to 7 s: overlaps",
        ),
        (
            "fedscale",
            pickle.dumps({5: {"active": [0], "inactive": [16], "finish_time": 10}}),
            ", user 5, place 0: user 5: 0 s to 16 s: ends beyond the period of 10 s",
        ),
        ("flash", b"{", ", row 1: not JSON"),
        ("flash", b'{"a": {}}', ", user a: must have messages"),
        ("flash", b'{"a": {"messages": "monday\\twifi"}}', ", user a, line 1: 'monday\\twifi': must be a time"),
        (
            "flash",
            b'{"a": {"messages": "2020-01-02 00:00:00\\twifi\\n2020-01-01 00:00:00\\twifi"}}',
            ", user a, line 2: comes after a later event",
        ),
    ],
)
def test_a_mistake_in_an_import_is_told_with_its_place(tmp_path: Path, form: Format, content: bytes, said: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        read_trace(path, form)
    assert str(caught.value).startswith(f"{path}{said}")


def test_a_trace_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="No such file or directory; a trace file is wanted"):
        read_trace(tmp_path / "none.csv")


def test_an_interval_beyond_a_period_asked_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("device,start_s,end_s\na,0,3\n")
    with pytest.raises(ScenarioError, match="row 2: user a: 0 s to 3 s: ends beyond the period of 2 s"):
        read_trace(path, period_s=2.0)
