"""One client's gradients by hand: chains of Conv2d, MaxPool2d, ReLU, Flatten and Linear, without autograd.

What that saves is measured in benchmarks/README.md: images are channels last, as a CPU convolves them
fastest; ReLU runs in place, and after pooling, on fewer numbers, since the two commute; gradients of
activations are overwritten on their way down, and that of the images is never made.
"""

import re
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from edgesim.learning.sequence import parts_of
from edgesim.learning.tree import Params

Kept: TypeAlias = tuple[Tensor, ...]  # what a layer's backward needs of its forward
Pair: TypeAlias = tuple[int, int]
_aten = torch.ops.aten


class Taker(Protocol):
    """Who takes the gradients of parameters as they come. A layer is done with its parameters before it gives any."""

    def wants(self, name: str | None) -> bool:
        """Whether it takes those of a parameter, if there is one of this name."""
        ...

    def take(self, name: str, gradient: Tensor) -> None: ...

    def take_product(self, name: str, delta: Tensor, x: Tensor) -> None:
        """The gradient deltaᵀ x."""
        ...


class Found(Params):
    """Keeps them."""

    def wants(self, name: str | None) -> bool:
        return name is not None

    def take(self, name: str, gradient: Tensor) -> None:
        self[name] = gradient

    def take_product(self, name: str, delta: Tensor, x: Tensor) -> None:
        self[name] = delta.t() @ x


@dataclass(frozen=True)
class Step:
    """A step of SGD, which changes `params`, all that it wants, in place: keep · params − lr · gradient + push, once
    these are pulled by that share of the way to their anchors.

    Attributes: anchors, pushes, of some of the params.
    """

    params: Params
    lr: float
    keep: float = 1.0
    pull: float = 0.0
    anchors: Params = field(default_factory=dict)
    pushes: Params = field(default_factory=dict)

    def wants(self, name: str | None) -> bool:
        return name in self.params

    def take(self, name: str, gradient: Tensor) -> None:
        whole = self._pulled(name)
        (whole if self.keep == 1 else whole.mul_(self.keep)).sub_(gradient, alpha=self.lr)
        self._push(name)

    def take_product(self, name: str, delta: Tensor, x: Tensor) -> None:
        self._pulled(name).addmm_(delta.t(), x, beta=self.keep, alpha=-self.lr)
        self._push(name)

    def _pulled(self, name: str) -> Tensor:
        whole = self.params[name]
        return whole.lerp_(self.anchors[name], self.pull) if name in self.anchors else whole

    def _push(self, name: str) -> None:
        if name in self.pushes:
            self.params[name].add_(self.pushes[name])


class Layer(Protocol):
    """A link of the chain. Its input is its own to overwrite, but for the first layer that computes."""

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Kept]:
        """The output, and what `backward` needs."""
        ...

    def backward(self, params: Params, kept: Kept, delta: Tensor, taker: Taker, below: bool) -> Tensor:
        """∂loss/∂input from `delta`, ∂loss/∂output, which may be overwritten; undefined without `below`.

        The gradients of the layer's parameters go to `taker`.
        """
        ...


@dataclass(frozen=True)
class Convolution:
    """Padded with zeros.

    Attributes: geometry, as aten wants it: stride, padding, dilation, transposed, output padding, groups.
    """

    weight: str
    bias: str | None
    geometry: tuple[Pair, Pair, Pair, bool, Pair, int]

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Kept]:
        bias = None if self.bias is None else params[self.bias]
        return _aten.convolution(x, params[self.weight], bias, *self.geometry), (x,)

    def backward(self, params: Params, kept: Kept, delta: Tensor, taker: Taker, below: bool) -> Tensor:
        (x,), weight = kept, params[self.weight]
        wanted = [below, taker.wants(self.weight), taker.wants(self.bias)]
        back, of_weight, of_bias = _aten.convolution_backward(delta, x, weight, [len(weight)], *self.geometry, wanted)
        if taker.wants(self.weight):
            taker.take(self.weight, of_weight)
        if self.bias is not None and taker.wants(self.bias):
            taker.take(self.bias, of_bias)
        return back if below else delta


@dataclass(frozen=True)
class Pooling:
    """Maxima of windows. Attributes: window, as aten wants it: kernel, stride, padding, dilation, ceil mode."""

    window: tuple[Pair, Pair, Pair, Pair, bool]

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Kept]:
        largest, place = _aten.max_pool2d_with_indices(x, *self.window)
        return largest, (x, place)

    def backward(self, params: Params, kept: Kept, delta: Tensor, taker: Taker, below: bool) -> Tensor:
        x, place = kept  # of x, only the shape matters
        back: Tensor = _aten.max_pool2d_with_indices_backward(delta, x, *self.window, place)
        return back


@dataclass(frozen=True)
class Rectifier:
    """ReLU, in place in both directions."""

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Kept]:
        return x.relu_(), (x,)

    def backward(self, params: Params, kept: Kept, delta: Tensor, taker: Taker, below: bool) -> Tensor:
        back: Tensor = _aten.threshold_backward.grad_input(delta, kept[0], 0, grad_input=delta)
        return back


