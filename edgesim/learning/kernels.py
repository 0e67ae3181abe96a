"""Gradients and predictions of a cohort: [client, *shape] parameters against [client, B, …] samples.

Three ways to the same numbers; which pays where is measured in benchmarks/README.md:
  loop     one client at a time through the module itself: the oracle, and best for convolutions on a CPU
  layered  stacked matrix products with a hand-written backward, for models of dense layers
  vmap     `torch.func.vmap` over the module, for any other model
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from edgesim.learning.batches import Batch
from edgesim.learning.tree import Params


class Kernel(Protocol):
    """How a cohort's gradients are computed."""

    def gradient(self, params: Params, batch: Batch) -> Params:
        """Gradient of each client's mean cross-entropy over the real samples of its batch."""
        ...

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Predictions [client, sample, class] for x [client, sample, *shape]."""
        ...


def kernel(module: nn.Module, backend: str) -> Kernel:
    """The kernel of a backend ("loop" or "stacked") for this model."""
    if backend == "loop":
        return Loop(module)
    layers = dense_layers(module)
    return Vmap(module) if layers is None else Layered(layers)


@dataclass(frozen=True)
class Loop:
    """One client at a time through the module, differentiated by autograd."""

    module: nn.Module

    def gradient(self, params: Params, batch: Batch) -> Params:
        rows = [self._one({n: t[i] for n, t in params.items()}, batch, i) for i in range(len(batch.y))]
        if len(rows) == 1:
            return {name: tensor.unsqueeze(0) for name, tensor in rows[0].items()}
        return {name: torch.stack([row[name] for row in rows]) for name in params}

    def _one(self, params: Params, batch: Batch, i: int) -> Params:
        real = int(torch.count_nonzero(batch.weight[i]))
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in params.items()}
        loss = F.cross_entropy(functional_call(self.module, leaves, (batch.x[i, :real],)), batch.y[i, :real])
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def logits(self, params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            rows = [functional_call(self.module, {n: t[i] for n, t in params.items()}, (x[i],)) for i in range(len(x))]
        return torch.stack(rows)


class Vmap:
    """Every client at once through `vmap`: slower than `Layered`, but it takes any module."""

    def __init__(self, module: nn.Module) -> None:
        def loss(params: Params, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
            each = F.cross_entropy(functional_call(module, params, (x,)), y, reduction="none")
            return (each * weight).sum()

        def logits(params: Params, x: Tensor) -> Tensor:
            out: Tensor = functional_call(module, params, (x,))
            return out

        self._gradient: Callable[..., Params] = vmap(grad(loss))
        self._logits: Callable[..., Tensor] = vmap(logits)

    def gradient(self, params: Params, batch: Batch) -> Params:
        return self._gradient(params, batch.x, batch.y, batch.weight)

    def logits(self, params: Params, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self._logits(params, x)


@dataclass(frozen=True)
class DenseLayer:
    """A Linear layer as `Layered` sees it: its parameters' names, and whether a ReLU follows."""

    weight: str
    bias: str | None
    relu: bool


def dense_layers(module: nn.Module) -> tuple[DenseLayer, ...] | None:
    """The layers, if the model is a chain of Flatten, Linear and ReLU ending in a Linear; else None."""
    if not isinstance(module, nn.Sequential):
        return None
    layers: list[DenseLayer] = []
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            bias = None if child.bias is None else f"{name}.bias"
            layers.append(DenseLayer(f"{name}.weight", bias, relu=False))
        elif isinstance(child, nn.ReLU) and layers and not layers[-1].relu:
            layers[-1] = DenseLayer(layers[-1].weight, layers[-1].bias, relu=True)
        elif not (isinstance(child, nn.Flatten) and not layers):
            return None
    return tuple(layers) if layers and not layers[-1].relu else None


@dataclass(frozen=True)
class Layered:
    """Dense layers over stacked parameters: one batched product a layer, forward and backward."""

    layers: tuple[DenseLayer, ...]

    def gradient(self, params: Params, batch: Batch) -> Params:
        inputs, logits = self._forward(params, batch.x)
        delta = _softmax(logits)  # ∂loss/∂logits = (softmax − one-hot) · weight
        delta.scatter_add_(2, batch.y.unsqueeze(2), delta.new_full((1, 1, 1), -1.0).expand(*batch.y.shape, 1))
        delta *= batch.weight.unsqueeze(2)
        gradients: Params = {}
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            gradients[layer.weight] = _product(delta.transpose(1, 2), inputs[i])
            if layer.bias is not None:
                gradients[layer.bias] = delta.sum(1)
            if i:
                delta = _product(delta, params[layer.weight])
                if self.layers[i - 1].relu:
                    delta *= inputs[i] > 0
        return {name: gradients[name] for name in params}

    def logits(self, params: Params, x: Tensor) -> Tensor:
        return self._forward(params, x)[1]

    def _forward(self, params: Params, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The input of each layer [client, B, in], and the logits [client, B, class]."""
        inputs, h = [], x.flatten(2)
        for layer in self.layers:
            inputs.append(h)
            h = _product(h, params[layer.weight].transpose(1, 2))
            if layer.bias is not None:
                h += params[layer.bias].unsqueeze(1)
            if layer.relu:
                h = h.relu_()
        return inputs, h


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, one matrix a client: on a CPU numpy does many small ones in two thirds of torch's time."""
    if a.device.type == "cpu":
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    return a @ b


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over the last axis; over a short axis a fifth of the time of torch's own."""
    powers = (logits - logits.amax(-1, keepdim=True)).exp_()
    return powers.div_(powers.sum(-1, keepdim=True))
