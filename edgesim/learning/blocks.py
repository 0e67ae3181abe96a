"""What the networks are built from: sizes, normalisation, adapters, and what they want of their input."""

from collections import OrderedDict
from itertools import pairwise
from math import gcd
from typing import Annotated, Literal, TypeAlias

from annotated_types import Gt
from torch import Tensor, nn
from typing_extensions import Doc

from edgesim.errors import ScenarioError
from edgesim.learning.tree import Shape

Size: TypeAlias = Annotated[int, Gt(0)]
Kind: TypeAlias = Literal["group", "batch", "none"]
Norm: TypeAlias = Annotated[
    Kind, Doc("after each convolution: group norm (of 32 groups), batch norm (with running statistics) or none")
]
Width: TypeAlias = Annotated[float, Gt(0), Doc("factor of all channels and hidden units")]
Adapters: TypeAlias = Annotated[
    Annotated[int, Gt(0)] | None, Doc("units of a bottleneck adapter after each block; none: no adapters")
]


def norm_layer(kind: Kind, channels: int) -> nn.Module:
    """Normalisation of images. There are 32 groups of at least two channels; fewer groups where channels are few."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(gcd(32, channels // 2, channels), channels) if kind == "group" else nn.Identity()


def scaled(size: int, width: float) -> int:
    """So many channels or units at a width, at least one."""
    return max(1, round(size * width))


def named(layers: list[tuple[str, nn.Module]]) -> nn.Sequential:
    """One after the other; what does nothing is left out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers if not isinstance(layer, nn.Identity)))


def classifier(widths: list[int]) -> list[tuple[str, nn.Module]]:
    """Fully connected layers fc1, fc2, … with ReLU between them."""
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for number, (units_in, units_out) in enumerate(pairwise(widths), start=1):
        if number > 1:
            layers.append((f"fc_relu{number - 1}", nn.ReLU()))
        layers.append((f"fc{number}", nn.Linear(units_in, units_out)))
    return layers


class Adapter(nn.Module):
    """x + up(ReLU(down(x))), a bottleneck that can be each client's own (Pillutla et al. 2022, arXiv:2204.03809).

    `up` starts at zero, so that a network with fresh adapters computes what it computes without.
    """

    def __init__(self, down: nn.Module, up: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.down, self.relu, self.up = down, nn.ReLU(), up
        for parameter in up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.up(self.relu(self.down(x)))
        return out


def image(model: str, shape: Shape, least: int) -> Shape:
    """The shape [channel, height, width]. Raises ScenarioError unless it is that, at least `least` high and wide."""
    if len(shape) != 3 or min(shape[1:]) < least:
        raise ScenarioError(
            f"model {model} wants images [channel, height, width] of at least {least}×{least}; the data has shape "
            f"{list(shape)}: {_advice(shape, least)}"
        )
    return shape


def _advice(shape: Shape, least: int) -> str:
    """What would do: [height, width] and [height, width, channel] are large enough as they are."""
    turned = (1, *shape) if len(shape) == 2 else (*shape[2:], *shape[:2])
    if len(turned) == 3 and turned[0] <= 4 and min(turned[1:]) >= least:
        return f"channels come first, so write each sample as {list(turned)}"
    return "use model mlp, or a data set of larger images"
