"""Schedules: when the server dispatches and when it aggregates."""

from edgesim.engine.schedules.buffered import Buffered
from edgesim.engine.schedules.deadline import Deadline
from edgesim.engine.schedules.gossip import AsyncGossip, Gossip, SyncGossip
from edgesim.engine.schedules.hierarchical import Hierarchical
from edgesim.engine.schedules.periodic import Periodic
from edgesim.engine.schedules.safa import Safa
from edgesim.engine.schedules.schedule import Schedule, Server
from edgesim.engine.schedules.staleness import (
    Capped,
    DelayAdaptive,
    Hinge,
    Polynomial,
    Threshold,
    Weight,
    constant,
)
from edgesim.engine.schedules.sync import Sync
from edgesim.engine.schedules.tiered import Tiered
from edgesim.engine.schedules.timelyfl import TimelyFl

__all__ = [
    "AsyncGossip", "Buffered", "Capped", "Deadline", "DelayAdaptive", "Gossip", "Hierarchical", "Hinge", "Periodic",
    "Polynomial", "Safa", "Schedule", "Server", "Sync", "SyncGossip", "Threshold", "Tiered", "TimelyFl", "Weight",
    "constant",
]  # fmt: skip