@dataclass(frozen=True)
class Flattening:
    """Everything but the samples becomes one axis; on the way back its layout in memory is restored."""

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Kept]:
        return x.flatten(1), (x,)

    def backward(self, params: Params, kept: Kept, delta: Tensor, taker: Taker, below: bool) -> Tensor:
        return torch.empty_like(kept[0]).copy_(delta.reshape(kept[0].shape))


@dataclass(frozen=True)
class Dense:
    """A Linear layer."""

    weight: str
    bias: str | None

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Kept]:
        weight = params[self.weight].t()
        return x @ weight if self.bias is None else torch.addmm(params[self.bias], x, weight), (x,)

    def backward(self, params: Params, kept: Kept, delta: Tensor, taker: Taker, below: bool) -> Tensor:
        back = delta @ params[self.weight] if below else delta
        if taker.wants(self.weight):
            taker.take_product(self.weight, delta, kept[0])
        if self.bias is not None and taker.wants(self.bias):
            taker.take(self.bias, delta.sum(0))
        return back


@dataclass(frozen=True)
class Chain:
    """Layers by hand, each taking the last one's output."""

    layers: tuple[Layer, ...]

    def gradient(self, params: Params, x: Tensor, y: Tensor) -> Params:
        """Gradient of the mean cross-entropy over the samples."""
        found = Found()
        self.differentiate(params, x, y, found)
        return {name: found[name] for name in params}

    def differentiate(self, params: Params, x: Tensor, y: Tensor, taker: Taker) -> None:
        """Give the gradient to who takes it, last layer first."""
        tape, h = [], _channels_last(x)
        for layer in self.layers:
            h, kept = layer.forward(params, h)
            tape.append(kept)
        delta = _loss_by_logits(h, y)
        first = next(i for i, layer in enumerate(self.layers) if isinstance(layer, Convolution | Dense))
        for i in range(len(self.layers) - 1, first - 1, -1):
            delta = self.layers[i].backward(params, tape.pop(), delta, taker, below=i > first)

    def cut(self, taker: Taker) -> tuple["Chain", "Chain"]:
        """What is below all that it wants, and the rest."""
        first = next((i for i, layer in enumerate(self.layers) if _is_wanted(layer, taker)), len(self.layers))
        return Chain(self.layers[:first]), Chain(self.layers[first:])

    def logits(self, params: Params, x: Tensor) -> Tensor:
        h = _channels_last(x)
        for layer in self.layers:
            h, _ = layer.forward(params, h)
        return h


def _is_wanted(layer: Layer, taker: Taker) -> bool:
    return isinstance(layer, Convolution | Dense) and (taker.wants(layer.weight) or taker.wants(layer.bias))


# Images first, flattened before anything dense; nothing in place on the data themselves.
_LETTERS: dict[type[Layer], str] = {Convolution: "C", Pooling: "P", Rectifier: "R", Flattening: "F", Dense: "D"}
_SPELLING = re.compile("([CP][CPR]*FR*|F)?(D[DR]*)?")


def chain(module: nn.Module) -> Chain | None:
    """The model as a chain, if it is one: Conv2d, MaxPool2d and ReLU, Flatten, Linear and ReLU; else None."""
    layers: list[Layer] = []
    for name, part in parts_of(module) or []:
        layer = _layer(name, part)
        if layer is None:
            return None
        place = len(layers)
        while isinstance(layer, Pooling) and place and isinstance(layers[place - 1], Rectifier):
            place -= 1
        layers.insert(place, layer)
    spelled = "".join(_LETTERS[type(layer)] for layer in layers)
    return Chain(tuple(layers)) if layers and _SPELLING.fullmatch(spelled) else None


def _layer(name: str, part: nn.Module) -> Layer | None:
    if type(part) is nn.Conv2d and part.padding_mode == "zeros" and not isinstance(part.padding, str):
        geometry = (_pair(part.stride), _pair(part.padding), _pair(part.dilation), False, (0, 0), part.groups)
        return Convolution(f"{name}.weight", None if part.bias is None else f"{name}.bias", geometry)
    if type(part) is nn.MaxPool2d and not part.return_indices:
        sizes = (part.kernel_size, part.stride, part.padding, part.dilation)
        kernel, stride, padding, dilation = (_pair(size) for size in sizes)
        return Pooling((kernel, stride, padding, dilation, part.ceil_mode))
    if type(part) is nn.Linear:
        return Dense(f"{name}.weight", None if part.bias is None else f"{name}.bias")
    if type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1):
        return Flattening()
    return Rectifier() if type(part) is nn.ReLU else None


def _pair(size: int | tuple[int, ...]) -> Pair:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _loss_by_logits(logits: Tensor, y: Tensor) -> Tensor:
    """∂(mean cross-entropy)/∂logits = (softmax − one-hot) / samples."""
    delta = torch.softmax(logits, 1)
    delta.scatter_add_(1, y.unsqueeze(1), delta.new_full((1, 1), -1.0).expand(len(y), 1))
    return delta.div_(len(y))


def _channels_last(x: Tensor) -> Tensor:
    """A copy: `contiguous` would leave images of one channel as they are, and so all that is made of them."""
    return x.clone(memory_format=torch.channels_last) if x.dim() == 4 else x
