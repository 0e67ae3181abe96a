"""What happens when something goes wrong in the middle of a job, and how sparse layers count."""

from dataclasses import dataclass, field
from typing import Literal

from edgesim.devices.cost import SparseSpeedup
from edgesim.engine.outages import NO_OUTAGES, ServerOutages

OutOfMemory = Literal["fail", "shrink-batch", "skip"]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """A transfer that is broken off begins anew, after a pause that grows from try to try.

    The n-th pause is min(longest, first · factor^(n − 1)) · (1 − jitter · u), u uniform in [0, 1) from a stream of
    its own: exponential backoff.

    Attributes: first_s, factor, longest_s, jitter; attempts, how often it is tried in all.
    """

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 300.0
    jitter: float = 0.0
    attempts: int = 5


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Training that is broken off begins anew. Attributes: attempts, how often it is tried in all."""

    attempts: int = 5


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A transfer's content is damaged with probability `share`, which its receiver sees and asks for again at once.

    Attributes: attempts, how often it is sent in all.
    """

    share: float
    attempts: int = 5


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Attributes:
    transfer, training: what becomes of a phase that is broken off. "abort" gives the job up; "resume" goes on
        where it stopped, as soon as it can; the others begin it anew.
    corruption: of transfers; None: none.
    crash_s: mean time at work between two crashes of a device's process, exponential; None: there are none. A crash
        breaks the phase off; the process starts again at once.
    outages: when the server cannot be reached.
    out_of_memory: what becomes of a job that is too large for its device.
    seed: of the draws that these take.
    sparse_speedup: "ideal" or "realised" (devices/cost.py).
    """

    transfer: Literal["abort", "resume"] | Retry = "abort"
    training: Literal["abort", "resume"] | Restart = "abort"
    corruption: Corruption | None = None
    crash_s: float | None = None
    outages: ServerOutages = field(default=NO_OUTAGES)
    out_of_memory: OutOfMemory = "fail"
    seed: int = 0
    sparse_speedup: SparseSpeedup = "realised"
