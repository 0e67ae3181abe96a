"""Messages: which values travel, and how many bytes that is."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import torch

from edgesim.learning import codecs
from edgesim.learning.codecs import Part
from edgesim.learning.tree import Params, State


def dense(params: Params) -> list[Part]:
    """Every value of every tensor, as it travels."""
    return [Part(values=tensor, mask=None, mask_known=False) for tensor in params.values()]


def masked(params: Params, mask: Params, *, known: bool = True) -> list[Part]:
    """Active values of masked tensors, all values of the others; and the masks, unless the receiver has them."""
    return [
        Part(values=tensor, mask=mask.get(name), mask_known=known and name in mask) for name, tensor in params.items()
    ]


SPARSE: Final = "codec/sparse"
"""The group of an update that says, of each client, that 0 does not travel."""


def travelling(update: State) -> Params:
    """Which values of the `params` of a cohort's updates travel, bool [client, *shape]; all of a tensor that is not
    there."""
    if SPARSE in update:
        return {name: tensor != 0 for name, tensor in update["params"].items()}
    return update.get("held", update.get("mask", {}))


def dense_bytes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Length on the wire of a message with every value of tensors of these shapes."""
    return _dense_bytes(tuple(shapes.values()))


@lru_cache(maxsize=256)
def _dense_bytes(shapes: tuple[tuple[int, ...], ...]) -> int:
    return codecs.size(dense({str(i): torch.empty(shape) for i, shape in enumerate(shapes)}))
