"""The network of W3."""

from torch import nn


def cifar_cnn(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Two 5×5 convolutions of 64 channels with pooling, then 384, 192 and `classes` units."""
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 384), nn.ReLU(),
        nn.Linear(384, 192), nn.ReLU(),
        nn.Linear(192, classes),
    )  # fmt: skip
