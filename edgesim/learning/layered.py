"""A cohort of dense models on a CPU: one batched product a layer, and a backward by hand.

In numpy, whose product of a stack is a call for each client: what a client learns is, bit for bit, the same in any
company. torch's goes to a library that may round otherwise by where in memory a client's matrix begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgesim.learning import tree
from edgesim.learning.batches import Batch, Batches, mean_loss
from edgesim.learning.sequence import parts_of
from edgesim.learning.tree import Params

Array: TypeAlias = NDArray[np.float32]
Arrays: TypeAlias = dict[str, Array]
Labels: TypeAlias = NDArray[np.int64]
_TOGETHER = 1 << 17  # weights of the clients that descend at once: half a megabyte, which stays in a core's own cache


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
    """Dense layers over stacked parameters: one batched product a layer, forward and backward."""

    layers: tuple[DenseLayer, ...]

    def gradient(self, params: Params, batch: Batch) -> Params:
        found: Arrays = {}
        ones = np.ones(batch.y.shape[1], np.float32)
        x, y, weight = batch.x.flatten(2).numpy(), batch.y.numpy(), batch.weight.numpy()
        for layer, delta, given in self._slopes(_arrays(params), x, y, weight):
            found[layer.weight] = delta.transpose(0, 2, 1) @ given
            if layer.bias is not None:
                found[layer.bias] = ones @ delta
        return {name: torch.from_numpy(found[name]) for name in params}

    def logits(self, params: Params, x: Tensor) -> Tensor:
        return torch.from_numpy(self._forward(_arrays(params), x.flatten(2).numpy())[-1])

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)

    def sgd(self, params: Params, batches: Batches, lr: float | Tensor) -> Params:
        """See `kernels.Descending`: in place in a copy, some clients at a time."""
        trained = {name: np.empty(tensor.shape, np.float32) for name, tensor in params.items()}
        together = max(_TOGETHER // sum(array[0].size for array in trained.values()), 1)
        spare = {name: np.empty_like(array[:together]) for name, array in trained.items()}
        x, y, index = batches.x.flatten(1).numpy(), batches.y.numpy(), batches.index.numpy()
        weight = (tree.broadcast(lr, batches.weight) * batches.weight).numpy()
        for start in range(0, len(index), together):
            stop = min(start + together, len(index))
            for name, array in trained.items():
                array[start:stop] = params[name][start:stop].numpy()
            for step, still in enumerate(batches.still[: batches.steps[start]]):
                here = slice(start, min(stop, still))
                own, at = {name: array[here] for name, array in trained.items()}, index[here, step]
                self._descend(own, x.take(at, 0), y.take(at), weight[here, step], spare)
        return {name: torch.from_numpy(array) for name, array in trained.items()}

    def _descend(self, params: Arrays, x: Array, y: Labels, weight: Array, spare: Arrays) -> None:
        """One step, in place, down Σ weight · cross-entropy; products are formed in `spare`."""
        clients, ones = len(y), np.ones(y.shape[1], np.float32)
        for layer, delta, given in self._slopes(params, x, y, weight):
            params[layer.weight] -= np.matmul(delta.transpose(0, 2, 1), given, out=spare[layer.weight][:clients])
            if layer.bias is not None:
                params[layer.bias] -= np.matmul(ones, delta, out=spare[layer.bias][:clients])

    def _slopes(self, params: Arrays, x: Array, y: Labels, weight: Array) -> Iterator[tuple[DenseLayer, Array, Array]]:
        """Of each client's Σ weight · cross-entropy: each layer, last first, with ∂loss/∂output [client, B, out] and
        its input [client, B, in]. What is done with a layer's parameters then is nothing to the others."""
        inputs = self._forward(params, x)
        # ∂loss/∂logits = (softmax − one-hot) · weight
        delta = inputs.pop()
        delta -= torch.from_numpy(delta).amax(2, keepdim=True).numpy()
        np.exp(delta, out=delta)
        classes = delta.shape[2]
        delta /= delta @ np.ones((classes, 1), np.float32)  # sums by products: numpy's own take three times as long
        delta.reshape(-1)[np.arange(0, delta.size, classes) + y.reshape(-1)] -= 1
        delta *= weight[:, :, None]
        for i in range(len(self.layers) - 1, -1, -1):
            layer, out = self.layers[i], delta
            if i:
                delta = out @ params[layer.weight]
                if self.layers[i - 1].relu:
                    delta *= inputs[i] > 0
            yield layer, out, inputs[i]

    def _forward(self, params: Arrays, x: Array) -> list[Array]:
        """The input of each layer [client, B, in], and at last the logits [client, B, class]."""
        passed = [x]
        for layer in self.layers:
            h = passed[-1] @ params[layer.weight].transpose(0, 2, 1)
            if layer.bias is not None:
                h += params[layer.bias][:, None]
            if layer.relu:
                np.maximum(h, 0, out=h)
            passed.append(h)
        return passed


def _arrays(params: Params) -> Arrays:
    """The same numbers, where they are."""
    return {name: tensor.numpy() for name, tensor in params.items()}
