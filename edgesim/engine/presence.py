"""Presence: when a device can work on a phase of its job.

It must be on line and its battery, if it has one, not empty; for a transfer the server must be within reach, too.
Nothing is polled: each part says when it changes next.
"""

import numpy as np

from edgesim.devices.arrays import BoolArray, IntArray
from edgesim.devices.availability import NEVER
from edgesim.devices.fleet import Fleet
from edgesim.engine.job import Phase
from edgesim.engine.outages import ServerOutages
from edgesim.engine.power import Power
from edgesim.engine.reasons import NO_CHARGE, OFF_LINE, SERVER_DOWN

Break = tuple[int, str]
"""When something breaks a stretch off, and why (reasons.py)."""

_TRAIN = Phase.TRAIN.value
_TURNS = 100_000  # of one part while the others are off, after which all of them are taken never to be on together


class Presence:
    """Attributes: always, whether no device is ever kept from anything."""

    def __init__(self, fleet: Fleet, outages: ServerOutages, power: Power | None) -> None:
        self._availability, self._outages, self._power = fleet.availability, outages, power
        self._is_on, self._next_change_ns = fleet.availability.is_on, fleet.availability.next_change_ns
        self._plain = not outages.starts_ns and power is None
        self.always = fleet.availability.always and self._plain

    # ── who can be dispatched to ────────────────────────────────────────────────────────────────────
    def is_reached(self, t_ns: int) -> bool:
        """Whether the server is within reach at t."""
        return self.always or self._outages.is_up(t_ns)

    def is_on(self, client: int, t_ns: int) -> bool:
        """Whether a device could begin a job at t, as far as the server is within reach."""
        if self.always:
            return True
        return self._is_on(client, t_ns) and (self._power is None or not self._power.is_empty(client, t_ns))

    def is_on_many(self, clients: IntArray, t_ns: int) -> BoolArray:
        """`is_on` of each of `clients` [n] → [n]."""
        on = self._availability.is_on_many(clients, t_ns)
        return on if self._power is None else on & ~self._power.are_empty(clients, t_ns)

    def next_change_ns(self, clients: IntArray, t_ns: int) -> int:
        """When to look again, after t, whether one of these devices at rest could begin a job; NEVER: in vain."""
        if not self._outages.is_up(t_ns):
            return self._outages.next_change_ns(t_ns) or NEVER
        on = self.is_on_many(clients, t_ns)
        away = clients[~on]
        changes_ns = self._availability.next_change_many(away, t_ns)
        if self._power is not None:
            at_hand = self._availability.is_on_many(away, t_ns)
            refills_ns = [self._power.refills_ns(client, t_ns) or NEVER for client in away[at_hand].tolist()]
            changes_ns[at_hand] = np.array(refills_ns, np.int64)
        return int(changes_ns.min(initial=NEVER))

    def has_battery(self, client: int) -> bool:
        """Whether a device can run out of power."""
        return self._power is not None and bool(self._power.has[client])

    # ── who can go on ───────────────────────────────────────────────────────────────────────────────
    def stays(self, client: int, at_ns: int, end_ns: int) -> bool:
        """Whether a device can do whatever phase from `at` to `end`; to leave at the end is early enough."""
        if self.always:
            return True
        if not self._is_on(client, at_ns):
            return False
        change_ns = self._next_change_ns(client, at_ns)
        if change_ns is not None and change_ns < end_ns:
            return False
        return self._plain or (not self.has_battery(client) and self._is_reached(at_ns, end_ns))

    def stay(self, clients: IntArray, at_ns: int, end_ns: IntArray) -> BoolArray:
        """`stays` of each of `clients` [n], until an end of its own [n] → [n]."""
        if self.always:
            return np.ones(len(clients), np.bool_)
        stays = self._availability.is_on_many(clients, at_ns)
        stays &= self._availability.next_change_many(clients, at_ns) >= end_ns
        if self._power is not None:
            stays &= ~self._power.has[clients]
        change_ns = self._outages.next_change_ns(at_ns)
        if not self._outages.is_up(at_ns):
            return np.zeros_like(stays)
        return stays if change_ns is None else stays & (change_ns >= end_ns)

    def leaves(self, client: int, phase: int, at_ns: int, until_ns: int | None = None) -> Break | None:
        """The first instant in [at, until) at which a device at work on this phase cannot go on, and why; None if
        there is none. Without `until`: ever."""
        if self.always:
            return None
        kept = self._kept(client, phase, at_ns)
        if kept is not None:
            return at_ns, kept[1]
        off_ns, reason = self._next_change_ns(client, at_ns), OFF_LINE
        if phase != _TRAIN:
            down_ns = self._outages.next_change_ns(at_ns)
            if down_ns is not None and (off_ns is None or down_ns < off_ns):
                off_ns, reason = down_ns, SERVER_DOWN
        if self._power is not None:
            ends = [end for end in (off_ns, until_ns) if end is not None]
            empty_ns = self._power.empties_ns(client, phase, at_ns, min(ends, default=None))
            off_ns, reason = (off_ns, reason) if empty_ns is None else (empty_ns, NO_CHARGE)
        return (off_ns, reason) if off_ns is not None and (until_ns is None or off_ns < until_ns) else None

    def returns(self, client: int, phase: int, at_ns: int) -> tuple[int | None, str]:
        """The first instant from `at` on at which a device at rest could work on this phase, None: never; and what
        keeps it from that up to then, or for ever."""
        reason = ""
        for _ in range(_TURNS):
            kept = self._kept(client, phase, at_ns)
            if kept is None:
                return at_ns, reason
            next_ns, reason = kept
            if next_ns is None:
                break
            at_ns = next_ns
        return None, reason

    def _kept(self, client: int, phase: int, at_ns: int) -> tuple[int | None, str] | None:
        """When the first part changes that keeps a device from this phase at `at`, and which it is; None if none
        does."""
        if not self._is_on(client, at_ns):
            return self._next_change_ns(client, at_ns), OFF_LINE
        if phase != _TRAIN and not self._outages.is_up(at_ns):
            return self._outages.next_change_ns(at_ns), SERVER_DOWN
        if self._power is not None and self._power.is_empty(client, at_ns):
            return self._power.refills_ns(client, at_ns), NO_CHARGE
        return None

    def _is_reached(self, at_ns: int, end_ns: int) -> bool:
        """Whether the server is within reach from `at` to `end`."""
        change_ns = self._outages.next_change_ns(at_ns)
        return self._outages.is_up(at_ns) and (change_ns is None or change_ns >= end_ns)
