"""What happens when a device goes off line in the middle of something, and how sparse layers count."""

from dataclasses import dataclass
from typing import Literal

from edgesim.devices.cost import SparseSpeedup

Interruption = Literal["abort", "resume"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Attributes: transfer, training: "abort" gives the job up; "resume" goes on where it stopped once the
    device is back. sparse_speedup: "ideal" or "realised" (devices/cost.py).
    """

    transfer: Interruption = "abort"
    training: Interruption = "abort"
    sparse_speedup: SparseSpeedup = "realised"
