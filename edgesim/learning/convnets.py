"""Convolutional networks that are plain sequences of layers."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Gt, Len
from torch import nn
from typing_extensions import Doc

from edgesim.learning.blocks import Norm, Size, Width, classifier, image, named, norm_layer, scaled
from edgesim.learning.tree import Shape

_VGG11 = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")


def cnn(
    input_shape: Shape,
    classes: int,
    *,
    channels: Annotated[Sequence[Size], Len(2, 2), Doc("channels of the two convolutions")] = (32, 64),
    hidden: Annotated[int, Gt(0), Doc("units of the fully connected layer")] = 128,
) -> nn.Module:
    """Two 5×5 convolutions, each with ReLU and 2×2 pooling, then two fully connected layers.

    The network of FEMNIST in LEAF (Caldas et al. 2018, arXiv:1812.01097; there hidden = 2048).
    """
    depth, height, width = image("cnn", input_shape, 4)
    first, second = channels
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(depth, first, 5, padding=2)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(first, second, 5, padding=2)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(second * (height // 2 // 2) * (width // 2 // 2), hidden)),
        ("relu3", nn.ReLU()),
        ("fc2", nn.Linear(hidden, classes)),
    ]
    return named(layers)


def cifar_cnn(
    input_shape: Shape,
    classes: int,
    *,
    padding: Annotated[Literal[0, 2], Doc("of the convolutions: 0, as DisPFL; 2 keeps the image's size")] = 0,
    width: Width = 1.0,
) -> nn.Module:
    """Two 5×5 convolutions of 64 channels with ReLU and 2×2 pooling, then 384, 192 and the classes.

    The CIFAR network of FedAvg (McMahan et al. 2017, arXiv:1602.05629, after TensorFlow's tutorial). Images are
    whole and pooling is 2×2, as in the code of DisPFL; without padding 32×32 images leave 1,600 features.
    """
    channels = [scaled(64, width)] * 2
    hidden = [scaled(384, width), scaled(192, width)]
    return _plain("cifar-cnn", input_shape, channels, hidden, classes, padding)


def lenet(
    input_shape: Shape,
    classes: int,
    *,
    padding: Annotated[Literal[0, 2], Doc("of the convolutions: 0, as pFedHN; 2 keeps the image's size")] = 0,
    width: Width = 1.0,
) -> nn.Module:
    """Two 5×5 convolutions of 16 and 32 channels with ReLU and 2×2 pooling, then 120, 84 and the classes.

    The target network of pFedHN (Shamsian et al. 2021, arXiv:2103.04628, and its code).
    """
    channels = [scaled(16, width), scaled(32, width)]
    return _plain("lenet", input_shape, channels, [scaled(120, width), scaled(84, width)], classes, padding)


def _plain(
    model: str, input_shape: Shape, channels: list[int], hidden: list[int], classes: int, padding: int
) -> nn.Module:
    """5×5 convolutions, each with ReLU and 2×2 pooling, then fully connected layers."""
    depth, height, width = image(model, input_shape, 16 if padding == 0 else 4)
    layers: list[tuple[str, nn.Module]] = []
    for number, size in enumerate(channels, start=1):
        layers += [
            (f"conv{number}", nn.Conv2d(depth, size, 5, padding=padding)),
            (f"relu{number}", nn.ReLU()),
            (f"pool{number}", nn.MaxPool2d(2)),
        ]
        depth, height, width = size, (height + 2 * padding - 4) // 2, (width + 2 * padding - 4) // 2
    return named(layers + classifier([depth * height * width, *hidden, classes]))


def cnn_bn(input_shape: Shape, classes: int, *, norm: Norm = "batch", width: Width = 1.0) -> nn.Module:
    """Three 5×5 convolutions of 64, 64 and 128 channels, each normalised, then 2048, 512 and the classes.

    The network of FedBN (Li et al. 2021, arXiv:2102.07623) as pFedLA uses it (Ma et al. 2022, arXiv:2205.03993):
    ReLU after each, 2×2 pooling after the first two, no norm after the fully connected layers.
    """
    depth, height, breadth = image("cnn-bn", input_shape, 4)
    layers: list[tuple[str, nn.Module]] = []
    for number, size in enumerate((64, 64, 128), start=1):
        layers += _convolution(number, depth, scaled(size, width), 5, norm)
        depth = scaled(size, width)
        if number < 3:
            layers.append((f"pool{number}", nn.MaxPool2d(2)))
    features = depth * (height // 2 // 2) * (breadth // 2 // 2)
    return named(layers + classifier([features, scaled(2048, width), scaled(512, width), classes]))


def vgg11(input_shape: Shape, classes: int, *, norm: Norm = "group", width: Width = 1.0) -> nn.Module:
    """VGG11 for CIFAR: eight 3×3 convolutions, five poolings and one fully connected layer.

    Simonyan and Zisserman 2015 (arXiv:1409.1556, configuration A), with the norms and the single fully
    connected layer of federated work (DisPFL, arXiv:2206.00187).
    """
    depth, height, breadth = image("vgg11", input_shape, 32)
    layers: list[tuple[str, nn.Module]] = []
    convolutions = poolings = 0
    for size in _VGG11:
        if isinstance(size, str):
            poolings += 1
            layers.append((f"pool{poolings}", nn.MaxPool2d(2)))
        else:
            convolutions += 1
            layers += _convolution(convolutions, depth, scaled(size, width), 3, norm)
            depth = scaled(size, width)
    return named(layers + classifier([depth * (height // 32) * (breadth // 32), classes]))


def _convolution(number: int, depth: int, channels: int, kernel: int, kind: Norm) -> list[tuple[str, nn.Module]]:
    """A convolution that keeps the image's size, its norm and a ReLU."""
    return [
        (f"conv{number}", nn.Conv2d(depth, channels, kernel, padding=kernel // 2)),
        (f"norm{number}", norm_layer(kind, channels)),
        (f"relu{number}", nn.ReLU()),
    ]
