"""What a selector is asked."""

from collections.abc import Callable
from typing import Any

from edgesim.engine.history import History
from edgesim.engine.selection.idle import IdleClients


class Selector:
    """Which of the idle clients the server dispatches to: the base of all selectors."""

    def select(
        self, count: int, draw: int, idle: IdleClients, is_on: Callable[[int], bool], history: History
    ) -> list[int]:
        """At most `count` clients, all different, all of them idle and on line; `draw` numbers the choices."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Everything that changes, as plain data."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
