"""Descent: the steps of SGD that a kernel may take by itself, whatever the algorithm."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from torch import Tensor

from edgesim.learning import tree
from edgesim.learning.tree import Params


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """w ← w − lr (∇loss + decay · w + pull · (w − anchor) + shift), where the mask is on.

    Attributes: mask, of some of the tensors, bool [client, *shape]: what it has off is 0 at the start and stays so;
    anchor, where there is a pull; shift, of some of the tensors; only, names of the tensors that move, or None: all.
    """

    decay: float = 0.0
    pull: float = 0.0
    anchor: Mapping[str, Tensor] = field(default_factory=dict)
    shift: Mapping[str, Tensor] = field(default_factory=dict)
    mask: Params = field(default_factory=dict)
    only: Set[str] | None = None

    def moves(self, *names: str | None) -> bool:
        """Whether it moves any tensor of these names."""
        return self.only is None or not self.only.isdisjoint(names)

    def keep(self, lr: float) -> float:
        """What is left of w in a step: it becomes keep · w − lr · ∇loss + push."""
        return 1 - lr * (self.decay + self.pull)

    def pushes(self, lr: float | Tensor) -> Params:
        """lr (pull · anchor − shift) of the tensors for which it is not 0, [client, *shape]; lr may be [client]."""
        found = {n: _times(self.pull, tensor) for n, tensor in self.anchor.items() if self.pull and self.moves(n)}
        for name, tensor in self.shift.items():
            if self.moves(name):
                found[name] = found[name] - tensor if name in found else -tensor
        return {name: _times(tree.broadcast(lr, tensor), tensor) for name, tensor in found.items()}


def _times(factor: float | Tensor, tensor: Tensor) -> Tensor:
    """factor · tensor [client, *shape]; once, where it is the same for all clients."""
    alike = tensor.stride(0) == 0 and not isinstance(factor, Tensor)
    return (factor * (tensor[:1] if alike else tensor)).expand(tensor.shape)
