"""Models that are plain sequences of layers, which kernels written by hand can follow."""

from torch import nn


def parts_of(module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The parts of an `nn.Sequential`, nested ones unfolded, in order and with their names; else None.

    None, too, if a parameter serves in two places, since its gradients would have to be added up. Ask for
    exact types, `type(part) is nn.Linear`: a subclass may compute something else.
    """
    every = sum(1 for _ in module.named_parameters(remove_duplicate=False))
    if type(module) is not nn.Sequential or every > sum(1 for _ in module.parameters()):
        return None
    named = module.named_modules(remove_duplicate=False)
    return [(name, part) for name, part in named if type(part) is not nn.Sequential]
