"""LotteryFL (Li et al. 2021, arXiv:2008.03371; the authors' code: github charleslipku/LotteryFL).

Each client looks for its winning ticket in the common start w_0.

    down    m_k ⊙ w
    prune   if m_k ⊙ w is right on more than `start_accuracy` of the client's samples and more than `end_density` of the
            weights are left: the `percent` % smallest |w| of each tensor go, and what is left starts again from w_0
    local   SGD on m_k
    server  w_j ← mean of w_kj over the clients that hold j; nobody: as before; biases: mean over all

The authors' code asks for the accuracy on samples kept apart; here it is on the training samples, since a device has no
others. w_0 follows from a seed that both sides know, so it costs memory but no bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from typing_extensions import Doc

from edgesim.algorithms import shared_mask
from edgesim.algorithms.async_rules import takes_models
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, masked
from edgesim.algorithms.costs import forward_work
from edgesim.devices.workload import Workload
from edgesim.learning import codecs, masks, phases, tree
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class LotteryFl(Algorithm):
    """Personal lottery tickets: pruned by magnitude, rewound to the common start."""

    summary: ClassVar[str] = "personal lottery tickets: prune by magnitude, rewind to the start; mean over holders"
    paper: ClassVar[str] = "Li et al. 2021, arXiv:2008.03371"

    percent: Annotated[float, Gt(0), Lt(100), Doc("share of the active weights pruned at a time, in %")] = 10.0
    start_accuracy: Annotated[float, Ge(0), Le(1), Doc("what the model must exceed for a client to prune")] = 0.2
    end_density: Annotated[float, Ge(0), Le(1), Doc("active share at which pruning ends")] = 0.5

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        params = context.task.model.init(context.seed)
        return {"params": params, "start": params}

    def init_client(self, context: Context, client: int) -> State:
        return {"mask": shared_mask.full(context)}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        parts = masked(server["params"], client.state["mask"])
        return Payload(state={"params": server["params"], "start": server["start"]}, size_bytes=codecs.size(parts))

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        density = masks.densities(client.state["mask"])
        training = local_work(context, client.samples, density=density, copies=1)  # w_0
        return phases.together(training, forward_work(context, client.samples, density=density))

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        if self._may_prune({name: mask[None] for name, mask in client.state["mask"].items()}).any():
            return None
        return codecs.size(masked(payload.state["params"], client.state["mask"]))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return shared_mask.owned(update["params"], before["mask"], after["mask"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return shared_mask.merge_held(context, server, self._from_now(context, server, arrivals), arrivals.equal)

    def _from_now(self, context: Context, server: State, arrivals: Arrivals) -> Arrivals:
        """The arrivals with updates from the server's present model where a client began again at w_0: from the one
        that was sent, stale clients would each take away what had been learnt."""
        rewound = arrivals.update["job"]["rewound"] & (arrivals.staleness > 0)
        if takes_models(context.rule) or not rewound.any():
            return arrivals
        models = tree.add(arrivals.sent["params"], arrivals.update["params"])
        update, statistics = arrivals.update["params"], context.task.model.statistics
        change = tree.where(rewound, tree.subtract(models, server["params"]), update)
        if statistics:  # `merge` counts those from the present ones itself
            change = {name: update[name] if name in statistics else tensor for name, tensor in change.items()}
        return replace(arrivals, update={**arrivals.update, "params": change})

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        return {"params": masks.apply(client["mask"], payload["params"]), "mask": client["mask"]}

    def local_train(self, payload: State, client: State, learner: Learner) -> tuple[State, State]:
        local = self._rewound(self.local_start(payload, client), payload["start"], learner)
        return self.local_end(payload, client, self.local_sgd(local, learner), learner)

    def _rewound(self, local: State, start: Params, learner: Learner) -> State:
        """A thinner ticket at w_0 for clients that may prune; biases go back as well."""
        right = learner.accuracy(local["params"], learner.samples())
        prunes = (right > self.start_accuracy) & self._may_prune(local["mask"])
        counts = masks.below_percentile(masks.count(local["mask"]), prunes.double() * (self.percent / 100))
        thinner = {
            name: masks.prune(mask, local["params"][name], count)
            for (name, mask), count in zip(local["mask"].items(), counts.T, strict=True)
        }
        ticket = masks.apply(thinner, start)
        return {"params": tree.where(prunes, ticket, local["params"]), "mask": thinner, "job": {"rewound": prunes}}

    def _may_prune(self, mask: Params) -> Tensor:
        """Whether enough weights are left, bool [client]."""
        return masks.count(mask).sum(1) / sum(tensor[0].numel() for tensor in mask.values()) > self.end_density

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        change = masks.apply(local["mask"], difference(local["params"], payload["params"]))
        return {"params": change, "mask": local["mask"], "job": local["job"]}, {**client, "mask": local["mask"]}

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        return masks.apply(client.state["mask"], server["params"])

    def client_models(self, server: State, clients: Sequence[Client]) -> Sequence[Params]:
        return masks.apply_each([client.state["mask"] for client in clients], server["params"])
