"""All schedules that a scenario may name."""

from typing import Annotated, TypeAlias

from pydantic import Field

from edgesim.scenario.gossip import Gossip
from edgesim.scenario.hierarchy import Hierarchical
from edgesim.scenario.schedule import Async, Buffered, Deadline, Periodic, Safa, Sync, Tiered, TimelyFl
from edgesim.scenario.section import OrWord

Schedule: TypeAlias = Annotated[
    Sync | Deadline | Async | Buffered | Periodic | Tiered | Safa | TimelyFl | Hierarchical | Gossip,
    Field(discriminator="kind"),
    OrWord(),
]
