"""Gradients of a cohort of dense models on a GPU: `Layered` in torch, one batched product a layer and direction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgesim.learning.batches import Batch, mean_loss
from edgesim.learning.layered import DenseLayer
from edgesim.learning.tree import Params


@dataclass(frozen=True)
class Products:
    """Dense layers over stacked parameters, on any device; backward by hand, which takes half of autograd's calls."""

    layers: tuple[DenseLayer, ...]

    def gradient(self, params: Params, batch: Batch) -> Params:
        inputs, logits = self._forward(params, batch.x)
        # ∂loss/∂logits = (softmax − one-hot) · weight; compared, not scattered: scattering adds in any order on a GPU
        delta = torch.softmax(logits, 2)
        hot = batch.y.unsqueeze(2) == torch.arange(delta.shape[2], device=delta.device)
        delta.sub_(hot.to(delta.dtype)).mul_(batch.weight.unsqueeze(2))
        found: Params = {}
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            found[layer.weight] = delta.transpose(1, 2) @ inputs[i]
            if layer.bias is not None:
                found[layer.bias] = delta.sum(1)
            if i:
                delta = delta @ params[layer.weight]
                if self.layers[i - 1].relu:
                    delta.mul_(inputs[i] > 0)
        return {name: found[name] for name in params}

    def logits(self, params: Params, x: Tensor) -> Tensor:
        return self._forward(params, x)[1]

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)

    def _forward(self, params: Params, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """The input of each layer [client, B, in], and the logits [client, B, class]."""
        inputs, h = [], x.flatten(2)
        for layer in self.layers:
            inputs.append(h)
            weight = params[layer.weight].transpose(1, 2)
            h = h @ weight if layer.bias is None else torch.baddbmm(params[layer.bias].unsqueeze(1), h, weight)
            if layer.relu:
                h.relu_()
        return inputs, h
