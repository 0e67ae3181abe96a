"""Levels: sub-masks of one mask for unequal clients (hetero-FLASH, arXiv:2208.13092): level b has b of its density."""

from collections.abc import Callable, Mapping, Sequence

from edgesim import streams
from edgesim.algorithms.contract import Context, local_work
from edgesim.errors import ScenarioError
from edgesim.learning import consensus
from edgesim.learning.training import Training
from edgesim.learning.tree import Params, State

FULL = 1.0


def check(levels: Sequence[float], context: Context, *, by_memory: bool) -> None:
    """Raise ScenarioError for levels that make no sense."""
    if max(levels) != FULL:
        raise ScenarioError(f"algorithm.levels: the largest is {max(levels):g}; it must be 1, the full mask")
    if by_memory and context.memory_bytes is None:
        raise ScenarioError("algorithm.budgets: memory needs a fleet of devices; use positions")


def nested(server: State, levels: Sequence[float], density: float) -> State:
    """The server's state with the sub-masks of all levels: of each tensor the largest |w|, in shares of what is not 0;
    each lies within all larger ones."""
    ones = consensus.ones(server["params"], server["mask"])
    smaller = sorted(set(levels) - {FULL})
    return {**server, **{_group(b): consensus.by_magnitude(server["params"], ones, b * density) for b in smaller}}


def mask_of(server: State, level: float) -> Params:
    """The mask of a level."""
    return server["mask"] if level == FULL else server[_group(level)]


def drawn(context: Context, levels: Sequence[float], number: int, client: int) -> float:
    """A client's level in round `number`, each entry of `levels` as likely: in the paper's code it follows from the
    client's place in the random sample, and so is another one in every round."""
    return levels[streams.key(context.seed, "levels", number, client) % len(levels)]


def fitting(
    context: Context,
    levels: Sequence[float],
    density: Callable[[float], Mapping[str, float]],
    client: int,
    training: Training | None = None,
) -> float:
    """The largest level whose training fits the memory of the client's device; the smallest where none does: then
    the device runs out of memory, as a run shows. density: of each tensor, of a level's mask."""
    assert context.memory_bytes is not None
    limit, samples = int(context.memory_bytes[client]), int(context.task.train.count[client])
    for level in sorted(set(levels), reverse=True):
        if local_work(context, samples, training=training, density=density(level)).memory_bytes <= limit:
            return level
    return min(levels)


def _group(level: float) -> str:
    return f"mask/{level:g}"
