"""Mishaps: what comes in the way of a job's phases, and what becomes of them by the rules."""

from math import ceil, log1p

from edgesim import streams
from edgesim.engine.job import Job, Phase
from edgesim.engine.presence import Break, Presence
from edgesim.engine.reasons import CORRUPT, CRASH
from edgesim.engine.rules import Restart, Retry, Rules

_DOWNLOAD, _TRAIN = Phase.DOWNLOAD.value, Phase.TRAIN.value


class Mishaps:
    """Answers follow from a job's stretches so far and from random streams of its own.

    Attributes: by_chance, whether anything can happen that is no absence.
    """

    def __init__(self, rules: Rules, presence: Presence) -> None:
        self._rules, self._presence = rules, presence
        self.by_chance = rules.corruption is not None or rules.crash_s is not None

    def has_battery(self, client: int) -> bool:
        """Whether a device can run out of power."""
        return self._presence.has_battery(client)

    def next_phase(self, job: Job) -> tuple[int, int]:
        """The phase that begins, or goes on, after a job's stretches, and from when on."""
        if not job.stretches:
            return _DOWNLOAD, job.dispatched_ns
        last = job.stretches[-1]
        if last.outcome == "done":
            return last.phase + 1, last.end_ns
        if last.outcome == "failed" and isinstance(self._rules.transfer, Retry) and last.phase != _TRAIN:
            return last.phase, last.end_ns + self._pause_ns(self._rules.transfer, job, last.phase)
        return last.phase, last.end_ns

    def begins(self, job: Job, phase: int, at_ns: int) -> tuple[int | None, str]:
        """When a phase that is due at `at` begins, or goes on; None: never, or it is given up at once; and what keeps
        it from that."""
        start_ns, reason = self._presence.returns(job.client, phase, at_ns)
        if start_ns == at_ns or (job.stretches and job.stretches[-1].outcome in ("interrupted", "failed")):
            return start_ns, reason
        if self._rule(phase) != "abort":
            return start_ns, reason
        leaves = self._presence.leaves(job.client, phase, at_ns)
        assert leaves is not None
        return None, leaves[1]

    def breaks(self, job: Job, phase: int, start_ns: int, end_ns: int | None = None) -> Break | None:
        """When, and by what, a stretch of a phase that begins now is broken off before `end`; None: it is not."""
        leaves = self._presence.leaves(job.client, phase, start_ns, end_ns)
        if self._rules.crash_s is None:
            return leaves
        # exponential times have no memory: each stretch may have one of its own
        draw = self._draw("crash", job.id, len(job.stretches))
        crash_ns = start_ns + max(1, ceil(-1e9 * self._rules.crash_s * log1p(-draw)))
        if leaves is not None and leaves[0] <= crash_ns:
            return leaves
        return (crash_ns, CRASH) if end_ns is None or crash_ns < end_ns else None

    def broken(self, job: Job, phase: int) -> str:
        """The outcome of a stretch that is broken off."""
        rule = self._rule(phase)
        if isinstance(rule, Retry | Restart):
            return "failed" if self._count(job, phase, "failed") + 1 < rule.attempts else "lost"
        return "lost" if rule == "abort" else "interrupted"

    def completed(self, job: Job, phase: int) -> tuple[str, str]:
        """The outcome of a stretch that completes its phase, and the reason of it."""
        corruption = self._rules.corruption
        if corruption is None or phase == _TRAIN:
            return "done", ""
        before = self._count(job, phase, "corrupt")
        if self._draw("corruption", job.id, phase, before) >= corruption.share:
            return "done", ""
        return "corrupt" if before + 1 < corruption.attempts else "lost", CORRUPT

    def _rule(self, phase: int) -> str | Retry | Restart:
        return self._rules.training if phase == _TRAIN else self._rules.transfer

    def _pause_ns(self, rule: Retry, job: Job, phase: int) -> int:
        failures = self._count(job, phase, "failed")
        pause_s = min(rule.longest_s, rule.first_s * rule.factor ** (failures - 1))
        if rule.jitter:
            pause_s *= 1 - rule.jitter * self._draw("backoff", job.id, phase, failures)
        return round(1e9 * pause_s)

    def _count(self, job: Job, phase: int, outcome: str) -> int:
        return sum(stretch.phase == phase and stretch.outcome == outcome for stretch in job.stretches)

    def _draw(self, purpose: str, *ids: int) -> float:
        return next(streams.sequence(streams.key(self._rules.seed, purpose, *ids)))
