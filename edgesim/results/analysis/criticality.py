"""The critical path: what set the time of each round, from one aggregation to the next.

A round that an arrival closes (or the loss of the last job that was waited for) lasted as long as that job made it
last: its time is that of the job's phases, as far as they lie in the round, of its waiting between them, and,
before its dispatch, of the server's computing or of the dispatch. A round that a timer of the schedule closes is the
timer's. Time after the last aggregation is in no round.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.analysis.jobs import Jobs, Whole
from edgesim.results.columns import CAUSES, PHASES

PARTS = ("upload", "train", "download", "waiting")
"""What a device makes a round last by; where two took equally long, the first of them sets the time."""
RULES = ("server", "dispatch", "timer")
"""What else does: the server computed; the job that closed the round was not dispatched yet, since its slot was taken
or no client there; a timer of the schedule."""

_COLUMN = np.array([PARTS.index(phase) for phase in PHASES])
_WAITING, _SERVER, _DISPATCH = PARTS.index("waiting"), len(PARTS), len(PARTS) + 1
_RULE_OF = {"server": "server", "client": "dispatch", "timer": "timer"}


class Criticality:
    """Attributes: time_s, of all rounds; closed_by, rounds by cause (columns.CAUSES); rounds and seconds, by what set
    their time, [class, part] of devices, [rule] of rules."""

    def __init__(self, classes: int, aggregations: Mapping[str, NDArray[Any]]) -> None:
        """`aggregations`, columns of aggregations.parquet; a missing job is any negative number."""
        time_ns, job, cause = (aggregations[name] for name in ("time_ns", "job", "cause"))
        self.time_s = int(time_ns.max(initial=0)) / 1e9
        self.closed_by = {name: int(np.count_nonzero(cause == name)) for name in CAUSES}
        self.rounds, self.seconds = np.zeros((classes, len(PARTS)), np.int64), np.zeros((classes, len(PARTS)))
        self.rule_rounds, self.rule_seconds = np.zeros(len(RULES), np.int64), np.zeros(len(RULES))
        begin_ns = np.concatenate(([0], time_ns[:-1]))
        for name, rule in _RULE_OF.items():
            mine = cause == name
            self._enter_rule(rule, int(mine.sum()), int((time_ns - begin_ns)[mine].sum()) / 1e9)
        # a job may close several rounds at one instant: all but the first have no length
        found = np.flatnonzero(job >= 0)
        self._jobs, first, self._closed = np.unique(job[found], return_index=True, return_counts=True)
        rows = found[first]
        done_ns = np.concatenate(([0], aggregations["done_ns"][:-1]))
        self._begin_ns, self._end_ns, self._done_ns = begin_ns[rows], time_ns[rows], done_ns[rows]

    def add(self, jobs: Jobs) -> None:
        """Take some jobs."""
        numbers = jobs.job[jobs.first]
        if not len(self._jobs):
            return
        place = np.minimum(np.searchsorted(self._jobs, numbers), len(self._jobs) - 1)
        closes = self._jobs[place] == numbers
        mine, window = np.flatnonzero(closes), place[closes]
        parts_ns = self._parts_ns(jobs, mine, window)
        kind, setter = jobs.kind[mine], np.argmax(parts_ns, 1)
        self._enter(kind, setter, self._closed[window], parts_ns)

    def result(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """As plain data."""
        by_class = {
            name: {part: _pair(self.rounds[i, j], self.seconds[i, j]) for j, part in enumerate(PARTS)}
            for i, name in enumerate(classes)
        }
        rules = {rule: _pair(self.rule_rounds[i], self.rule_seconds[i]) for i, rule in enumerate(RULES)}
        rounds = sum(self.closed_by.values())
        return {
            "rounds": rounds, "time_s": self.time_s, "closed_by": self.closed_by, "classes": by_class, "rules": rules,
        }  # fmt: skip

    def _parts_ns(self, jobs: Jobs, mine: Whole, window: Whole) -> Whole:
        """How much of its round each of PARTS, the server and the dispatch took [closing job, part]."""
        begin_ns, end_ns, done_ns = self._begin_ns[window], self._end_ns[window], self._done_ns[window]
        parts_ns = np.zeros((len(mine), len(PARTS) + 2), np.int64)
        length = jobs.last[mine] - jobs.first[mine] + 1
        owner = np.repeat(np.arange(len(mine)), length)
        row = np.arange(len(owner)) + np.repeat(jobs.first[mine] - (np.cumsum(length) - length), length)
        inside_ns = np.minimum(jobs.end_ns[row], end_ns[owner]) - np.maximum(jobs.start_ns[row], begin_ns[owner])
        np.add.at(parts_ns, (owner, _COLUMN[jobs.phase[row]]), np.maximum(inside_ns, 0))
        dispatch_ns = np.clip(jobs.began_ns[mine], begin_ns, end_ns)
        server_ns = np.clip(done_ns, begin_ns, dispatch_ns) - begin_ns
        parts_ns[:, _SERVER], parts_ns[:, _DISPATCH] = server_ns, dispatch_ns - begin_ns - server_ns
        parts_ns[:, _WAITING] = end_ns - begin_ns - parts_ns.sum(1)
        return parts_ns

    def _enter(self, kind: Whole, setter: Whole, closed: Whole, parts_ns: Whole) -> None:
        classes, parts = self.rounds.shape
        by_device = setter < parts
        np.add.at(self.rounds, (kind[by_device], setter[by_device]), closed[by_device])
        for part in range(parts):
            self.seconds[:, part] += np.bincount(kind, parts_ns[:, part], classes) / 1e9
        for column, rule in ((_SERVER, "server"), (_DISPATCH, "dispatch")):
            rounds = int(closed[setter == column].sum())
            self._enter_rule(rule, rounds, int(parts_ns[:, column].sum()) / 1e9)

    def _enter_rule(self, rule: str, rounds: int, seconds: float) -> None:
        self.rule_rounds[RULES.index(rule)] += rounds
        self.rule_seconds[RULES.index(rule)] += seconds


def _pair(rounds: Any, seconds: Any) -> dict[str, int | float]:
    return {"rounds": int(rounds), "time_s": float(seconds)}
