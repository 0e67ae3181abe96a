"""Availability in a scenario: what is written becomes the process that is meant, or an error at its place."""

from pathlib import Path

import numpy as np
import pytest

from edgesim.devices.availability import AlwaysOn, FleetAvailability
from edgesim.document import Document, check
from edgesim.errors import ScenarioError
from edgesim.scenario import availability
from edgesim.scenario.availability import Availability, Outages
from edgesim.scenario.section import Section

HOUR_NS = 3_600_000_000_000


class Entry(Section):
    availability: Availability
    outages: Outages | None = None


def read(folder: Path, text: str) -> Entry:
    path = folder / "entry.yaml"
    path.write_text(text)
    return check(Document.read(path), Entry, {"folder": folder, "profiles": None})


def fleet(folder: Path, text: str, devices: int = 500) -> FleetAvailability:
    entry = read(folder, text)
    return FleetAvailability(
        [availability.process(entry.availability, entry.outages, folder, 0)], np.zeros(devices, np.int32), seed=1
    )


RULES = """
availability:
  kind: rules
  signals:
    charging: {kind: diurnal, peak: 02:00, hours: 8 h, timezone: [-05:00, "+01:00"], weekend: {hours: 9 h}}
    wifi: {kind: markov, on: 3 h, off: 1 h, variation: 0.5}
    cable: {kind: bernoulli, window: 1 h, chance: 20 %}
  all: [charging, {any: [wifi, cable]}]
outages: {every: 3 d, lasts: 2 h, share: 30 %, groups: 4}
"""


def test_a_rule_with_outages_holds_only_while_phones_charge(tmp_path: Path) -> None:
    """Sessions last 22:00 to 06:00 local: 03:00 to 11:00 UTC in the one zone, 21:00 to 05:00 in the other."""
    found, devices = fleet(tmp_path, RULES), np.arange(500)
    assert not found.always
    assert 0.5 < found.is_on_many(devices, 4 * HOUR_NS).mean() < 0.9
    assert 0.2 < found.is_on_many(devices, 8 * HOUR_NS).mean() < 0.5
    assert not found.is_on_many(devices, 15 * HOUR_NS).any()


def test_what_was_read_is_written_back_the_same(tmp_path: Path) -> None:
    entry = read(tmp_path, RULES)
    written = entry.model_dump_json()
    assert '"peak":"02:00"' in written
    assert '["-05:00","+01:00"]' in written
    assert read(tmp_path, written) == entry


def test_a_bare_word_and_a_trace_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("device,start_h,end_h\na,0,3\na,5,9\n")
    assert fleet(tmp_path, "availability: always").always
    found = fleet(tmp_path, "availability: {kind: trace, path: t.csv, period: 12 h}")
    assert [found.is_on(7, hour * HOUR_NS) for hour in (0, 4, 6, 10, 13)] == [True, False, True, False, True]


def test_a_device_without_comings_of_its_own_still_fails(tmp_path: Path) -> None:
    found = fleet(tmp_path, "availability: always\noutages: {every: 2 h, lasts: 1 h}")
    assert not found.always
    assert found.next_change_ns(0, 0) == found.next_change_ns(3, 0)
    entry = read(tmp_path, "availability: always")
    assert isinstance(availability.process(entry.availability, None, tmp_path, 0), AlwaysOn)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{kind: diurnal, peak: 25:00, hours: 8 h}", "peak: '25:00' is not an hour of the day; write hours:minutes"),
        ("{kind: diurnal, peak: 2, hours: 8 h}", "peak: 2 is not an hour of the day"),
        ("{kind: diurnal, peak: 02:00, hours: 8}", "hours: missing unit in 8; write e.g. 5 min"),
        (
            "{kind: diurnal, peak: 02:00, hours: 8 h, timezone: CET}",
            "timezone: 'CET' is not a time zone",
        ),
        ("{kind: diurnal, peak: 02:00, hours: 8 h, weekend: {peak: 12:00}}", "availability: weekend sessions of 8 h"),
        (
            "{kind: bernouli, window: 1 h, chance: 0.5}",
            "unknown kind 'bernouli'; did you mean bernoulli?",
        ),
        ("{kind: trace, path: t.csv}", "path: {folder}/t.csv: No such file or directory"),
        ("{kind: trace, path: bad.csv}", "path: {folder}/bad.csv, row 3: user a: 2 s to 9 s: overlaps"),
        (
            "{kind: rules, signals: {wifi: {kind: markov, on: 3 h, off: 1 h}}, all: [wify]}",
            "availability.all.0: unknown signal 'wify'; did you mean wifi?",
        ),
        (
            "{kind: rules, signals: {wifi: {kind: markov, on: 3 h, of: 1 h}}, all: [wifi]}",
            "signals.wifi.of: unknown key; did you mean off?",
        ),
        (
            "{kind: rules, signals: {a: {kind: markov, on: 3 h, off: 1 h}}, all: [a, {none: [a]}]}",
            "availability: the rule never holds, whatever its signals do",
        ),
        (
            "{kind: rules, signals: {a: {kind: markov, on: 3 h, off: 1 h}}, all: [a], any: [a]}",
            "availability: got all and any; write exactly one of all, any, none",
        ),
        (
            "{kind: rules, signals: {a: {kind: markov, on: 3 h, off: 1 h}, b: {kind: markov, on: 3 h, off: 1 h}}, "
            "all: [a]}",
            "signals.b: no part of the rule names this signal",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.csv").write_text("device,start_s,end_s\na,0,3\na,2,9\n")
    with pytest.raises(ScenarioError) as caught:
        read(tmp_path, f"availability: {text}")
    assert said.replace("{folder}", str(tmp_path)) in str(caught.value)
