"""A model's tensors: its parameters, and the running statistics of its batch norms, which no gradient moves."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and statistics in module order, each layer's parameters first; one that is shared comes once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for path, part in module.named_modules():
        for name, tensor in [*part.named_parameters(path, recurse=False), *_running(path, part)]:
            found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def statistics(module: nn.Module) -> frozenset[str]:
    """Names of running means and variances."""
    return frozenset(name for path, part in module.named_modules() for name, _ in _running(path, part))


def normalisation(module: nn.Module) -> frozenset[str]:
    """Names of all tensors of norm layers: scales, shifts and statistics."""
    norms = [(path, part) for path, part in module.named_modules() if isinstance(part, _NORMS)]
    names = [name for path, part in norms for name, _ in part.named_parameters(path, recurse=False)]
    return frozenset(names) | statistics(module)


def _running(path: str, part: nn.Module) -> list[tuple[str, Tensor]]:
    if not isinstance(part, _BatchNorm):
        return []
    return [(name, b) for name, b in part.named_buffers(path, recurse=False) if b.is_floating_point()]


def forget_counts(module: nn.Module) -> None:
    """Drop the batch norms' count of batches, which only a cumulative average needs."""
    for part in module.modules():
        if isinstance(part, _BatchNorm) and part.momentum is not None:
            part.num_batches_tracked = None


def unsupported(module: nn.Module) -> str | None:
    """Why a module cannot be trained here, or None: "'name' is …; do …"."""
    known = statistics(module)
    for path, part in module.named_modules():
        if isinstance(part, _BatchNorm) and not part.track_running_stats:
            return f"'{path}' keeps no running statistics, so predictions would depend on the batch; track them"
        if isinstance(part, _BatchNorm) and part.momentum is None:
            return f"'{path}' averages over all batches, which is not supported; give it a momentum, 0.1 say"
    for name, _ in module.named_buffers():
        if name not in known:
            return f"'{name}' is a buffer, which only batch norms may have; compute it in forward, or use a parameter"
    for name, tensor in tensors(module).items():
        if tensor.dtype != torch.float32:
            return f"'{name}' is {tensor.dtype}; torch.float32 is wanted"
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            return f"'{name}' is frozen (requires_grad is False), but all parameters learn here; leave them free"
    return None
