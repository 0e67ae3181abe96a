"""ResNet18 for small images (He et al. 2016, arXiv:1512.03385), with group or batch norm."""

from torch import Tensor, nn

from edgesim.learning.blocks import Adapter, Adapters, Kind, Norm, Width, image, named, norm_layer, scaled
from edgesim.learning.tree import Shape


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, depth: int, channels: int, stride: int, kind: Kind) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(depth, channels, 3, stride, padding=1, bias=False)
        self.norm1 = norm_layer(kind, channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm_layer(kind, channels)
        self.relu2 = nn.ReLU()
        change = stride != 1 or depth != channels
        layers: list[tuple[str, nn.Module]] = []
        if change:
            layers = [("conv", nn.Conv2d(depth, channels, 1, stride, bias=False)), ("norm", norm_layer(kind, channels))]
        self.shortcut = named(layers)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu1(self.norm1(self.conv1(x)))
        out: Tensor = self.relu2(self.norm2(self.conv2(inner)) + self.shortcut(x))
        return out


def resnet18(
    input_shape: Shape, classes: int, *, norm: Norm = "group", width: Width = 1.0, adapters: Adapters = None
) -> nn.Module:
    """ResNet18 for CIFAR: a 3×3 convolution, four stages of two blocks, mean over places, one linear layer.

    64, 128, 256 and 512 channels at strides 1, 2, 2 and 2. Adapters are 1×1 convolutions.
    """
    depth, _, _ = image("resnet18", input_shape, 8)
    sizes = [scaled(size, width) for size in (64, 128, 256, 512)]
    layers = _stem(depth, sizes[0], norm)
    depth = sizes[0]
    for stage, (size, stride) in enumerate(zip(sizes, (1, 2, 2, 2), strict=True), start=1):
        for number in (1, 2):
            layers.append((f"block{stage}_{number}", Block(depth, size, stride if number == 1 else 1, norm)))
            if adapters:
                bottleneck = Adapter(nn.Conv2d(size, adapters, 1), nn.Conv2d(adapters, size, 1))
                layers.append((f"adapter{stage}_{number}", bottleneck))
            depth = size
    return named(
        [*layers, ("mean", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(depth, classes))]
    )


def _stem(depth: int, channels: int, kind: Kind) -> list[tuple[str, nn.Module]]:
    return [
        ("conv1", nn.Conv2d(depth, channels, 3, padding=1, bias=False)),
        ("norm1", norm_layer(kind, channels)),
        ("relu1", nn.ReLU()),
    ]
