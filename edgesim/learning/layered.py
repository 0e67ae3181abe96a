"""A cohort of dense models: one batched product a layer, and a backward by hand."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgesim.learning import tree
from edgesim.learning.batches import Batch, Batches, mean_loss, seen, take
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
        if lowest:
            return {**params, **self._above(lowest, params, batches, lr, descent)}
        together = max(_TOGETHER // sum(tensor[0].numel() for tensor in params.values()), 1)
        weight = tree.broadcast(lr, batches.weight) * batches.weight
        classes = params[self.layers[-1].weight].shape[1]
        trained: list[State] = []
        pushes = descent.pushes(lr)
        for start in range(0, len(batches.steps), together):
            some = slice(start, min(start + together, len(batches.steps)))
            filled = {name: _filled(tensor[some]) for name, tensor in params.items()}
            change = _change(descent, pushes, lr, params.keys(), some)
            self._descend(filled, batches, weight, some, classes, change)
            trained.append({"params": {name: _unfilled(filled[name], tensor) for name, tensor in params.items()}})
        return tree.join(trained)["params"]

    def _above(
        self, lowest: int, params: Params, batches: Batches, lr: float | Tensor, descent: Descent
    ) -> Params:  # fmt: skip
        """`sgd` of the layers from there on, where what is below stands still: each sample goes through that once."""
        samples, places = seen(batches)
        below, above = Layered(self.layers[:lowest]), Layered(self.layers[lowest:])
        clients, most = samples.shape
        at_once = max(_TOGETHER // (most * prod(batches.x.shape[1:])), 1)
        features = [
            below._forward({name: tensor[some] for name, tensor in params.items()}, take(batches.x, samples[some]))[-1]
            for some in (slice(start, start + at_once) for start in range(0, clients, at_once))
        ]
        x, y = torch.cat(features).flatten(0, 1), take(batches.y, samples).flatten()
        index = places + most * torch.arange(clients, device=places.device)[:, None, None]
        names = [name for layer in above.layers for name in (layer.weight, layer.bias) if name is not None]
        return above.sgd({name: params[name] for name in names}, replace(batches, x=x, y=y, index=index), lr, descent)

    def _descend(
        self, params: Params, batches: Batches, weight: Tensor, some: slice, classes: int, change: "_Change"
    ) -> None:
        """All steps of some clients, in place, down Σ weight · cross-entropy. Of logits, the first `classes` count.

        What can be is laid out once, step by step; the weights' product and their step are one call.
        """
        index, shares = batches.index[some], weight[some]
        if index.shape[2] == 1:
            index, shares = index.expand(-1, -1, 2), F.pad(shares, (0, 1))
        index, shares = (each.transpose(0, 1).contiguous() for each in (index, shares))
        y, shares = take(batches.y, index), shares.unsqueeze(3)
        last = self.layers[-1]
        count, filled = params[last.weight].shape[:2]
        numbers = torch.eye(classes, filled, device=y.device)
        if last.bias is not None:
            params[last.bias][:, classes:] = -torch.inf
        still = batches.still
        for step in range(int(batches.steps[some.start])):
            clients = min(some.stop, still[step]) - some.start
            if clients < count:
                params, count = {name: tensor[:clients] for name, tensor in params.items()}, clients
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
    """What a step does to parameters, in place: keep · w − slope + push, where `ones` are, if there are any.

    Attributes: moving, names of those that it changes; keep, of all clients; keeps, of each [client], where they
    differ.
    """

    moving: Set[str]
    keep: float
    keeps: Tensor | None
    ones: Params
    pushes: Params

    def first(self, clients: int) -> "_Change":
        """Of so many clients only."""
        ones, pushes = ({name: t[:clients] for name, t in each.items()} for each in (self.ones, self.pushes))
        keeps = None if self.keeps is None else self.keeps[:clients]
        return _Change(self.moving, self.keep, keeps, ones, pushes)

    def by_product(self, name: str, weights: Tensor, delta: Tensor, given: Tensor) -> None:
        """The slope is deltaᵀ · given, [client, out, in]."""
        if self.keeps is not None:
            weights.mul_(tree.per_client(self.keeps, weights))
        weights.baddbmm_(delta.transpose(1, 2), given, beta=self.keep, alpha=-1)
        if name in self.pushes:
            weights.add_(self.pushes[name])
        if name in self.ones:
            weights.mul_(self.ones[name])

    def by_slope(self, name: str, bias: Tensor, slope: Tensor) -> None:
        """The slope may be changed, [client, out]."""
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
    """Of some clients, of parameters of these names."""
    ones = {name: _filled(_one(on[some]).float()) for name, on in descent.mask.items() if name in names}
    added = {name: _filled(_one(push[some])) for name, push in pushes.items()}
    moving = names if descent.only is None else descent.only
    if not isinstance(lr, Tensor):
        return _Change(moving, descent.keep(lr), None, ones, added)
    shrink = descent.decay + descent.pull
    return _Change(moving, 1.0, 1 - shrink * lr[some] if shrink else None, ones, added)


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
