"""Trace imports: the availability traces of FedScale (a pickle) and FLASH (JSON), read as intervals of users.

FedScale: Lai et al. 2022, ICML. FLASH: Yang et al. 2021, WWW.
"""

import json
import math
import pickle
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

LONGEST_S = 3.2e9  # a century
_DAY_S = 86_400.0
_FLASH_TIME = "%Y-%m-%d %H:%M:%S"
_FLASH_EVENTS = {
    "battery_charged_on": ("charging", True),
    "battery_charged_off": ("charging", False),
    "screen_off": ("screen", False),
    "screen_lock": ("unlocked", False),
    "screen_on": ("screen", True),
    "screen_unlock": ("unlocked", True),
    "wifi": ("wifi", True),
    **dict.fromkeys(("unknown", "2g", "3g", "4g", "5g"), ("wifi", False)),
}


class Interval(NamedTuple):
    """A user's time on line, and where in the file it stands."""

    user: str
    start_s: float
    end_s: float
    where: str


class UnreadableError(Exception):
    """A trace file that cannot be read: its one argument says where and why."""


class _PlainData(pickle.Unpickler):
    """Numbers, texts, lists and mappings; a pickle that asks for anything else is refused before it is run."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and a trace is plain data")


def read_fedscale(path: Path) -> tuple[list[Interval], dict[str, float]]:
    """Intervals, and each user's finish_time, after which its trace begins anew."""
    with path.open("rb") as file:
        try:
            users = _PlainData(file).load()
        except Exception as error:  # whatever bytes that are no pickle lead to
            lose("as a whole", f"not a pickle of plain data ({error})")
    found, periods_s = list[Interval](), dict[str, float]()
    for user, entry in _entries(users):
        try:
            active, inactive = [list(map(float, entry[name])) for name in ("active", "inactive")]
            periods_s[user] = float(entry["finish_time"])
            pairs = list(zip(active, inactive, strict=True))
        except (KeyError, TypeError, ValueError):
            lose(f"user {user}", "must have active and inactive, lists of as many seconds, and finish_time in seconds")
        if not 0 < periods_s[user] <= LONGEST_S:
            lose(f"user {user}", f"finish_time {periods_s[user]:g}: must lie between 0 and a century, in seconds")
        found += [Interval(user, *pair, f"user {user}, place {place}") for place, pair in enumerate(pairs)]
    return found, periods_s


def read_flash(path: Path) -> tuple[list[Interval], dict[str, float]]:
    """Intervals in which a phone is ready to train, and for each user the whole days up to its last event.

    Days, so that what begins anew keeps its hour.
    """
    try:
        users = json.loads(path.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        lose(f"row {error.lineno}", f"not JSON: {error.msg}")
    found, periods_s = list[Interval](), dict[str, float]()
    for user, entry in _entries(users):
        if not isinstance(entry, dict) or not isinstance(entry.get("messages"), str):
            lose(f"user {user}", "must have messages, a text of lines: time, tab, event")
        events = list(_flash_events(user, entry["messages"]))
        if events:
            found += _ready(user, events)
            periods_s[user] = _DAY_S * max(1, math.ceil(events[-1][0] / _DAY_S))
    return found, periods_s


def _flash_events(user: str, messages: str) -> Iterator[tuple[float, str, str]]:
    """Seconds since midnight before the first event, event and where it stands."""
    midnight: datetime | None = None
    for number, line in enumerate(messages.splitlines(), start=1):
        if not line.strip():
            continue
        where, (time, _, event) = f"user {user}, line {number}", line.strip().partition("\t")
        try:
            at = datetime.strptime(time.strip(), _FLASH_TIME)
        except ValueError:
            lose(where, f"{line!r}: must be a time as 2020-01-31 23:59:59, a tab, an event")
        midnight = midnight or at.replace(hour=0, minute=0, second=0)
        yield (at - midnight).total_seconds(), event.strip().lower(), where


def _ready(user: str, events: list[tuple[float, str, str]]) -> Iterator[Interval]:
    """The stretches in which the phone charges, is on Wi-Fi and nobody uses it."""
    state = {"charging": False, "wifi": False, "screen": True, "unlocked": True}
    since_s: float | None = None
    before_s = 0.0
    for at_s, event, where in events:
        if at_s < before_s:
            lose(where, "comes after a later event; sort a user's events by time")
        before_s = at_s
        if event in _FLASH_EVENTS:
            name, value = _FLASH_EVENTS[event]
            state[name] = value
        ready = state["charging"] and state["wifi"] and not (state["screen"] and state["unlocked"])
        if not ready and since_s is not None and at_s > since_s:
            yield Interval(user, since_s, at_s, where)
        since_s = None if not ready else at_s if since_s is None else since_s
    if since_s is not None and before_s > since_s:
        yield Interval(user, since_s, before_s, f"user {user}, last line")


def _entries(users: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(users, dict) or not users:
        lose("as a whole", "must be a mapping from users to what they did, and hold one at least")
    return ((str(user), entry) for user, entry in users.items())


def lose(where: str, why: str) -> NoReturn:
    """Give the file up, for the reason and the place in it."""
    raise UnreadableError(f"{where}: {why}")
