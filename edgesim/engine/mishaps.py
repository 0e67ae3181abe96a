"""Mishaps: what comes in the way of a job's phases, and what becomes of them by the rules."""

from math import ceil, log1p

from edgesim import streams
from edgesim.engine.job import Job, Phase
from edgesim.engine.presence import Presence
from edgesim.engine.rules import Restart, Retry, Rules

_DOWNLOAD, _TRAIN = Phase.DOWNLOAD.value, Phase.TRAIN.value


class Mishaps:
    """Answers follow from a job's stretches so far and from random streams of its own.

    Attributes: by_chance, whether anything can happen that is no absence.
    """

    def __init__(self, rules: Rules, presence: Presence) -> None:
        self._rules, self._presence = rules, presence
        self.by_chance = rules.corruption is not None or rules.crash_s is not None

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

    def begins_ns(self, job: Job, phase: int, at_ns: int) -> int | None:
        """When a phase that is due at `at` begins, or goes on; None: never, or it is given up at once."""
        start_ns = self._presence.returns_ns(job.client, phase, at_ns)
        if start_ns == at_ns or (job.stretches and job.stretches[-1].outcome in ("interrupted", "failed")):
            return start_ns
        return None if self._rule(phase) == "abort" else start_ns

    def breaks_ns(self, job: Job, phase: int, start_ns: int, end_ns: int | None = None) -> int | None:
        """When a stretch of a phase that begins now is broken off before `end`; None: it is not."""
        off_ns = self._presence.leaves_ns(job.client, phase, start_ns, end_ns)
        if self._rules.crash_s is None:
            return off_ns
        # exponential times have no memory: each stretch may have one of its own
        draw = self._draw("crash", job.id, len(job.stretches))
        crash_ns = start_ns + max(1, ceil(-1e9 * self._rules.crash_s * log1p(-draw)))
        first_ns = crash_ns if off_ns is None else min(crash_ns, off_ns)
        return first_ns if end_ns is None or first_ns < end_ns else None

    def broken(self, job: Job, phase: int) -> str:
        """The outcome of a stretch that is broken off."""
        rule = self._rule(phase)
        if isinstance(rule, Retry | Restart):
            return "failed" if self._count(job, phase, "failed") + 1 < rule.attempts else "lost"
        return "lost" if rule == "abort" else "interrupted"

    def completed(self, job: Job, phase: int) -> str:
        """The outcome of a stretch that completes its phase."""
        corruption = self._rules.corruption
        if corruption is None or phase == _TRAIN:
            return "done"
        before = self._count(job, phase, "corrupt")
        if self._draw("corruption", job.id, phase, before) >= corruption.share:
            return "done"
        return "corrupt" if before + 1 < corruption.attempts else "lost"

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
