"""FLOPs of plain sequences of layers by formula, as `flops.measure` counts them.

Running a module on the meta device makes torch import its compiler, which takes two seconds a process.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesim.learning.flops import Measured, outputs_of
from edgesim.learning.sequence import parts_of

_FREE = (nn.Flatten, nn.ReLU, nn.MaxPool2d)  # no products


def by_layer(module: nn.Module, shape: tuple[int, ...]) -> Measured | None:
    """What `measure` finds for one sample of this shape; None unless the module is a sequence of Flatten, ReLU,
    MaxPool2d, Linear and Conv2d."""
    parts = [(name, part) for name, part in parts_of(module) or [] if type(part) is not nn.Identity]
    if not any(_inputs(part) for _, part in parts):
        return None
    if not all(_inputs(part) or type(part) in _FREE for _, part in parts):
        return None
    flops = {name: (0.0, 0.0, 0.0) for name, _ in module.named_parameters()}
    x, below, calls = torch.zeros(1, *shape), False, []
    for name, part in parts:
        x = _output(part, x)
        own = [f"{name}.{parameter}" for parameter, _ in part.named_parameters()]
        calls.append((own, x.numel(), type(part) is nn.Flatten))
        if inputs := _inputs(part):
            forward = 2.0 * x.numel() * inputs
            flops[f"{name}.weight"] = (forward, forward if below else 0.0, forward)
            below = True
    return Measured(
        flops=flops,
        other_flops=0.0,
        outputs=outputs_of(calls, next(iter(flops))),
        convolutions=frozenset(f"{name}.weight" for name, part in parts if type(part) is nn.Conv2d),
    )


def _inputs(part: nn.Module) -> int:
    """How many products are added up for each value that a layer puts out, and so many again in each of its two
    gradients; 0 where it has none."""
    if type(part) is nn.Linear:
        return part.weight.shape[1]
    if type(part) is nn.Conv2d and part.groups == 1 and part.padding_mode == "zeros":
        return part.weight[0].numel()
    return 0


def _output(part: nn.Module, x: Tensor) -> Tensor:
    """What a layer, whose own weights are on the meta device, would put out: the shape counts."""
    if type(part) is nn.Linear:
        return x.new_zeros(*x.shape[:-1], part.weight.shape[0])
    if type(part) is nn.Conv2d:
        empty = torch.zeros(part.weight.shape)
        return F.conv2d(x, empty, None, part.stride, part.padding, part.dilation)
    out: Tensor = part(x)
    return out
