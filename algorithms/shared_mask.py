"""Masks on the wire: which weights may be masked, and what it takes to tell the other side a mask.

A client that has seen the server's mask in its present version need not be told again. What it saw last is part of
its state: {"seen": {"version": −1 at first}}; so it counts once its update has arrived.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from edgesim.algorithms.async_rules import takes_models
from edgesim.algorithms.contract import Arrivals, Client, Context, merge
from edgesim.learning import masks
from edgesim.learning.codecs import Part
from edgesim.learning.tree import Params, Shape, State

Layers: TypeAlias = Literal["auto", "conv", "conv+linear", "middle"]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SEED_WORDS = 2  # a 64-bit seed, in values of four bytes


def maskable(context: Context, layers: Layers) -> dict[str, Shape]:
    """Shapes of the tensors that may be masked.

    conv: weights of convolutions. conv+linear: all of two or more dimensions. middle: these without the first and the
    last. auto: conv where the model has any, else all but the last, which is the classifier.
    """
    model = context.task.model
    every = masks.maskable(model.shapes)
    parts = {name: part for name, part in model.module.named_modules() if isinstance(part, _CONVOLUTIONS)}
    conv = {name: shape for name, shape in every.items() if name.rpartition(".")[0] in parts}
    names = list(every)
    chosen = {
        "auto": list(conv) or names[:-1], "conv": list(conv), "conv+linear": names, "middle": names[1:-1],
    }[layers]  # fmt: skip
    return {name: every[name] for name in chosen}


def unseen() -> Params:
    """The state of a client that has seen no mask."""
    return {"version": torch.tensor(-1)}


def has_seen(client: Client, version: Tensor) -> bool:
    """Whether the client has the mask of this version."""
    return bool(client.state["seen"]["version"] == version)


def full(context: Context) -> Params:
    """Every weight of two or more dimensions active."""
    return {
        name: torch.ones(shape, dtype=torch.bool) for name, shape in masks.maskable(context.task.model.shapes).items()
    }


def owned(params: Params, before: Params, after: Params) -> list[Part]:
    """Values that are active after training, and the masks that changed: the server knows those of before."""
    known = {name: torch.equal(mask, before[name]) for name, mask in after.items()}
    return [
        Part(values=tensor, mask=after.get(name), mask_known=known.get(name, False)) for name, tensor in params.items()
    ]


def seed(mask: Params) -> Part:
    """What a random mask is told by: a seed, and each tensor's density."""
    return Part(values=torch.zeros(SEED_WORDS + len(mask)), mask=None, mask_known=False)


def any_of(held: Params) -> Params:
    """Where any of several clients holds a weight: bool [*shape]."""
    return {name: tensor.any(0) for name, tensor in held.items()}


def off_is_zero(context: Context, server: State, arrivals: Arrivals) -> Params:
    """Updates of models whose weights are 0 where their mask has them off, [arrival, *shape]; counted from the server's
    model as it is now: from the one that was sent, stale clients would each take away the same weight."""
    base = arrivals.sent["params"] if takes_models(context.rule) else server["params"]
    on, update = arrivals.update["mask"], arrivals.update["params"]
    return {name: torch.where(on[name], step, -base[name]) if name in on else step for name, step in update.items()}


def merge_held(context: Context, server: State, arrivals: Arrivals, weights: Tensor) -> State:
    """One step by the scenario's rule in which each weight is averaged over the clients that hold it in the end,
    `arrivals.update["mask"]`; weights that nobody holds stay."""
    held = arrivals.update["mask"]
    change = masks.apply(held, arrivals.update["params"])
    return merge(context, server, arrivals, weights, update=change, held=held)


def present(params: Params, mask: Params, state: State) -> State:
    """The server's state with a mask of a new version, and its params under it."""
    version = {"version": state["seen"]["version"] + 1}
    return {**state, "params": masks.apply(mask, params), "mask": mask, "seen": version}
