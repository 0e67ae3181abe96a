"""FjORD: ordered dropout (Horváth et al., NeurIPS 2021, arXiv:2102.13451).

    P = {p_1 < … < p_K}, and p_max of each client the largest width that its device carries (see `nested`)
    local    each mini-batch: p ~ U{p ∈ P: p ≤ p_max};  SGD on the first ⌈p·C⌉ units of every hidden layer
    server   each value is the mean over the clients that hold it; values that nobody holds stay

Units that a mini-batch leaves out do not move: neither weight decay nor momentum reaches them. The paper's
self-distillation from p_max is left out. Its batch norms are one for each width; models with them are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms.contract import Client, Context, Payload, local_work
from edgesim.algorithms.nested import Nested, Rate, rate_of, thin
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import masks, placement, solvers, tree, widths
from edgesim.learning.batches import Batch
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class FjORD(Nested):
    """Every mini-batch trains a random width, up to what the client's device carries."""

    summary: ClassVar[str] = "ordered dropout: each mini-batch trains a random width, up to what a device carries"
    paper: ClassVar[str] = "Horváth et al. 2021, arXiv:2102.13451"

    rates: Annotated[tuple[Rate, ...], MinLen(1), Doc("P, the widths: shares of the units of each hidden layer")] = (
        0.2, 0.4, 0.6, 0.8, 1.0,
    )  # fmt: skip

    def check(self, context: Context) -> None:
        super().check(context)
        if widths.layout(context.task.model).norms:
            raise ScenarioError(
                "task.model: fjord wants a batch norm of its own for every width, which is not supported; "
                "write norm: none, or take heterofl"
            )

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        """The mean over the widths that may be drawn; memory as the widest of them."""
        rates = self._rising[: self._choices(rate_of(client))]
        return _mean([local_work(thin(context, rate), client.samples) for rate in rates])

    @property
    def _rising(self) -> tuple[float, ...]:
        """P in rising order, each once."""
        return tuple(sorted(set(self.rates)))

    def _choices(self, most: float) -> int:
        return sum(rate <= most for rate in self._rising)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        most = client["width"]["rate"]
        choices = torch.stack([most >= rate for rate in self._rising]).sum(0)
        return {**super().local_start(payload, client), "choices": {"count": choices}}

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        on = self._drawn(local, learner)
        moved = learner.descend(local, learner.gradient(masks.apply(on, local["params"]), batch))
        moved["params"] = tree.apply(torch.where, on, moved["params"], local["params"])
        for group in solvers.MOMENTS:
            if group in moved:  # before the first step there are none
                before = local.get(group, tree.scale(0.0, local["params"]))
                moved[group] = tree.apply(torch.where, on, moved[group], before)
        return moved

    def _drawn(self, local: State, learner: Learner) -> Params:
        """The mask of this mini-batch's width: bool [client, *shape]."""
        place = self._places(local["choices"]["count"], learner)
        every = tree.stack([{"kept": widths.kept(learner.task.model, rate)} for rate in self._rising])["kept"]
        sizes = placement.moved(every, learner.device)
        return widths.masks({name: size[place] for name, size in sizes.items()}, local["params"])

    def _places(self, choices: Tensor, learner: Learner) -> Tensor:
        """Which of the widths each client draws, [client]."""
        uniform = learner.uniforms(f"width/{learner.step}", 1)[:, 0]
        return (uniform.double() * choices).long()


def _mean(works: Sequence[Workload]) -> Workload:
    """Steps that are now like the one, now like the other; the last is the largest."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(work, name) for work in works]))

    return replace(
        works[-1],
        layer_flops=np.mean([work.layer_flops for work in works], axis=0),
        other_flops=mean("other_flops"),
        traffic_bytes=mean("traffic_bytes"),
        activation_bytes=mean("activation_bytes"),
        convolution_bytes=mean("convolution_bytes"),
    )
