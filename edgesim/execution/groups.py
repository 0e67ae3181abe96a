"""Groups: a model of each tier of clients, beside the server's, which is made of them."""

from collections.abc import Sequence
from typing import Any

from edgesim.engine.learning import Merging
from edgesim.learning import tree
from edgesim.learning.tree import State


class Groups:
    """The groups' states, for algorithms whose server keeps nothing but `params` and its rule's memory.

    A cohort is sent the server's params. Its updates step these, with the memory of the group's own rule, and the
    result is the group's. Before its first aggregation a group's model is the one that the run starts from.
    """

    def __init__(self, start: State) -> None:
        self._start = {group: params for group, params in start.items() if group == "params"}
        self._own: dict[int, State] = {}
        self._sent: dict[int, State] = {}  # what the cohort under way was sent

    def send(self, group: int, server: State) -> State:
        """What a cohort of this group starts from now."""
        self._sent[group] = {**self._own.get(group, self._start), "params": server["params"]}
        return self._sent[group]

    def stepped(self, merging: Merging, server: State) -> State:
        """The state that an aggregation steps: the server's, or what the group's cohort was sent."""
        return server if merging.group is None else self._sent[merging.group]

    def blended(self, merging: Merging, merged: State, server: State) -> State:
        """The server's next state, given the one that came of the aggregation."""
        if merging.group is None:
            return merged
        self._own[merging.group] = merged
        return {**server, "params": _mean([self._of(g) for g in range(len(merging.weights))], merging.weights)}

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {"own": dict(self._own), "sent": dict(self._sent)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self._own, self._sent = dict(state["own"]), dict(state["sent"])

    def _of(self, group: int) -> tree.Params:
        return self._own.get(group, self._start)["params"]


def _mean(models: Sequence[tree.Params], weights: Sequence[float]) -> tree.Params:
    """Σ weight · model; where one has all the weight it is that model, to the bit."""
    total: tree.Params | None = None
    for model, weight in zip(models, weights, strict=True):
        if weight == 1:
            return model
        if weight:
            part = tree.scale(weight, model)
            total = part if total is None else tree.add(total, part)
    assert total is not None
    return total
