"""Pieces: orders cut for several workers, by their place in the list alone, so that the number of workers changes
nothing but the time."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from edgesim.errors import RunError
from edgesim.learning.local import Order

Piece: TypeAlias = list[Order]
ATTEMPTS: Final = 3  # after so many workers have died over a piece, another would too


def cut(orders: Sequence[Order], cohort: int, most: int) -> list[Piece]:
    """At most so many pieces of whole cohorts, so that each cohort is the same as in one process."""
    size = -(-len(orders) // (cohort * most)) * cohort
    return [list(orders[start : start + size]) for start in range(0, len(orders), size)]


def given_up(where: str) -> RunError:
    """The error of a piece that no worker survives."""
    return RunError(f"{where} died {ATTEMPTS} times over the same clients' training (killed, or out of memory?)")
