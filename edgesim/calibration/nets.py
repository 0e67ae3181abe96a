"""Nets: what is trained to learn a machine's rates. None of them is a model that edgesim ships."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from edgesim.learning.models import Model

CLASSES = 10


def dense(*widths: int) -> nn.Module:
    """Fully connected layers of these widths, ReLU between them."""
    layers: list[nn.Module] = []
    for units_in, units_out in pairwise([*widths, CLASSES]):
        layers += [nn.Linear(units_in, units_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional(
    depth: int, channels: Sequence[int], *, kernel: int = 3, pool: bool = False, norm: bool = False
) -> nn.Module:
    """Convolutions with ReLU, and pooling or group norm, then the mean over places and one linear layer."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise([depth, *channels]):
        layers.append(nn.Conv2d(size_in, size_out, kernel, padding=kernel // 2, bias=not norm))
        layers += [nn.GroupNorm(8, size_out)] if norm else []
        layers.append(nn.ReLU())
        layers += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], CLASSES))


def fitted() -> Iterator[Model]:
    """Small to large, matrix products and convolutions, with few layers and with many."""
    for widths in ((64, 32), (64, 128, 128, 128), (256,) * 9, (512,) * 3, (1024,) * 3, (2048,) * 2):
        yield _model((widths[0],), partial(dense, *widths))
    yield _model((1, 28, 28), partial(convolutional, 1, (16, 32), pool=True))
    yield _model((1, 28, 28), partial(convolutional, 1, (16, 32), kernel=5, pool=True))
    yield _model((3, 32, 32), partial(convolutional, 3, (32, 32, 32)))
    yield _model((16, 16, 16), partial(convolutional, 16, (64, 64)))
    yield _model((64, 8, 8), partial(convolutional, 64, (128, 128)))
    yield _model((128, 8, 8), partial(convolutional, 128, (256, 256)))
    yield _model((3, 32, 32), partial(convolutional, 3, (32, 32, 32), norm=True))
    yield _model((64, 8, 8), partial(convolutional, 64, (128, 128, 128), norm=True))


def _model(shape: tuple[int, ...], build: partial[nn.Module]) -> Model:
    with torch.random.fork_rng(devices=[]):
        template = build().to("meta").requires_grad_(False)
    return Model(module=template, build=build, input_shape=shape, classes=CLASSES)
