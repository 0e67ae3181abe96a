"""Hooks: what a user's class overrides must be asked for by what it inherits."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from types import CodeType

from edgesim.algorithms.contract import STEPS, Algorithm, home, is_ours
from edgesim.errors import ScenarioError
from edgesim.spelling import nearest


def check(kind: type[Algorithm]) -> None:
    """Raise ScenarioError for fields of no dataclass or of a name that is taken, for `refuses` without reasons, for a
    hook that nothing asks for, and for what looks like a misspelt one."""
    for base in kind.__mro__:
        has_fields = any("ClassVar" not in str(of) for of in vars(base).get("__annotations__", {}).values())
        if has_fields and issubclass(base, Algorithm) and "__dataclass_fields__" not in vars(base):
            raise ScenarioError(
                f"{base.__name__} has fields, but is no dataclass: write @dataclass(frozen=True, kw_only=True) above it"
            )
        for name, value in () if is_ours(base) else vars(base).items():
            untyped = name not in vars(base).get("__annotations__", {}) and name not in vars(Algorithm)
            if untyped and name == name.lower() and name[0] != "_" and isinstance(value, int | float | str):
                raise ScenarioError(
                    f"{base.__name__}.{name} has no type, so it is no hyper-parameter: write "
                    f"{name}: {type(value).__name__} = {value!r} (or _{name}, if no scenario is to set it)"
                )
    if not isinstance(kind.refuses, Mapping):
        raise ScenarioError(
            f"{kind.__name__}.refuses must be kinds of schedules, each with why: {{'sync': 'because …'}}"
        )
    hooks = [name for name, hook in vars(Algorithm).items() if callable(hook) and not name.startswith("_")]
    for field in fields(kind):
        if field.name == "name":
            raise ScenarioError(f"{kind.__name__}.name: this key names the algorithm; call the field otherwise")
        if field.name in hooks:
            raise ScenarioError(f"{kind.__name__}.{field.name}: this field hides the hook; call it otherwise")
    asked, trains = _asked(kind, "local_train"), home(kind, "local_train")
    for hook in STEPS:
        owner = home(kind, hook)
        rewritten = any(issubclass(home(kind, way), owner) for way in ("local_train", "local_run") if way != hook)
        if hook not in asked and not rewritten and not is_ours(owner):
            raise ScenarioError(
                f"{owner.__name__}.{hook} would never be called: {trains.__name__}.local_train does without it; "
                "write local_train, too, or extend another algorithm"
            )
    known = {name for base in kind.__mro__ if is_ours(base) for name in vars(base)}
    for base in kind.__mro__:
        for name, own in vars(base).items():
            if name in known or name.startswith("_") or not hasattr(own, "__code__") or base.__module__ == "builtins":
                continue
            meant = nearest(name, hooks, 0.85)
            if meant is not None:
                raise ScenarioError(
                    f"{base.__name__}.{name} is no hook: did you mean {meant}? "
                    f"(a method of your own that is meant to be called so: _{name})"
                )


def _asked(kind: type, start: str) -> set[str]:
    """The names that a method mentions, and those that the methods of these names mention, and so on."""
    found: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _mentioned(kind, name)
    return found


def _mentioned(kind: type, name: str) -> Iterator[str]:
    for base in kind.__mro__:
        own = vars(base).get(name)
        code = getattr(getattr(own, "fget", own), "__code__", None)
        if code is not None:
            names = set(_names(code))
            yield from names
            if "super" not in names:
                return


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
