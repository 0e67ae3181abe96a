"""FLOPs of plain sequences of layers by formula, as `flops.measure` counts them.

Running a module on the meta device makes torch import its compiler, which takes two seconds a process.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgesim.learning.flops import Measured
from edgesim.learning.sequence import parts_of

_FREE = (nn.Flatten, nn.ReLU, nn.MaxPool2d)  # no products


def by_layer(module: nn.Module, shape: tuple[int, ...]) -> Measured | None:
    """What `measure` finds for one sample of this shape; None unless the module is a sequence of Flatten, ReLU,
    MaxPool2d, Linear and Conv2d."""
    parts = [(name, part) for name, part in parts_of(module) or [] if type(part) is not nn.Identity]
    costs = [(name, part, _product(part)) for name, part in parts]
    if not any(cost for *_, cost in costs) or not all(cost or type(part) in _FREE for _, part, cost in costs):
        return None
    flops = {name: (0.0, 0.0, 0.0) for name, _ in module.named_parameters()}
    x, below, values = torch.zeros(1, *shape), False, []
    for name, part, cost in costs:
        x = _output(part, x)
        values.append(x.numel())
        if cost:
            forward = float(cost(x))
            flops[f"{name}.weight"] = (forward, forward if below else 0.0, forward)
            below = True
    views = [type(part) is nn.Flatten for _, part in parts]
    return Measured(
        flops=flops,
        other_flops=0.0,
        activations=sum(values),
        views=sum(count for count, is_view in zip(values, views, strict=True) if is_view),
        convolutions=frozenset(f"{name}.weight" for name, part in parts if type(part) is nn.Conv2d),
        calls=len(parts) - sum(views),
    )


def _product(part: nn.Module) -> Callable[[Tensor], int] | None:
    """FLOPs of a layer's product, which each of its two gradients takes as well, by its output; None: it has none."""
    if type(part) is nn.Linear:
        return lambda out, inputs=part.in_features: 2 * out.numel() * inputs  # type: ignore[misc]
    if type(part) is nn.Conv2d and part.groups == 1 and part.padding_mode == "zeros":
        return lambda out, weights=part.weight[0].numel(): 2 * out.numel() * weights  # type: ignore[misc]
    return None


def _output(part: nn.Module, x: Tensor) -> Tensor:
    """What a layer, whose own weights are on the meta device, would put out: the shape counts."""
    if type(part) is nn.Linear:
        return x.new_zeros(*x.shape[:-1], part.out_features)
    if type(part) is nn.Conv2d:
        geometry = (part.stride, part.padding, part.dilation)
        return torch.conv2d(x, torch.zeros(part.weight.shape), None, *geometry)
    out: Tensor = part(x)
    return out
