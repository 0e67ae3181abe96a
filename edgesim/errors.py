"""What can go wrong, as the user sees it.

    EdgesimError
    ├── ScenarioError    a file, a name or an option cannot be what it is     exit code 2
    └── RunError         a run started and cannot go on, or broke a law       exit code 1

Each takes one positional message: SimPy re-creates a failed event's exception from its `args`.
"""

from typing import ClassVar


class EdgesimError(Exception):
    """Base of every error that edgesim raises on purpose. Attributes: exit_code, of the command."""

    exit_code: ClassVar[int] = 1


class ScenarioError(EdgesimError):
    """The scenario (or a profile that it names) asks for what cannot be; one line a problem."""

    exit_code = 2


class RunError(EdgesimError):
    """A run cannot go on, or ended in a state that breaks one of its own laws."""


class EdgesimWarning(UserWarning):
    """What can be meant so, but is most likely a mistake."""
