"""The selector of a scenario: which of the idle clients get a job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from edgesim.errors import ScenarioError
from edgesim.references import is_reference, resolve
from edgesim.scenario.choice import Choice, Registry, Target, table

if TYPE_CHECKING:
    from edgesim.algorithms.contract import Algorithm, Context
    from edgesim.engine.selection import Selector


_selectors = table("edgesim.engine.selection:SELECTORS")


def _own(text: str, folder: Path, data_dir: str | None) -> Target | None:
    from edgesim.engine.selection import Selector

    found: Any = resolve(text, folder) if is_reference(text) else None
    if found is not None and not (isinstance(found, type) and issubclass(found, Selector)):
        raise ScenarioError(f"'{text}' is no selector; name a subclass of edgesim.engine.selection.Selector")
    return found


SelectorChoice = Annotated[Choice, Registry(key="kind", what="selector", skip=1, builtins=_selectors, own=_own)]


def make(choice: Choice, seed: int, folder: Path) -> "Selector":
    """The engine's selector of that description."""
    made: Selector = _kind(choice, folder)(seed, **choice.parameters)
    return made


def reporting(choice: Choice, folder: Path, algorithm: "Algorithm", context: "Context") -> "Algorithm":
    """The algorithm, with clients that report their losses where the selector goes by them.

    Raises ScenarioError for an algorithm whose clients cannot.
    """
    if not _kind(choice, folder).wants_loss:
        return algorithm
    from edgesim.algorithms.reporting import LossReports

    reports = LossReports(inner=algorithm)
    reports.check_reports(context)
    return reports


def check_trains(choice: Choice, folder: Path) -> None:
    """Raise ScenarioError for a selector that goes by losses, where nothing is trained."""
    if not _kind(choice, folder).wants_loss:
        return
    free = [name for name, kind in _selectors().items() if not getattr(kind, "wants_loss", False)]
    raise ScenarioError(
        f"selector: {choice.name} goes by the losses of trained models, and an estimate (execution.backend: none) "
        f"trains nothing; run the scenario, or estimate it with one of {', '.join(free)}"
    )


def _kind(choice: Choice, folder: Path) -> "type[Selector]":
    kind: Any = _selectors().get(choice.name) or resolve(choice.name, folder)
    found: type[Selector] = kind
    return found
