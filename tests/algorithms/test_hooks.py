"""What a class overrides is asked for, or refused."""

from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from edgesim.algorithms import hooks, registry
from edgesim.algorithms.contract import Algorithm
from edgesim.algorithms.ditto import Ditto
from edgesim.algorithms.fedprox import FedProx
from edgesim.algorithms.ffgg import FFGG
from edgesim.algorithms.flash import Flash
from edgesim.algorithms.prunefl import PruneFl
from edgesim.errors import ScenarioError

STEPS = ("local_start", "local_run", "local_step", "local_end")
UNHEARD = {
    Algorithm: (),
    FedProx: (),
    Flash: (),
    Ditto: ("local_start", "local_end"),
    PruneFl: ("local_start", "local_run"),
    FFGG: STEPS,
}


def own(base: type[Algorithm], *names: str) -> type[Algorithm]:
    return type("Own", (base,), dict.fromkeys(names, lambda *_: None))


@pytest.mark.parametrize("base", UNHEARD, ids=lambda base: base.__name__)
@pytest.mark.parametrize("hook", STEPS)
def test_a_hook_that_nothing_calls_is_refused(base: type[Algorithm], hook: str) -> None:
    if hook in UNHEARD[base]:
        with pytest.raises(ScenarioError, match=rf"Own\.{hook} would never be called: {base.__name__}\.local_train"):
            hooks.check(own(base, hook))
        hooks.check(own(base, hook, "local_train"))  # whoever trains otherwise knows what it calls
    else:
        hooks.check(own(base, hook))


def test_a_hyper_parameter_wants_a_type() -> None:
    class Untyped(FedProx):
        strength = 0.5

    class Constant(FedProx):
        _strength, STRENGTH, summary = 0.5, 0.5, "a constant each"

    with pytest.raises(ScenarioError, match=r"Untyped\.strength has no type, .*: write strength: float = 0\.5 \(or"):
        hooks.check(Untyped)
    hooks.check(Constant)


def test_fields_want_a_dataclass() -> None:
    class Undecorated(FedProx):
        strength: float = 0.5

    with pytest.raises(ScenarioError, match=r"Undecorated has fields, but is no dataclass: write @dataclass"):
        hooks.check(Undecorated)
    hooks.check(dataclass(frozen=True, kw_only=True)(Undecorated))

    class Told(FedProx):
        summary: ClassVar[str] = "no field of its own"

    hooks.check(Told)


def test_a_file_alone_names_no_class() -> None:
    with pytest.raises(ScenarioError, match=r"is a file: write \./own\.py:NAME"):
        registry.find("./own.py", Path())


def test_a_misspelt_hook_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"Own\.local_stp is no hook: did you mean local_step\?"):
        hooks.check(own(FedProx, "local_stp"))
    hooks.check(own(FedProx, "_local_stp", "weigh", "client_model"))


def test_names_that_are_taken_and_reasons_that_are_missing_are_refused() -> None:
    for field, told in (("name", "this key names the algorithm"), ("upload", "this field hides the hook")):
        made = make_dataclass("Own", [(field, float, 1.0)], bases=(FedProx,), frozen=True, kw_only=True)
        with pytest.raises(ScenarioError, match=rf"Own\.{field}: {told}"):
            hooks.check(made)
    with pytest.raises(ScenarioError, match=r"refuses must be kinds of schedules, each with why"):
        hooks.check(type("Own", (FedProx,), {"refuses": ["sync"]}))
