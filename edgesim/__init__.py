"""edgesim: what each federated algorithm costs, in time, energy and bytes, for the accuracy it reaches."""

from collections.abc import Sequence as _Sequence
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from edgesim.results.store import Results as _Results

# In a checkout devices/, algorithms/, plots/ and scenarios/ lie beside this folder; in a wheel
# they lie inside it. The map for the wheel is [tool.setuptools.package-dir] in pyproject.toml.
_here = _Path(__file__).resolve().parent
if not (_here / "devices").is_dir() and (_here.parent / "pyproject.toml").is_file():
    __path__.append(str(_here.parent))


def run(
    scenario: str | _Path,
    *,
    out: str | _Path | None = None,
    overrides: _Sequence[str] = (),
    workers: int | str = 1,
    replace: bool = False,
) -> "_Results":
    """Run a scenario file, or a shipped scenario by name, and read its results from disk; as `edgesim run` does.

    Args:
        out: where results go; by default results/<name>. Runs already finished there are not run again.
        overrides: values to set, e.g. ["task.clients=50"].
        workers: processes that share the runs of a sweep; with more than one, call from a module that can be
            imported (`if __name__ == "__main__":`); or the address of a Ray cluster, "auto" or
            "ray://HOST:PORT". Changes no result.
        replace: discard what `out` holds.

    Raises:
        ScenarioError: the scenario asks for what cannot be, or `out` holds other or unfinished runs.
        RunError: a run cannot go on.
    """
    from edgesim import shipped
    from edgesim.errors import ScenarioError
    from edgesim.results.store import Results
    from edgesim.scenario import running
    from edgesim.scenario.loading import load

    if isinstance(overrides, str):
        raise ScenarioError(f"overrides={overrides!r}: write a list of such texts, [{overrides!r}]")
    if isinstance(workers, int) and workers < 1:
        raise ScenarioError(f"workers={workers}: write a number from 1, or the address of a Ray cluster")
    plan = load(shipped.find(_Path(scenario)), overrides)
    folder = _Path("results") / plan.name if out is None else _Path(out)
    directories = running.prepare(plan, folder, replace=replace)
    if directories:
        running.run_all(directories, workers=workers, notify=lambda _: None, asked_to_stop=lambda: False)
    return Results.read(folder)
