"""A cohort of dense models: one batched product a layer, and a backward by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgesim.learning import tree
from edgesim.learning.batches import Batch, Batches, mean_loss, take
from edgesim.learning.sequence import parts_of
from edgesim.learning.tree import Params

Array: TypeAlias = NDArray[np.float32]

_gate = torch.ops.aten.threshold_backward.grad_input
_TOGETHER = 1 << 19  # weights of the clients that descend at once


@dataclass(frozen=True)
class DenseLayer:
    """A Linear layer as `Layered` sees it: its parameters' names, and whether a ReLU follows."""

    weight: str
    bias: str | None
    relu: bool


def dense_layers(module: nn.Module) -> tuple[DenseLayer, ...] | None:
    """The layers, if the model is a chain of Flatten, Linear and ReLU ending in a Linear; else None."""
    layers: list[DenseLayer] = []
    for name, part in parts_of(module) or []:
        if type(part) is nn.Linear:
            bias = None if part.bias is None else f"{name}.bias"
            layers.append(DenseLayer(f"{name}.weight", bias, relu=False))
        elif type(part) is nn.ReLU and layers and not layers[-1].relu:
            layers[-1] = DenseLayer(layers[-1].weight, layers[-1].bias, relu=True)
        elif not (type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1) and not layers):
            return None
    return tuple(layers) if layers and not layers[-1].relu else None


@dataclass(frozen=True)
class Layered:
    """Dense layers over stacked parameters: one batched product a layer, forward and backward.

    In numpy: on a CPU it does many small products in two thirds of torch's time, and calls cost half.
    """

    layers: tuple[DenseLayer, ...]

    def gradient(self, params: Params, batch: Batch) -> Params:
        inputs, delta = self._forward(params, batch.x)
        # ∂loss/∂logits = (softmax − one-hot) · weight
        delta -= torch.from_numpy(delta).amax(2, keepdim=True).numpy()
        np.exp(delta, out=delta)
        delta /= delta @ np.ones(
            (delta.shape[2], 1), np.float32
        )  # sums by products: numpy's own take three times as long
        clients, samples = batch.y.shape
        delta[np.arange(clients)[:, None], np.arange(samples), batch.y.numpy()] -= 1
        delta *= batch.weight.numpy()[:, :, None]
        gradients: dict[str, Array] = {}
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            gradients[layer.weight] = delta.transpose(0, 2, 1) @ inputs[i]
            if layer.bias is not None:
                gradients[layer.bias] = np.ones(samples, np.float32) @ delta
            if i:
                delta = delta @ params[layer.weight].numpy()
                if self.layers[i - 1].relu:
                    delta *= inputs[i] > 0
        return {name: torch.from_numpy(gradients[name]) for name in params}

    def sgd(self, params: Params, batches: Batches, lr: float | Tensor) -> Params:
        """See `kernels.Descending`: in place, a few clients at a time, whose weights stay in the cache meanwhile."""
        trained = {name: torch.empty(tensor.shape) for name, tensor in params.items()}
        index = batches.index.transpose(0, 1).contiguous()  # [step, client, B]
        x, y = batches.x.flatten(1), take(batches.y, index).unsqueeze(3)
        factor = (tree.broadcast(lr, batches.weight) * batches.weight).transpose(0, 1).unsqueeze(3).contiguous()
        clients, still = len(batches.steps), batches.still
        together = max(_TOGETHER // sum(tensor[0].numel() for tensor in params.values()), 1)
        for start in range(0, clients, together):
            stop = min(start + together, clients)
            for name, tensor in trained.items():
                tensor[start:stop] = params[name][start:stop]
            active = 0
            for step in range(int(batches.steps[start])):
                stop = min(stop, still[step])
                if stop - start != active:
                    active = stop - start
                    descent = Descent(self.layers, {name: t[start:stop] for name, t in trained.items()}, y.shape[2])
                here = slice(start, stop)
                torch.index_select(x, 0, index[step, here].view(-1), out=descent.x.view(-1, x.shape[1]))
                descent.step(y[step, here], factor[step, here])
        return trained

    def logits(self, params: Params, x: Tensor) -> Tensor:
        return torch.from_numpy(self._forward(params, x)[1])

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)

    def _forward(self, params: Params, x: Tensor) -> tuple[list[Array], Array]:
        """The input of each layer [client, B, in], and the logits [client, B, class]."""
        inputs, h = [], x.flatten(2).numpy()
        for layer in self.layers:
            inputs.append(h)
            h = h @ params[layer.weight].numpy().transpose(0, 2, 1)
            if layer.bias is not None:
                h += params[layer.bias].numpy()[:, None]
            if layer.relu:
                np.maximum(h, 0, out=h)
        return inputs, h


class Descent:
    """A few clients on their way down, in place, with memory that every step uses again."""

    def __init__(self, layers: Sequence[DenseLayer], params: Params, samples: int) -> None:
        self._layers = layers
        self._weights = [params[layer.weight] for layer in layers]
        self._transposed = [weight.transpose(1, 2) for weight in self._weights]
        self._biases = [None if layer.bias is None else params[layer.bias].unsqueeze(1) for layer in layers]
        clients = len(self._weights[0])
        self.x = torch.empty(clients, samples, self._weights[0].shape[2])
        self._outputs = [torch.empty(clients, samples, weight.shape[1]) for weight in self._weights]
        self._deltas = [torch.empty_like(output) for output in self._outputs]
        self._ones = torch.ones(clients, 1, samples)
        self._less = torch.full((clients, samples, 1), -1.0)

    def step(self, y: Tensor, factor: Tensor) -> None:
        """One step in place; factor [client, B, 1]: the learning rate times each sample's weight."""
        h = self.x
        for layer, weight, bias, out in zip(self._layers, self._transposed, self._biases, self._outputs, strict=True):
            torch.bmm(h, weight, out=out) if bias is None else torch.baddbmm(bias, h, weight, out=out)
            h = out.relu_() if layer.relu else out
        delta = torch.softmax(h, 2, out=self._deltas[-1]).scatter_add_(2, y, self._less).mul_(factor)
        for i in range(len(self._layers) - 1, -1, -1):
            moved, weight, bias = delta, self._weights[i], self._biases[i]
            h = self._outputs[i - 1] if i else self.x
            if i:
                delta = torch.bmm(moved, weight, out=self._deltas[i - 1])  # before the weights move
                if self._layers[i - 1].relu:
                    _gate(delta, h, 0, grad_input=delta)
            weight.baddbmm_(moved.transpose(1, 2), h, alpha=-1)
            if bias is not None:
                bias.baddbmm_(self._ones, moved, alpha=-1)
