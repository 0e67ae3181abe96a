"""FLOPs: which parameter each matrix product belongs to, from running the leaf modules one by one."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_VIEWS = (nn.Flatten, nn.Unflatten)


class Outputs(NamedTuple):
    """What a module that has parameters, and those after it that have none, put out: new values, values that only show
    their input anew, and in how many calls the new ones were made."""

    new: int = 0
    views: int = 0
    calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one sample. Attributes: flops, per parameter: forward, input gradient, weight gradient;
    other_flops, all products that belong to no parameter; outputs, of leaf modules, by their last parameter;
    convolutions, the names of their weights."""

    flops: dict[str, tuple[float, float, float]]
    other_flops: float
    outputs: dict[str, Outputs]
    convolutions: frozenset[str]


def outputs_of(calls: Iterable[tuple[list[str], int, bool]], first: str) -> dict[str, Outputs]:
    """The outputs by parameter, of calls in order: the module's parameters, the number of values that it put out, and
    whether they are a view. What comes before any parameter is the `first` one's."""
    found: dict[str, Outputs] = {}
    owner = first
    for parameters, values, is_view in calls:
        owner = parameters[-1] if parameters else owner
        new, views, made = found.get(owner, Outputs())
        found[owner] = Outputs(new, views + values, made) if is_view else Outputs(new + values, views, made + 1)
    return found


class _Call(NamedTuple):
    """One use of a leaf module: its name, itself, what it got and which of that needs a gradient."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def measure(template: nn.Module, sample: Tensor) -> Measured:
    """Count the products of a module on the meta device, forward and backward of one `sample` [1, *shape].

    A leaf module's products are split over its parameters of ≥ 2 dimensions by their number of values: for
    a linear layer or a convolution all belong to its weight. Raises ValueError if the module has no output
    that depends on a parameter.
    """
    module = copy.deepcopy(template).requires_grad_(True)
    calls: list[_Call] = []
    values: list[int] = []
    leaves = [(name, leaf) for name, leaf in module.named_modules() if _computes(leaf)]
    hooks = [leaf.register_forward_hook(_recorder(name, calls, values), with_kwargs=True) for name, leaf in leaves]
    total = _counted(lambda: _backward(module(sample), module.parameters()))
    for hook in hooks:
        hook.remove()
    flops = {name: (0.0, 0.0, 0.0) for name, _ in module.named_parameters()}
    names = {id(tensor): name for name, tensor in module.named_parameters()}
    for call in calls:
        for parameter, cost in _costs(call).items():
            name = names[parameter]
            flops[name] = tuple(a + b for a, b in zip(flops[name], cost, strict=True))  # type: ignore[assignment]
    other = total - sum(map(sum, flops.values()))
    convolutions = frozenset(f"{call.name}.weight" for call in calls if isinstance(call.module, _Convolution))
    made = [
        ([names[id(tensor)] for tensor in call.module.parameters()], count, isinstance(call.module, _VIEWS))
        for call, count in zip(calls, values, strict=True)
    ]
    return Measured(
        flops=flops, other_flops=other, outputs=outputs_of(made, next(iter(flops))), convolutions=convolutions
    )


def _computes(module: nn.Module) -> bool:
    """Whether this is a leaf module that does something."""
    return not list(module.children()) and not isinstance(module, nn.Identity | nn.Sequential)


def _recorder(name: str, calls: list[_Call], values: list[int]) -> Callable[..., None]:
    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        calls.append(_Call(name, module, args, kwargs))
        outputs = output if isinstance(output, tuple | list) else (output,)
        values.append(sum(tensor.numel() for tensor in outputs if isinstance(tensor, Tensor)))

    return record


def _costs(call: _Call) -> dict[int, tuple[float, float, float]]:
    """FLOPs of one call by the id of the parameter: forward, input gradient, weight gradient."""
    wide = [tensor for tensor in call.module.parameters() if tensor.ndim >= 2]
    if not wide:
        return {}
    forward = _counted(lambda: call.module(*call.args, **call.kwargs))
    into_weights = _counted(lambda: _backward(_rerun(call, inputs=False), wide)) - forward
    needing = [t for t in (*call.args, *call.kwargs.values()) if isinstance(t, Tensor) and t.requires_grad]
    both = _counted(lambda: _backward(_rerun(call, inputs=True), wide)) - forward if needing else into_weights
    whole = sum(tensor.numel() for tensor in wide)
    costs = (forward, both - into_weights, into_weights)
    return {
        id(t): (costs[0] * t.numel() / whole, costs[1] * t.numel() / whole, costs[2] * t.numel() / whole) for t in wide
    }


def _rerun(call: _Call, *, inputs: bool) -> object:
    """The module on fresh copies of what it got, which need a gradient as before, or none if not `inputs`."""

    def fresh(value: object) -> object:
        if not isinstance(value, Tensor):
            return value
        return value.detach().requires_grad_(inputs and value.requires_grad)

    return call.module(*map(fresh, call.args), **{key: fresh(value) for key, value in call.kwargs.items()})


def _backward(output: object, parameters: Any) -> None:
    outputs = output if isinstance(output, tuple | list) else (output,)
    sums = [tensor.sum() for tensor in outputs if isinstance(tensor, Tensor) and tensor.requires_grad]
    if not sums:
        raise ValueError("the model's output does not depend on its parameters")
    torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
    for parameter in parameters:
        parameter.grad = None


def _counted(work: Callable[[], object]) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops())
