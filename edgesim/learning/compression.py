"""Compression of updates: lossy on the device, with what was left out remembered where the method says so.

Everything sees stacked tensors [client, *shape] of one parameter, and treats each tensor of a model on its own.
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import torch
from annotated_types import Gt, Le
from torch import Tensor
from typing_extensions import Doc

from edgesim.learning import masks
from edgesim.learning.tree import broadcast, vectors
from edgesim.units import Share


class Compressed(NamedTuple):
    """What is left of a tensor. Attributes: values [client, *shape]; unit, of quantised values, [client], or 0."""

    values: Tensor
    unit: Tensor


class Codec(Protocol):
    """How an update is made smaller."""

    @property
    def levels(self) -> int:
        """s of quantised values; 0: floats travel."""
        ...

    @property
    def sparse(self) -> bool:
        """Whether only values other than zero travel, with their places."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether what was left out is added to the next update."""
        ...

    def most(self, values: int) -> int:
        """How many of so many values travel at most."""
        ...

    def compress(self, tensor: Tensor, random: Tensor) -> Compressed:
        """What travels of a tensor [client, *shape]; `random`, uniform in [0, 1), [client, values]."""
        ...


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The largest values by magnitude, k = ⌈share · d⌉ of each tensor, with error feedback (Stich et al. 2018).

    p = Δ + e;  u = TopK(p, k);  e ← p − u.  The memory e is the client's, one more model.
    """

    share: Annotated[Share, Gt(0), Le(1), Doc("k/d, the part of each tensor that travels")] = 0.01
    feedback: Annotated[bool, Doc("remember what was left out, and add it to the next update")] = True

    levels = 0
    sparse = True

    @property
    def remembers(self) -> bool:
        return self.feedback

    def most(self, values: int) -> int:
        # less a hair: 0.07 of 100 is 7, whatever floating point makes of it
        return min(values, max(1, math.ceil(self.share * values - 1e-9)))

    def compress(self, tensor: Tensor, random: Tensor) -> Compressed:
        count = self.most(tensor[0].numel())
        chosen = masks.largest(tensor, torch.full((len(tensor),), count))  # of equal magnitudes the first goes
        return Compressed(torch.where(chosen, tensor, 0.0), tensor.new_zeros(len(tensor)))


@dataclass(frozen=True, kw_only=True)
class Qsgd:
    """Random rounding to s levels of the tensor's norm: unbiased (Alistarh et al. 2017, arXiv:1610.02132).

    Q(v)_i = ‖v‖ sign(v_i) ξ_i, ξ_i = (l + [u < |v_i| s/‖v‖ − l])/s with l = ⌊s |v_i|/‖v‖⌋.
    """

    s: Annotated[int, Gt(0), Doc("levels: 1 sends signs and zeros")] = 16

    sparse = False
    remembers = False

    @property
    def levels(self) -> int:
        return self.s

    def most(self, values: int) -> int:
        return values

    def compress(self, tensor: Tensor, random: Tensor) -> Compressed:
        norm = vectors(tensor).norm(dim=1)
        unit = norm / self.s
        scaled = tensor.abs() / broadcast(unit.clamp_min(torch.finfo(torch.float32).tiny), tensor)
        low = scaled.floor()
        level = (low + (random.view(tensor.shape) < scaled - low)).clamp_max(self.s)
        return Compressed(level * tensor.sign() * broadcast(unit, tensor), unit)


CODECS: dict[str, type[Codec]] = {"top-k": TopK, "qsgd": Qsgd}
