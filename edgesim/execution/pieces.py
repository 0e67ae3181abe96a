"""Pieces: orders cut for several workers, so that the number of workers changes nothing but the time: by their place in
the list alone, or any way where company makes no difference."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from edgesim.devices.arrays import IntArray
from edgesim.errors import RunError
from edgesim.learning.local import Order

Piece: TypeAlias = list[Order]
_FEWEST = 4  # clients of a piece that is a stack: stacks of fewer take longer for each
ATTEMPTS: Final = 3  # after so many workers have died over a piece, another would too


def cut(orders: Sequence[Order], cohort: int, most: int) -> list[Piece]:
    """At most so many pieces of whole cohorts, so that each cohort is the same as in one process."""
    size = -(-len(orders) // (cohort * most)) * cohort
    return [list(orders[start : start + size]) for start in range(0, len(orders), size)]


def most_hands(orders: int) -> int:
    """How many pieces so many orders may be dealt into, at least one."""
    return max(orders // _FEWEST, 1)


def deal(orders: Sequence[Order], samples: IntArray, hands: int) -> list[list[int]]:
    """The places of the orders in so many pieces, or fewer, of like numbers of samples: of clients that train the same
    in any company. `samples`, of each order."""
    hands = min(hands, most_hands(len(orders)))
    most_first = np.argsort(-samples, kind="stable").tolist()
    return [most_first[hand::hands] for hand in range(hands)]


def given_up(where: str) -> RunError:
    """The error of a piece that no worker survives."""
    return RunError(f"{where} died {ATTEMPTS} times over the same clients' training (killed, or out of memory?)")
