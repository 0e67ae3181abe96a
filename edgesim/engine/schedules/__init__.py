"""Schedules: when the server dispatches and when it aggregates."""

from edgesim.engine.schedules.buffered import Buffered
from edgesim.engine.schedules.schedule import Schedule, Server
from edgesim.engine.schedules.staleness import Hinge, Polynomial, Weight, constant
from edgesim.engine.schedules.sync import Sync

__all__ = ["Buffered", "Hinge", "Polynomial", "Schedule", "Server", "Sync", "Weight", "constant"]
