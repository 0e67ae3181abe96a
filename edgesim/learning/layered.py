"""A cohort of dense models: one batched product a layer, and a backward by hand."""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from edgesim.learning import tree
from edgesim.learning.batches import Batch, Batches, mean_loss
from edgesim.learning.sequence import parts_of
from edgesim.learning.tree import Params

_gate = torch.ops.aten.threshold_backward.grad_input
# Weights of the clients that descend at once, 4 MB: fewer make more calls, more leave the cache that cores share.
_TOGETHER = 1 << 20


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


class Taker(Protocol):
    """Who takes the gradients of a layer, which is done with its parameters, by ∂loss/∂output and input:
    delta [client, B, out], x [client, B, in]."""

    def take(self, layer: DenseLayer, delta: Tensor, x: Tensor) -> None: ...


class Found(Params):
    """Keeps them."""

    def take(self, layer: DenseLayer, delta: Tensor, x: Tensor) -> None:
        self[layer.weight] = torch.bmm(delta.transpose(1, 2), x)
        if layer.bias is not None:
            self[layer.bias] = delta.sum(1)


@dataclass(frozen=True)
class Moved:
    """Subtracts them from `params` in place: the weights' product and the step are one call."""

    params: Params

    def take(self, layer: DenseLayer, delta: Tensor, x: Tensor) -> None:
        self.params[layer.weight].baddbmm_(delta.transpose(1, 2), x, alpha=-1)
        if layer.bias is not None:
            self.params[layer.bias].sub_(delta.sum(1))


@dataclass(frozen=True)
class Layered:
    """Dense layers over stacked parameters: one batched product a layer, forward and backward."""

    layers: tuple[DenseLayer, ...]

    def gradient(self, params: Params, batch: Batch) -> Params:
        found = Found()
        self._differentiate(params, batch, found)
        return {name: found[name] for name in params}

    def logits(self, params: Params, x: Tensor) -> Tensor:
        return self._forward(params, x)[-1]

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)

    def sgd(self, params: Params, batches: Batches, lr: float | Tensor) -> Params:
        """See `kernels.Descending`: in place in a copy, some clients at a time."""
        trained = {name: tensor.new_empty(tensor.shape) for name, tensor in params.items()}
        together = max(_TOGETHER // sum(tensor[0].numel() for tensor in params.values()), 1)
        scaled = replace(batches, weight=tree.broadcast(lr, batches.weight) * batches.weight)
        for start in range(0, len(batches.steps), together):
            stop = min(start + together, len(batches.steps))
            for name, tensor in trained.items():
                tensor[start:stop] = params[name][start:stop]
            here = slice(start, start)
            for step, still in enumerate(batches.still[: batches.steps[start]]):
                if here.stop != min(stop, still):
                    here = slice(start, min(stop, still))
                    own = {name: tensor[here] for name, tensor in trained.items()}
                self._differentiate(own, scaled.of(step, here), Moved(own))
        return trained

    def _differentiate(self, params: Params, batch: Batch, taker: Taker) -> None:
        """Of each client's Σ weight · cross-entropy."""
        inputs = self._forward(params, batch.x)
        # ∂loss/∂logits = (softmax − one-hot) · weight
        delta = torch.softmax(inputs.pop(), 2)
        # compared, not scattered: scattering adds in any order on a GPU
        hot = batch.y.unsqueeze(2) == torch.arange(delta.shape[2], device=delta.device)
        delta.sub_(hot.to(delta.dtype)).mul_(batch.weight.unsqueeze(2))
        for i in range(len(self.layers) - 1, -1, -1):
            layer, out = self.layers[i], delta
            if i:
                delta = torch.bmm(out, params[layer.weight])
                if self.layers[i - 1].relu:
                    _gate(delta, inputs[i], 0, grad_input=delta)
            taker.take(layer, out, inputs[i])

    def _forward(self, params: Params, x: Tensor) -> list[Tensor]:
        """The input of each layer [client, B, in], and at last the logits [client, B, class]."""
        passed = [x.flatten(2)]
        for layer in self.layers:
            weight = params[layer.weight].transpose(1, 2)
            if layer.bias is None:
                h = torch.bmm(passed[-1], weight)
            else:
                h = torch.baddbmm(params[layer.bias].unsqueeze(1), passed[-1], weight)
            passed.append(h.relu_() if layer.relu else h)
        return passed
