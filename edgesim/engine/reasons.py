"""Reasons: why a stretch of a job ended before its phase was complete, or its work was in vain; a word each."""

OFF_LINE = "off-line"
"""The device left: its availability, or an outage that struck it."""
NO_CHARGE = "no-charge"
"""Its battery fell to the charge at which it stops."""
SERVER_DOWN = "server-down"
"""The server could not be reached."""
CRASH = "crash"
"""The client's program crashed."""
CORRUPT = "corrupt"
"""The transfer came through damaged."""
OUT_OF_MEMORY = "out-of-memory"
"""The training needs more memory than the device has."""
STALE = "stale"
"""The update arrived staler than the schedule takes it."""
DEADLINE = "deadline"
"""The time of its round was over."""
OVER_SELECTED = "over-selected"
"""Its round had enough other updates."""
OUTDATED = "outdated"
"""The model that it trained was of too old a version."""
PEER = "peer"
"""The other device of an exchange broke it off."""

REASONS = (
    OFF_LINE, NO_CHARGE, SERVER_DOWN, CRASH, CORRUPT, OUT_OF_MEMORY, STALE, DEADLINE, OVER_SELECTED, OUTDATED, PEER,
)  # fmt: skip
