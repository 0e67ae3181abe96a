"""Why a job, or an attempt at one of its phases, came to nothing: the word that each of its rows has for that.

The boards of worlds.py: 1 s down, training as said, 1 s up, at 1 W.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_batteries import power
from test_failures import Windows
from worlds import Gap, ended, fleet

from edgesim.devices.network import Hop, attach
from edgesim.engine import reasons
from edgesim.engine.limits import Stop
from edgesim.engine.outages import ServerOutages
from edgesim.engine.rules import Corruption, Restart, Retry, Rules
from edgesim.engine.schedules import Buffered, Deadline, Safa, Schedule, Sync, TimelyFl, constant
from edgesim.engine.simulation import Simulation

S = 1_000_000_000


def run(
    folder: Path, rules: Rules, *, schedule: Schedule | None = None, stop_s: float = 9,
    speeds: Sequence[float] = (2.0,), start_j: float | None = None, shared: bool = False, **devices: Any,
) -> Simulation:  # fmt: skip
    """Devices that train for so long each; by default one, in rounds of its own."""
    made = fleet(speeds, **devices)
    found, _ = ended(
        folder, made, schedule or Sync(1), Stop(time_ns=round(stop_s * S)), rules=rules,
        power=None if start_j is None else power(made, [start_j] * len(speeds)),
        network=attach([Hop(name="server", parent=None, down_bps=8e6, up_bps=8e6)], made, [[0]], 0) if shared else None,
    )  # fmt: skip
    return found


def told(run: Simulation, client: int = 0) -> list[tuple[str, str, str | None]]:
    """Phase, outcome and reason of each stretch of a client that did not go well."""
    rows = run.state()["recorder"]["events"]
    return [(row[3], row[10], row[11]) for row in rows if row[1] == client and row[11] is not None]


DOWN = ServerOutages(starts_ns=(3 * S + S // 2,), ends_ns=(20 * S,))  # in the middle of the upload


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize(
    ("rules", "world", "expected"),
    [
        (Rules(), {"availability": Gap(S // 2, None)}, [("download", "lost", "off-line")]),
        (Rules(), {"availability": Gap(2 * S, 90 * S)}, [("train", "lost", "off-line")]),
        (Rules(), {"availability": Gap(3 * S, 90 * S)}, [("upload", "lost", "off-line")]),  # it cannot begin
        (Rules(transfer="resume"), {"availability": Gap(S // 2, 2 * S)}, [("download", "interrupted", "off-line")]),
        (Rules(), {"start_j": 2.5}, [("train", "lost", "no-charge")]),
        (Rules(), {"start_j": 1.3}, [("download", "lost", "no-charge")]),
        (Rules(training=Restart(attempts=2)), {"start_j": 2.5}, [("train", "lost", "no-charge")]),  # nobody charges it
        (Rules(), {"start_j": 2.5, "tail_s": 2.0}, [("train", "lost", "no-charge")]),  # it cannot begin
        (Rules(outages=DOWN), {}, [("upload", "lost", "server-down")]),
        (Rules(outages=DOWN, transfer="resume"), {}, [("upload", "interrupted", "server-down")]),
        (Rules(), {"memory_bytes": 999, "stop_s": 1.5}, [("train", "out-of-memory", "out-of-memory")]),
    ],
)
def test_what_keeps_a_device_from_its_job_is_told(
    tmp_path: Path, rules: Rules, world: dict[str, Any], expected: list[Any], shared: bool
) -> None:
    assert told(run(tmp_path, rules, shared=shared, **world)) == expected


def test_attempts_and_the_job_that_has_no_more_of_them_have_reasons_of_their_own(tmp_path: Path) -> None:
    """On line for half a second at 0 and 2 s, so two tries to download end; the server is down when the third does."""
    windows = Windows((0, 0.5), (2, 2.5), (4, 99))
    outages = ServerOutages(starts_ns=(4 * S + S // 2,), ends_ns=(8 * S,))
    rules = Rules(transfer=Retry(first_s=0, attempts=3), outages=outages)
    assert told(run(tmp_path, rules, stop_s=5, availability=windows)) == [
        ("download", "failed", "off-line"), ("download", "failed", "off-line"), ("download", "lost", "server-down"),
    ]  # fmt: skip


def test_what_lasts_for_ever_is_why_a_job_that_waits_is_lost(tmp_path: Path) -> None:
    """The upload breaks off at 3.5 s, as the server is down. When it is back, at 5 s, the device has left for good."""
    outages = ServerOutages(starts_ns=(3 * S + S // 2,), ends_ns=(5 * S,))
    rules = Rules(transfer="resume", outages=outages)
    assert told(run(tmp_path, rules, availability=Gap(4 * S, None))) == [("upload", "lost", "off-line")]


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_crashes_and_damage_are_told(tmp_path: Path, shared: bool) -> None:
    """Whatever the draws are."""
    crashed = told(run(tmp_path / "crash", Rules(crash_s=4.0, seed=1), stop_s=90, shared=shared))
    assert {(outcome, reason) for _, outcome, reason in crashed} == {("lost", "crash")}
    rules = Rules(corruption=Corruption(share=0.6, attempts=2), seed=1)
    damaged = told(run(tmp_path / "damage", rules, stop_s=90, shared=shared))
    assert {(outcome, reason) for _, outcome, reason in damaged} == {("corrupt", "corrupt"), ("lost", "corrupt")}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Deadline(1, 2, 50 * S), ("train", "cancelled", "over-selected")),  # the other is done at 3 s
        (Deadline(2, 2, 4 * S), ("train", "cancelled", "deadline")),
        (TimelyFl(2, 1, partial=False, slack=0.9), None),
        (Safa(1, 1, 50 * S), ("train", "cancelled", "outdated")),
        (Buffered(2, 1, constant, max_staleness=1), ("upload", "stale", "stale")),
    ],
)
def test_what_the_server_gives_up_is_told(
    tmp_path: Path, schedule: Schedule, expected: tuple[str, str, str] | None
) -> None:
    """One device trains for 1 s, the other for 9 s."""
    made = run(tmp_path, Rules(), schedule=schedule, stop_s=13, speeds=[1.0, 9.0])
    if expected is None:  # the slow one is left out, and the time of the other is over before it is done
        assert told(made, 0)[0] == ("upload", "cancelled", "deadline")
    else:
        assert told(made, 1)[0] == expected


def test_every_reason_is_a_word_of_the_table() -> None:
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert words == set(reasons.REASONS)
