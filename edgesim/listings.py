"""What there is to choose from: algorithms, scenarios, and the schema of scenario files."""

import json
from collections.abc import Callable, Iterator
from inspect import getdoc, getmodule
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesim import printing, shipped

if TYPE_CHECKING:
    from edgesim.algorithms.contract import Algorithm


def algorithms(name: str | None) -> None:
    """The built-in algorithms, or one, your own too, with its paper, hyper-parameters and costs."""
    from edgesim.algorithms import registry

    if name is None:
        printing.table(
            "algorithms (edgesim algorithms NAME: what it does)", ("name", "what it is"), registry.names().items()
        )
        return
    kind = registry.find(name, Path())
    printing.lines(f"{name}: {kind.summary or getdoc(kind)}", "", getdoc(getmodule(kind)) or "")
    rows = list(_hyper_parameters(kind))
    if rows:
        printing.table("hyper-parameters", ("name", "default", "meaning"), rows)
    printing.lines(*_costs(kind))
    printing.lines(*_schedules(name, kind))


def _hyper_parameters(kind: Callable[..., Any]) -> Iterator[tuple[str, str, str]]:
    from edgesim.scenario.parameters import model_of

    for name, field in model_of(kind).model_fields.items():
        default = "none" if field.default is None else str(field.default)
        yield name, "required" if field.is_required() else default, field.description or ""


def _costs(kind: "type[Algorithm]") -> Iterator[str]:
    """What its first job costs, beside dense FedAvg's."""
    from edgesim.algorithms.fedavg import FedAvg
    from edgesim.samplejob import TASK, sample_job

    if _has_required(kind):
        yield "costs: it has required hyper-parameters; edgesim validate and a short run tell"
        return
    try:
        job, dense = sample_job(kind()), sample_job(FedAvg())
    except Exception as error:  # of one's own algorithm
        yield f"costs: a sample job fails ({type(error).__name__}: {error}); edgesim validate tells where"
        return
    yield f"costs of one job ({TASK}; in brackets the share of fedavg's)"
    for what, mine, theirs in (
        ("down", job.down_bytes, dense.down_bytes),
        ("up", job.up_bytes, dense.up_bytes),
        ("peak memory", job.memory_bytes, dense.memory_bytes),
        ("FLOPs", job.flops, dense.flops),
    ):
        unit = "" if what == "FLOPs" else " B"
        yield f"  {what:<12} {mine:>12,.0f}{unit} ({mine / theirs:.0%})"


def _schedules(name: str, kind: "type[Algorithm]") -> Iterator[str]:
    """Under which it runs, and why not under others."""
    from edgesim.samplejob import sample_context
    from edgesim.scenario.samples import SCHEDULES, refusals

    if _has_required(kind):
        return
    refused = refusals(name, kind(), sample_context())
    yield f"schedules: {', '.join(name for name in SCHEDULES if name not in refused)}"
    yield from (f"  not {name}: {reason}" for name, reason in refused.items())


def _has_required(kind: "type[Algorithm]") -> bool:
    """Whether it has hyper-parameters without a default."""
    return any(default == "required" for _, default, _ in _hyper_parameters(kind))


def scenarios() -> None:
    """The shipped scenarios: name and first comment line."""
    rows = [(name, _first_comment(path)) for name, path in shipped.scenarios().items()]
    printing.table("scenarios (edgesim run NAME)", ("name", "what it shows"), rows)


def _first_comment(path: Path) -> str:
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return next((line[2:] for line in lines if "yaml-language-server" not in line), "")


def schema(*, markdown: bool) -> None:
    """The JSON Schema of scenario files, or the page of docs/ that is made from it."""
    from edgesim import reference
    from edgesim.scenario.editor import json_schema

    found = json_schema()
    print(reference.markdown(found) if markdown else json.dumps(found, indent=2), end="" if markdown else "\n")
