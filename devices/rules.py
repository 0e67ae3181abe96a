"""Rules: on line when a statement about signals holds, as "charging and on Wi-Fi"; each signal is a process."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.devices.availability import Process
from edgesim.devices.segments import LastSegments
from edgesim.devices.trajectories import NEVER, BoolArray, Flips, Instant, Trajectories, ordered
from edgesim.errors import RunError
from edgesim.streams import key

Statement: TypeAlias = Callable[[Mapping[str, BoolArray]], BoolArray]
"""(name of a signal → its states) → whether the statement holds, entry by entry"""

_SIGNALS = 12  # a table of 2^12 states at most
_HOPS = 100_000
_KEPT = 1 << 16  # devices whose present state is kept
_NOTHING = (0, 0, False)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """On line when `statement` holds. Signals of one name in several rules of one seed follow one trajectory.

    Attributes: signals, name → process; statement, what must hold of them.

    Raises:
        ValueError: no signal or more than 12, or a statement that holds whatever they do, or never.
    """

    signals: Mapping[str, Process]
    statement: Statement

    def __post_init__(self) -> None:
        if not 1 <= len(self.signals) <= _SIGNALS:
            raise ValueError(f"{len(self.signals)} signals: a rule is about 1 to {_SIGNALS}")
        table = self.table()
        if table.all() or not table.any():
            word = "always" if table.all() else "never"
            raise ValueError(f"the rule {word} holds, whatever its signals do")

    def table(self) -> BoolArray:
        """Whether the statement holds in each state; bit i of a state's number is the i-th signal's."""
        states = np.arange(1 << len(self.signals))
        return np.array(self.statement({name: states >> bit & 1 == 1 for bit, name in enumerate(self.signals)}))

    def start(self, seed: int) -> "RuleTrajectories":
        """The trajectories under this seed."""
        members = [process.start(key(seed, f"signal/{name}")) for name, process in self.signals.items()]
        return RuleTrajectories(members, self.table())


@dataclass(frozen=True, kw_only=True)
class Together:
    """On line while all of `processes` are; each begins with the seed itself, as if it were alone.

    For processes whose streams differ, as a device's own comings and goings and the outages of its region.
    """

    processes: Sequence[Process]

    def start(self, seed: int) -> "RuleTrajectories":
        """The trajectories under this seed."""
        table = np.arange(1 << len(self.processes)) == (1 << len(self.processes)) - 1
        return RuleTrajectories([process.start(seed) for process in self.processes], table)


def all_of(*names: str) -> Statement:
    """All of the named signals are on."""
    return lambda on: np.logical_and.reduce([on[name] for name in names])


def any_of(*names: str) -> Statement:
    """At least one of the named signals is on."""
    return lambda on: np.logical_or.reduce([on[name] for name in names])


def none_of(*names: str) -> Statement:
    """Not one of the named signals is on."""
    return lambda on: ~np.logical_or.reduce([on[name] for name in names])


class RuleTrajectories(Trajectories):
    """A function of the states of `members`, given as a table; bit i of a row's number is member i's state."""

    def __init__(self, members: Sequence[Trajectories], table: BoolArray) -> None:
        self._members, self._table = tuple(members), table
        self._holds: list[bool] = table.tolist()
        self._known: OrderedDict[int, tuple[int, int, bool]] = OrderedDict()  # device → from, until, state
        self._segments = LastSegments()  # in ns
        self.pace_ns = min(member.pace_ns for member in members)

    def is_on(self, device: int, t_ns: int) -> bool:
        """Whether the rule holds for the device at t."""
        since_ns, until_ns, on = self._known.get(device, _NOTHING)
        if since_ns <= t_ns < until_ns:
            return on
        return self._holds[sum(member.is_on(device, t_ns) << bit for bit, member in enumerate(self._members))]

    def next_change_ns(self, device: int, t_ns: int) -> int | None:
        """The first flip strictly after t; None if there is none."""
        since_ns, until_ns, on = self._known.get(device, _NOTHING)
        if not since_ns <= t_ns < until_ns:
            on = self.is_on(device, t_ns)
            until_ns = self._find(device, t_ns, on)
            self._known[device] = (t_ns, until_ns, on)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return None if until_ns == NEVER else until_ns

    def _find(self, device: int, t_ns: int, was_on: bool) -> int:
        changes = [member.next_change_ns(device, t_ns) for member in self._members]
        for _ in range(_HOPS):
            at_ns = min((change for change in changes if change is not None), default=NEVER)
            if at_ns == NEVER or self.is_on(device, at_ns) != was_on:
                return at_ns
            changes = [
                member.next_change_ns(device, at_ns) if change == at_ns else change
                for member, change in zip(self._members, changes, strict=True)
            ]
        raise _stuck(device, t_ns)

    def is_on_many(self, devices: IntArray, t_ns: Instant) -> BoolArray:
        """`is_on` of each of `devices` [n] → [n]."""
        if not self._segments.reach(devices):
            return self._holds_many(devices, t_ns)
        at_ns = np.broadcast_to(np.asarray(t_ns), devices.shape)
        found, unknown = self._segments.on[devices], np.flatnonzero(~self._segments.hold(devices, at_ns))
        if unknown.size:
            found[unknown] = self._holds_many(devices[unknown], at_ns[unknown])
        return found

    def _holds_many(self, devices: IntArray, t_ns: Instant) -> BoolArray:
        """Whether the rule holds for each of `devices` at t [n], by its members."""
        states = sum(
            member.is_on_many(devices, t_ns).astype(np.int64) << bit for bit, member in enumerate(self._members)
        )
        held: BoolArray = self._table[states]
        return held

    def next_change_many(self, devices: IntArray, t_ns: Instant) -> IntArray:
        """`next_change_ns` of each of `devices` [n] → [n]; NEVER where there is none."""
        if not self._segments.reach(devices):
            return self._find_many(devices, t_ns)[0]
        at_ns = np.broadcast_to(np.asarray(t_ns), devices.shape)
        found_ns, held = self._segments.until[devices], self._segments.hold(devices, at_ns)
        todo = np.flatnonzero(~held)
        if todo.size:
            some, since_ns = devices[todo], at_ns[todo]
            found_ns[todo], on = self._find_many(some, since_ns)
            self._segments.note(some, since_ns, found_ns[todo], on, np.ones(len(todo), np.bool_))
        return found_ns

    def _find_many(self, devices: IntArray, t_ns: Instant) -> tuple[IntArray, BoolArray]:
        """When the rule's value turns, NEVER where it never does, and the one it has until then."""
        was_on, found_ns = self.is_on_many(devices, t_ns), np.full(len(devices), NEVER)
        changes_ns = np.array([member.next_change_many(devices, t_ns) for member in self._members])
        todo = np.arange(len(devices))
        for _ in range(_HOPS):
            at_ns = changes_ns[:, todo].min(axis=0, initial=NEVER)
            todo, at_ns = todo[at_ns != NEVER], at_ns[at_ns != NEVER]
            changed = self.is_on_many(devices[todo], at_ns) != was_on[todo]
            found_ns[todo[changed]] = at_ns[changed]
            todo, at_ns = todo[~changed], at_ns[~changed]
            if not todo.size:
                return found_ns, was_on
            for member, row in zip(self._members, changes_ns, strict=True):
                due = row[todo] == at_ns
                row[todo[due]] = member.next_change_many(devices[todo[due]], at_ns[due])
        raise _stuck(int(devices[todo[0]]), int(np.min(t_ns)))

    def flips(self, devices: IntArray, since_ns: int, until_ns: int) -> Flips:
        """All flips of `devices` in (since, until]: the members' flips in one order, where the rule's value turns."""
        parts = [member.flips(devices, since_ns, until_ns) for member in self._members]
        states = sum(part.starts_on.astype(np.int64) << bit for bit, part in enumerate(parts))
        row, at_ns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "at_ns"))
        bits = np.concatenate([np.full(len(part.row), 1 << bit) for bit, part in enumerate(parts)])
        # each device's first entry is its state at since; after that each flip turns its bit
        row = np.concatenate([np.arange(len(devices)), row])
        at_ns = np.concatenate([np.full(len(devices), since_ns), at_ns])
        order = np.lexsort((at_ns, row))
        row, at_ns, bits = row[order], at_ns[order], np.concatenate([states, bits])[order]
        return _turns(row, at_ns, self._table[_running(row, bits)])


def _running(row: IntArray, bits: IntArray) -> IntArray:
    """The state after each entry: the exclusive or of the entries of its row up to it."""
    total = np.bitwise_xor.accumulate(bits)
    before = np.concatenate([np.zeros(1, np.int64), total])
    state: IntArray = total ^ before[np.searchsorted(row, row)]
    return state


def _turns(row: IntArray, at_ns: IntArray, holds: BoolArray) -> Flips:
    """The flips of `holds`, whose entries are ordered by row and time and of which each row has one at least."""
    last = np.append((np.diff(row) > 0) | (np.diff(at_ns) != 0), len(row) > 0)[: len(row)]
    row, at_ns, holds = row[last], at_ns[last], holds[last]
    opens = np.diff(row, prepend=-1) > 0
    flip = ~opens & (np.diff(holds.astype(np.int64), prepend=0) != 0)
    return ordered(holds[opens], row[flip], at_ns[flip])


def _stuck(device: int, t_ns: int) -> RunError:
    return RunError(
        f"device {device} at {t_ns / 1e9:g} s: the signals of its availability rule changed {_HOPS:,} times and the "
        "rule did not; make the signals that it needs together come more often"
    )
