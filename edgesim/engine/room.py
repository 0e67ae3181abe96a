"""Room: whether a job fits into its device's memory, where clients are skipped whose jobs do not."""

from collections.abc import Callable

from edgesim.devices.fleet import Fleet
from edgesim.engine.learning import Learning
from edgesim.engine.rules import Rules


class Room:
    """Attributes: skipped, clients that were not chosen for want of memory at least once."""

    def __init__(self, fleet: Fleet, learning: Learning, rules: Rules) -> None:
        self._memory_bytes, self._cost = fleet.memory_bytes, learning.cost
        self._asks = rules.out_of_memory == "skip"
        self.skipped: set[int] = set()

    def among(self, wanted: Callable[[int], bool] | None) -> Callable[[int], bool] | None:
        """Of the clients that are wanted (None: all), those whose jobs fit."""
        if not self._asks:
            return wanted
        return lambda client: (wanted is None or wanted(client)) and self._fits(client)

    def _fits(self, client: int) -> bool:
        fits = self._cost(client).workload.memory_bytes <= int(self._memory_bytes[client])
        if not fits:
            self.skipped.add(client)
        return fits

    def state(self) -> list[int]:
        """As plain data."""
        return sorted(self.skipped)

    def restore(self, state: list[int]) -> None:
        """Take up a `state`."""
        self.skipped = set(state)
