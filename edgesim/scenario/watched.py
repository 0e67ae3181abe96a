"""Watched: somebody's own algorithm, whose hooks are called so that what they fail with, or return that they must not,
is told with the hook's name and where it stands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from torch import Tensor

from edgesim import references
from edgesim.algorithms.contract import Algorithm, home, is_ours
from edgesim.errors import ScenarioError
from edgesim.learning.tree import State
from edgesim.scenario import untouched


class Watched:
    """Attributes: algorithm; kind, the name of its class; hint, what to add where a hook fails.

    All methods raise ScenarioError for what is wrong.
    """

    def __init__(self, algorithm: Algorithm, hint: str = "") -> None:
        self.algorithm, self.kind, self.hint = algorithm, type(algorithm).__name__, hint

    def call(self, hook: str, *given: Any, of: Algorithm | None = None) -> Any:
        """What a hook returns; `of`: of another algorithm in the place of this one."""
        before = untouched.trees(given)
        returned = self.safely(hook, getattr(of or self.algorithm, hook), *given)
        after = {} if hook.startswith("local_") else untouched.trees(given)  # on the device a local state is its own
        for place, tensor in after.items():
            if before.get(place) != tensor:
                self.refuse(
                    hook,
                    f"changes {place[0]!r} in place, in a state that it was given; all trees are values that others "
                    "hold, too: write w + step, or change a clone() and put it into a new dict",
                )
        return returned

    def safely(self, hook: str, call: Callable[..., Any], *given: Any) -> Any:
        """What a call returns in which the hook is called."""
        before = untouched.generators()
        try:
            returned = call(*given)
        except ScenarioError:
            raise
        except (Exception, SystemExit) as error:
            own = references.own_frames(error)
            where = f" ({own[-1].name}, {own[-1].filename}:{own[-1].lineno})" if own else self.place(hook)
            raise ScenarioError(
                f"{self.kind}.{hook} failed: {type(error).__name__}: {error}{where}{self.hint}"
            ) from error
        for of, state in untouched.generators().items():
            if state != before[of]:
                self.refuse(
                    hook,
                    f"draws from the generator that all of {of} shares, so no run could be repeated; on the device "
                    "take learner.uniforms, elsewhere a generator of your own, made anew for each draw from "
                    "context.seed and what it is for: torch.Generator().manual_seed(…)",
                )
        return returned

    def is_own(self, *hooks: str) -> bool:
        """Whether any of these is the user's."""
        return any(not is_ours(home(type(self.algorithm), hook)) for hook in hooks)

    def refuse(self, hook: str, what: str) -> NoReturn:
        """Say what is wrong with a hook."""
        raise ScenarioError(f"{self.kind}.{hook} {what}{self.place(hook)}")

    def place(self, *hooks: str) -> str:
        """Where the first of these stands that is the user's own."""
        files = {own.path for own in references.files()}
        for hook in hooks:
            code = getattr(getattr(type(self.algorithm), hook), "__code__", None)
            if code is not None and Path(code.co_filename) in files:
                return f" ({code.co_filename}:{code.co_firstlineno})"
        return ""

    # ── returns ─────────────────────────────────────────────────────────────────────────────────────
    def state(self, hook: str, *given: Any) -> State:
        """What a hook returns that is to be a state."""
        state = self.call(hook, *given)
        self.check_state(hook, state)
        return dict(state)

    def check_state(self, hook: str, state: Any, clients: int | None = None) -> None:
        """That a hook has returned a state; with `clients`, one of so many."""
        wanted = "a state, groups of tensors such as {'params': {…}}"
        self.check(isinstance(state, dict) and all(isinstance(p, dict) for p in state.values()), hook, wanted, state)
        for group, params in state.items():
            for name, tensor in params.items():
                if not isinstance(tensor, Tensor):
                    what = type(tensor).__name__
                    self.refuse(hook, f"returns a state whose {group}: {name} is a {what}; write torch.tensor(…)")
                if clients is not None and (not tensor.dim() or len(tensor) != clients):
                    self.refuse(
                        hook,
                        f"returns {group}: {name} of shape {list(tensor.shape)} for {clients} clients; on the device "
                        "every tensor is [client, …]",
                    )
                if group == "params" and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                    self.refuse(hook, f"returns {group}: {name} with values that are infinite or no numbers")

    def check_params(self, hook: str, params: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        """That a hook has returned tensors of these names and shapes."""
        wanted = f"a model, its tensors {', '.join(shapes)}"
        self.check(isinstance(params, dict) and set(params) == set(shapes), hook, wanted, params)
        for name, shape in shapes.items():
            if tuple(params[name].shape) != tuple(shape):
                self.refuse(hook, f"returns {name} of shape {list(params[name].shape)}; {list(shape)} is wanted")
            if not bool(params[name].isfinite().all()):
                self.refuse(hook, f"returns {name} with values that are infinite or no numbers")

    def check_bytes(self, hook: str, what: str, size: Any) -> None:
        """That a hook has named a size."""
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 0:
            self.refuse(hook, f"says {size!r} bytes ({what}); a whole number from 0 on is wanted")

    def check(self, fine: bool, hook: str, wanted: str, got: Any) -> None:
        """That what a hook has returned is fine."""
        if not fine:
            self.refuse(hook, f"must return {wanted}; it returned {got!r:.80}")
