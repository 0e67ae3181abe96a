"""Who takes part: whose updates are aggregated."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesim.results.evenness import gini, jain


def participation(updates: NDArray[np.int64], of_class: Mapping[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """From the updates that were aggregated of each client [client], and who is of which device class.

    Coverage: the share of the clients of whom at least one was.
    """
    total = int(updates.sum())
    return {
        "clients": len(updates),
        "updates": total,
        "jain": jain(updates),
        "gini": gini(updates),
        "coverage": _share(int(np.count_nonzero(updates)), len(updates)),
        "classes": {name: _of(updates[here], len(updates), total) for name, here in of_class.items()},
    }


def _of(updates: NDArray[np.int64], clients: int, total: int) -> dict[str, Any]:
    return {
        "clients": len(updates),
        "share_of_clients": _share(len(updates), clients),
        "updates": int(updates.sum()),
        "share_of_updates": _share(int(updates.sum()), total),
        "coverage": _share(int(np.count_nonzero(updates)), len(updates)),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
