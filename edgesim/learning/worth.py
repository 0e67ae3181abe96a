"""Worth: which weights are worth the time that they take (PruneFL, Jiang et al. 2019, arXiv:1909.12326)."""

import torch

from edgesim.learning import masks
from edgesim.learning.tree import Params


def worthwhile(params: Params, mask: Params, gradient: Params, time: Params, prunable: float) -> Params:
    """The readjusted mask of one model without a client axis, bool [*shape] by name.

    The share `prunable` of the active weights with smallest |w| may go and all inactive ones may come. Of these, in
    order of g_j² / t_j, those are taken for which g_j² / t_j ≥ Δ/T, with Δ = Σ g_j² and T = t_0 + Σ t_j of all that
    are active by then. time: t_j by tensor, and t_0 under "fixed".
    """
    size = torch.cat([params[name].flatten().abs() for name in mask])
    on = torch.cat([tensor.flatten() for tensor in mask.values()])
    gain = torch.cat([gradient[name].flatten().double().square() for name in mask])
    cost = torch.cat([time[name].double().expand(tensor.numel()) for name, tensor in mask.items()])
    stays = masks.prune(on[None], size[None], torch.tensor([int(prunable * int(on.sum()))]))[0]
    free = torch.nonzero(~stays).flatten()
    order = free[torch.argsort(gain[free] / cost[free], descending=True, stable=True)]
    gains = gain[stays].sum() + torch.cat([torch.zeros(1).double(), gain[order].cumsum(0)])[:-1]
    costs = (
        time["fixed"].double() + cost[stays].sum() + torch.cat([torch.zeros(1).double(), cost[order].cumsum(0)])[:-1]
    )
    worth = gain[order] * costs >= gains * cost[order]
    taken = int(worth.int().cumprod(0).sum())
    chosen = stays.clone()
    chosen[order[:taken]] = True
    pieces = torch.split(chosen, [tensor.numel() for tensor in mask.values()])
    return {name: piece.view(tensor.shape) for (name, tensor), piece in zip(mask.items(), pieces, strict=True)}
