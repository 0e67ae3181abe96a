"""A GPU made of labels: tensors that say they lie on a card, though their numbers are in the host's memory.

Under `Labels`, `tensor.to(CARD)` and `torch.zeros(…, device=CARD)` give such tensors, through autograd and vmap as
well. An operation computes what it does on the host, to the bit, and raises where a real card's would: where tensors
of both places meet, and where numpy is handed one that was not fetched with `.cpu()`. What real cards let pass also
passes here: lone numbers (0 dimensions) in elementwise operations, and indices of the host into tensors of the card.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

# torch knows devices by name, and lets one be added; "cuda" itself wants a build with CUDA.
_setup_privateuseone_for_python_backend("card")
CARD = torch.device("card:0")
_aten: Any = torch.ops.aten


class Labelled(Tensor):
    """A tensor on the card. Attributes: host, its numbers."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> "Labelled":
        made: Labelled = Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype, device=CARD
        )
        made.host = host
        return made

    def tolist(self) -> Any:
        """As torch does it for other devices than the host."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, op: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _computed(op, args, kwargs or {})


class Labels(TorchDispatchMode):
    """While it is on there is a card. Attributes: moved, how many tensors went there and came back."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved = {"there": 0, "back": 0}

    def __torch_dispatch__(
        self, op: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = _computed(op, args, kwargs or {})
        if op is _aten._to_copy.default and isinstance(result, Labelled) != isinstance(args[0], Labelled):
            self.moved["there" if isinstance(result, Labelled) else "back"] += 1
        return result


def _computed(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Labelled)]
    _check_apart(op, args, there, [t for t in tensors if not isinstance(t, Labelled) and t.device.type == "cpu"])
    asked = kwargs.get("device")
    on_card = bool(there) if asked is None else torch.device(asked).type == CARD.type
    if asked is not None and on_card:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    on_host = pytree.tree_map_only(Labelled, lambda tensor: tensor.host, (args, kwargs))
    result = op(*on_host[0], **on_host[1])
    if not on_card:
        return result
    if torch.Tag.inplace_view in op.tags:  # unsqueeze_ and the like: the label's shape changes as well
        with no_dispatch():
            return op(*args, **kwargs)
    known = {id(tensor.host): tensor for tensor in there}  # what is changed in place stays the same object
    return pytree.tree_map_only(Tensor, lambda t: known[id(t)] if id(t) in known else Labelled(t), result)


def _check_apart(op: Any, args: Sequence[Any], there: Sequence[Tensor], here: Sequence[Tensor]) -> None:
    if not there or not here or op is _aten.copy_.default:
        return
    if torch.Tag.pointwise in op.tags and all(tensor.dim() == 0 for tensor in here):
        return
    if op is _aten.index.Tensor and isinstance(args[0], Labelled):
        return
    raise RuntimeError(f"{op}: expected all tensors on one device, but got some on {CARD} and some on cpu")
