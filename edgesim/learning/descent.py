"""Descent: the steps of SGD that a kernel may take by itself, whatever the algorithm."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from torch import Tensor

from edgesim.learning import tree
from edgesim.learning.tree import Params


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """w ← w − lr (∇loss + decay · w + pull · (w − anchor) + shift), where the mask is on.

    There is no pull beside a decay. A weight that is where it is pulled to stays there, to the last bit.

    Attributes: mask, of some of the tensors, bool [client, *shape]: what it has off is 0 at the start and stays so;
    anchor, where there is a pull; shift, of some of the tensors; only, names of the tensors that move, or None: all.
    """

    decay: float = 0.0
    pull: float = 0.0
    anchor: Mapping[str, Tensor] = field(default_factory=dict)
    shift: Mapping[str, Tensor] = field(default_factory=dict)
    mask: Params = field(default_factory=dict)
    only: Set[str] | None = None

    def of(self, client: int) -> "Descent":
        """That of one client, whose tensors have no client axis."""
        mask, anchor, shift = ({n: t[client] for n, t in each.items()} for each in (self.mask, self.anchor, self.shift))
        return replace(self, mask=mask, anchor=anchor, shift=shift)

    def moves(self, *names: str | None) -> bool:
        """Whether it moves any tensor of these names."""
        return self.only is None or not self.only.isdisjoint(names)

    def pulled(self) -> Params:
        """The anchors of tensors that move."""
        return {name: tensor for name, tensor in self.anchor.items() if self.pull and self.moves(name)}

    def pushed(self, lr: float | Tensor) -> Params:
        """−lr · shift of tensors that move, [client, *shape]; lr may be [client]."""
        moving = {name: tensor for name, tensor in self.shift.items() if self.moves(name)}
        return tree.scale(-lr, moving)

    def masked(self) -> Params:
        """The masks of tensors that move."""
        return {name: on for name, on in self.mask.items() if self.moves(name)}
