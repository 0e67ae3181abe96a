"""A cohort of dense models: one batched product a layer, and a backward by hand."""

from collections.abc import Iterator, Set
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesim.learning import tree
from edgesim.learning.batches import Batch, Batches, mapped, mean_loss, take
from edgesim.learning.descent import Descent
from edgesim.learning.sequence import parts_of
from edgesim.learning.tree import Params, State

_gate = torch.ops.aten.threshold_backward.grad_input
# Weights of the clients that descend at once, 4 MB: fewer make more calls, more leave the cache that cores share.
_TOGETHER = 1 << 20
_LINE = 16  # float32 of a cache line


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
        found: Params = {}
        inputs = self._forward(params, batch.x)
        hot = take(torch.eye(inputs[-1].shape[2], device=batch.y.device), batch.y)
        for layer, delta, given in self._slopes(params, inputs, hot, batch.weight.unsqueeze(2)):
            found[layer.weight] = torch.bmm(delta.transpose(1, 2), given)
            if layer.bias is not None:
                found[layer.bias] = delta.sum(1)
        return {name: found[name] for name in params}

    def logits(self, params: Params, x: Tensor) -> Tensor:
        return self._forward(params, x)[-1]

    def loss(self, params: Params, batch: Batch) -> Tensor:
        return mean_loss(self.logits(params, batch.x), batch)

    def sgd(self, params: Params, batches: Batches, lr: float | Tensor, descent: Descent) -> Params:
        """See `kernels.Descending`: in place in a copy, some clients at a time.

        What a client learns is, bit for bit, the same in any company: its matrices begin with a cache line, filled
        up with zeros where need be, since products are rounded otherwise by where in memory they lie. Nor is a batch
        a single sample: one outer product is rounded otherwise than several.
        """
        lowest = next((i for i, layer in enumerate(self.layers) if descent.moves(layer.weight, layer.bias)), None)
        if lowest is None:
            return params
        below, above = Layered(self.layers[:lowest]), Layered(self.layers[lowest:])
        together = max(_TOGETHER // sum(tensor[0].numel() for tensor in params.values()), 1)
        pushes, classes = descent.pushed(lr), params[self.layers[-1].weight].shape[1]
        trained: list[State] = []
        for start in range(0, len(batches.steps), together):
            some = slice(start, min(start + together, len(batches.steps)))
            filled = {name: _filled(tensor[some]) for name, tensor in params.items()}
            group, rate = batches.some(some), lr[some] if isinstance(lr, Tensor) else lr
            if lowest:  # what is below stands still: each sample goes through it once
                group = below._mapped(filled, group)
            above._descend(filled, group, rate, classes, _change(descent, pushes, rate, params.keys(), some))
            trained.append({"params": {name: _unfilled(filled[name], tensor) for name, tensor in params.items()}})
        return tree.join(trained)["params"]

    def _mapped(self, params: Params, batches: Batches) -> Batches:
        """The batches of what these layers make of their samples."""
        width = max(batches.index.shape[2], 2)  # as in `_descend`
        return mapped(batches, lambda x: self._forward(_first(params, len(x)), x)[-1], width)

    def _descend(
        self, params: Params, batches: Batches, lr: float | Tensor, classes: int, change: "_Change"
    ) -> None:  # fmt: skip
        """All steps, in place, down the mean cross-entropy. Of logits, the first `classes` count.

        What can be is laid out once, step by step; the weights' product and their step are one call.
        """
        index, shares = batches.index, tree.broadcast(lr, batches.weight) * batches.weight
        if index.shape[2] == 1:
            index, shares = index.expand(-1, -1, 2), F.pad(shares, (0, 1))
        index, shares = (each.transpose(0, 1).contiguous() for each in (index, shares))
        y, shares = take(batches.y, index), shares.unsqueeze(3)
        last = self.layers[-1]
        count, filled = params[last.weight].shape[:2]
        numbers = torch.eye(classes, filled, device=y.device)
        if last.bias is not None:
            params[last.bias][:, classes:] = -torch.inf
        for step, clients in enumerate(batches.still):
            if clients < count:
                params, count = _first(params, clients), clients
                change = change.first(clients)
            inputs = self._forward(params, take(batches.x, index[step, :clients]))
            if last.bias is None and classes < filled:
                inputs[-1][:, :, classes:] = -torch.inf
            hot = take(numbers, y[step, :clients])
            for layer, delta, given in self._slopes(params, inputs, hot, shares[step, :clients]):
                if layer.weight in change.moving:
                    change.by_product(layer.weight, params[layer.weight], delta, given)
                if layer.bias is not None and layer.bias in change.moving:
                    bias, slope = params[layer.bias], delta.sum(1)
                    if layer is last and classes < filled:  # -inf is to be left alone
                        bias, slope = bias[:, :classes], slope[:, :classes]
                    change.by_slope(layer.bias, bias, slope)

    def _slopes(
        self, params: Params, inputs: list[Tensor], hot: Tensor, weight: Tensor
    ) -> Iterator[tuple[DenseLayer, Tensor, Tensor]]:
        """Of each client's Σ weight · cross-entropy: each layer, last first, with ∂loss/∂output [client, B, out] and
        its input [client, B, in]. What is done with a layer's parameters then is nothing to the others.

        `inputs` as `_forward` gives them; hot, one-hot labels [client, B, class]; weight [client, B, 1].
        """
        # ∂loss/∂logits = (softmax − one-hot) · weight; taken, not scattered: scattering adds in any order on a GPU
        delta = _softmax(inputs.pop()).sub_(hot).mul_(weight)
        for i in range(len(self.layers) - 1, -1, -1):
            layer, out = self.layers[i], delta
            if i:
                delta = torch.bmm(out, params[layer.weight])
                if self.layers[i - 1].relu:
                    _gate(delta, inputs[i], 0, grad_input=delta)
            yield layer, out, inputs[i]

    def _forward(self, params: Params, x: Tensor) -> list[Tensor]:
        """The input of each layer [client, B, in], and at last the logits [client, B, class]."""
        x = x.flatten(2)
        missing = params[self.layers[0].weight].shape[2] - x.shape[2]
        passed = [F.pad(x, (0, missing)) if missing else x]
        for layer in self.layers:
            weight = params[layer.weight].transpose(1, 2)
            if layer.bias is None:
                h = torch.bmm(passed[-1], weight)
            else:
                h = torch.baddbmm(params[layer.bias].unsqueeze(1), passed[-1], weight)
            passed.append(h.relu_() if layer.relu else h)
        return passed


@dataclass(frozen=True)
class _Change:
    """What a step does to parameters, in place: keep · w − slope + push, where `ones` are, if there are any, once w is
    pulled by a share of the way to its anchor.

    Attributes: moving, names of those that it changes; keep, of all clients; keeps, of each [client], where they
    differ; pull, the share, a number or [client].
    """

    moving: Set[str]
    keep: float
    keeps: Tensor | None
    pull: float | Tensor
    anchors: Params
    pushes: Params
    ones: Params

    def first(self, clients: int) -> "_Change":
        """Of so many clients only."""
        keeps = None if self.keeps is None else self.keeps[:clients]
        pull = self.pull[:clients] if isinstance(self.pull, Tensor) else self.pull
        bends = (_first(each, clients) for each in (self.anchors, self.pushes, self.ones))
        return _Change(self.moving, self.keep, keeps, pull, *bends)

    def by_product(self, name: str, weights: Tensor, delta: Tensor, given: Tensor) -> None:
        """The slope is deltaᵀ · given, [client, out, in]."""
        if name in self.anchors:
            weights.lerp_(self.anchors[name], tree.broadcast(self.pull, weights))
        if self.keeps is not None:
            weights.mul_(tree.per_client(self.keeps, weights))
        weights.baddbmm_(delta.transpose(1, 2), given, beta=self.keep, alpha=-1)
        if name in self.pushes:
            weights.add_(self.pushes[name])
        if name in self.ones:
            weights.mul_(self.ones[name])

    def by_slope(self, name: str, bias: Tensor, slope: Tensor) -> None:
        """The slope may be changed, [client, out]."""
        if name in self.anchors:
            bias.lerp_(self.anchors[name][:, : slope.shape[1]], tree.broadcast(self.pull, bias))
        if name in self.pushes:
            slope.sub_(self.pushes[name][:, : slope.shape[1]])
        if name in self.ones:
            slope.mul_(self.ones[name][:, : slope.shape[1]])
        if self.keeps is not None:
            bias.mul_(tree.per_client(self.keeps, bias))
        elif self.keep != 1:
            bias.mul_(self.keep)
        bias.sub_(slope)


def _change(descent: Descent, pushes: Params, lr: float | Tensor, names: Set[str], some: slice) -> _Change:
    """Of some clients, of parameters of these names; lr is theirs."""
    ones = {name: _filled(_one(on[some]).float()) for name, on in descent.masked().items()}
    added, anchors = (
        {name: _filled(_one(tensor[some])) for name, tensor in each.items()} for each in (pushes, descent.pulled())
    )
    moving = names if descent.only is None else descent.only
    shrunk = 1 - lr * descent.decay
    keep, keeps = (shrunk, None) if not isinstance(shrunk, Tensor) else (1.0, shrunk if descent.decay else None)
    return _Change(moving, keep, keeps, lr * descent.pull, anchors, added, ones)


def _first(params: Params, clients: int) -> Params:
    """Of so many clients only; of what all share, that."""
    return {name: tensor[:clients] for name, tensor in params.items()}


def _softmax(logits: Tensor) -> Tensor:
    """Over the last axis; rows of whole cache lines take a seventh of the time of ten classes."""
    classes = logits.shape[-1]
    missing = -classes % _LINE
    return torch.softmax(F.pad(logits, (0, missing), value=-torch.inf) if missing else logits, -1)[..., :classes]


def _one(mask: Tensor) -> Tensor:
    """One row, if all are the same."""
    return mask[:1] if mask.stride(0) == 0 else mask


def _unfilled(tensor: Tensor, like: Tensor) -> Tensor:
    """What it had been filled up from, a view."""
    return tensor if tensor.shape[1:] == like.shape[1:] else tensor[:, *(slice(size) for size in like.shape[1:])]


def _filled(tensor: Tensor) -> Tensor:
    """A copy whose axes but the first are filled up with zeros to whole cache lines."""
    missing = [-size % _LINE for size in tensor.shape[1:]]
    if not any(missing):
        return tensor.clone(memory_format=torch.contiguous_format)
    return F.pad(tensor, [side for size in reversed(missing) for side in (0, size)])
