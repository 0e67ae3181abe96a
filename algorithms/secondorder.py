"""Conjugate gradients over a part of a model."""

import torch

from edgesim.learning import split, tree
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params

_REACH = 0.1  # how far gradients are compared, as a share of 1 + ‖w‖: far enough for single precision


def conjugate_gradients(params: Params, own: tuple[str, ...], learner: Learner, steps: int) -> Params:
    """`own` after so many steps on H d = −∇f(w), from d = 0, where H is the Hessian of the whole local loss at w.

    Hestenes and Stiefel 1952; H p by a difference of gradients. A direction without curvature ends a client's search.
    Far away H tells little of the loss: where it would rise, a quarter of d is taken, or a quarter of that, or nothing.
    """
    batch, start = learner.samples(), split.pick(params, own)

    def gradient(at: Params) -> Params:
        return split.pick(learner.gradient({**params, **at}, batch), own)

    first = gradient(start)
    reach = _REACH * (1 + tree.squared_norm(start).sqrt())

    def product(p: Params) -> Params:
        length = reach / tree.squared_norm(p).sqrt().clamp_min(_TINY)
        moved = gradient(tree.add(start, tree.scale(length, p)))
        return tree.scale(1 / length, tree.subtract(moved, first))

    residual = tree.scale(-1.0, first)
    step, p, size = tree.scale(0.0, start), residual, tree.squared_norm(residual)
    for _ in range(steps):
        image = product(p)
        curvature = tree.inner(p, image)
        rate = torch.where(curvature > _TINY, size / curvature.clamp_min(_TINY), 0.0)
        step = tree.add(step, tree.scale(rate, p))
        residual = tree.subtract(residual, tree.scale(rate, image))
        last, size = size, tree.squared_norm(residual)
        p = tree.add(residual, tree.scale(size / last.clamp_min(_TINY), p))
    share, limit = torch.zeros_like(size), (1 + _SLACK) * learner.loss(params, batch)
    for length in _LENGTHS:  # rising, so that the longest that will do stays
        loss = learner.loss({**params, **tree.add(start, tree.scale(length, step))}, batch)
        share = torch.where(loss <= limit, length, share)
    return {
        name: torch.where(tree.per_client(share, w) > 0, w + tree.per_client(share, w) * step[name], w)
        for name, w in start.items()
    }


_TINY = 1e-30
_SLACK = 1e-3  # near the minimum a loss in single precision cannot tell
_LENGTHS = (1 / 64, 1 / 16, 1 / 4, 1.0)
