"""Selection: who is idle, and to whom of these the server dispatches."""

from edgesim.engine.selection.idle import IdleClients
from edgesim.engine.selection.selector import Selector
from edgesim.engine.selection.uniform import Uniform

__all__ = ["IdleClients", "Selector", "Uniform"]
