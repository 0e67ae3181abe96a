"""FLASH and hetero-FLASH (Babakniya, Kundu, Prakash, Niu, Avestimehr, TMLR 2023, arXiv:2208.13092).

Modes, by the names of the authors' code (github SaraBabakN/flash_fl):

    dense   no mask: FedAvg with an unweighted mean
    nst     each client trains a mask of its own, all from one random mask (naive sparse training)
    pdst    one random mask of uniform density d for all, fixed (pre-defined sparse training)
    spdst   stage 1, then one random mask of the densities that it found, fixed
    jmwst   stage 1, then a mask that clients adapt and the server computes anew every r_int rounds

Stage 1 (warm-up): clients train long (`warm_up_epochs`), from one random dense start under one random mask of uniform
density, and their masks move (`sparse_training.moving_step`). Only each tensor's density δ_l is reported. Once
max(⌊warm_up_share · clients⌋, 1) reports are there:

    d_l = min(1, δ_l · r),  Σ δ_l r N_l = d Σ N_l;      M_l ~ Bernoulli(d_l) anew;      w ← fresh random start

Neither weights nor places of stage 1 are kept. Stage 2, every round:

    down    M ⊙ w                                       local   SGD under the mask; nst, jmwst: the mask moves
    server  w ← mean of the clients' w_k, whose pruned weights are 0 (update_mode: mean)
            w_j ← Σ w_kj / Σ m_kj, 0 where no client holds it (update_mode: masked)
    jmwst   n_l = ⌊ones_l · min(1, d Σ N_l / Σ ones_l)⌋;  M_l = the n_l largest |w_l|
            ones_l: active weights, mean over the clients' masks (recalibration: avg) or in w (aggregate)

Budgets (hetero-FLASH): a client of level b gets the sub-mask that the same rule makes of w for the density b · d, so
all are nested; a weight that nobody was sent stays as it is.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, MinLen
from typing_extensions import Doc

from edgesim import streams
from edgesim.algorithms import levels as budget_levels
from edgesim.algorithms import shared_mask, warmup
from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload, local_work, masked, merge
from edgesim.algorithms.levels import FULL, drawn
from edgesim.algorithms.shared_mask import Layers
from edgesim.devices.workload import Workload
from edgesim.errors import ScenarioError
from edgesim.learning import codecs, consensus, masks, sparse_training, tree
from edgesim.learning.batches import Batch
from edgesim.learning.codecs import Part
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner, Training
from edgesim.learning.tree import Params, Shape, State

Share = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Flash(Algorithm):
    """Sparse training whose clients agree on one mask, found by a warm-up at a few of them."""

    summary: ClassVar[str] = "one sparse mask for all, from layer sensitivities found in a warm-up; budgets by client"
    paper: ClassVar[str] = "Babakniya et al. 2023, arXiv:2208.13092"

    mode: Annotated[
        Literal["dense", "nst", "pdst", "spdst", "jmwst"], Doc("which of the paper's methods; see the docs")
    ] = "spdst"
    density: Annotated[Share, Doc("d, active share of the maskable weights")] = 0.1
    layers: Annotated[
        Layers, Doc("what is maskable: auto is the convolutions, or all but the classifier where there are none")
    ] = "auto"
    prune_rate: Annotated[float, Ge(0), Le(1), Doc("p_0, share pruned when a mask moves; falls to 0 in a job")] = 0.25
    warm_up_share: Annotated[Share, Doc("share of the clients whose warm-up is waited for (spdst, jmwst)")] = 0.1
    warm_up_epochs: Annotated[int, Gt(0), Doc("local epochs of a warm-up job")] = 10
    update_mode: Annotated[
        Literal["mean", "masked"], Doc("mean over the clients, or per weight over those that hold it")
    ] = "mean"
    r_int: Annotated[int, Gt(0), Doc("rounds between two new masks of the server (jmwst)")] = 1
    recalibration: Annotated[
        Literal["avg", "aggregate"], Doc("tensor budgets from the clients' masks or from the merged model (jmwst)")
    ] = "avg"
    budgets: Annotated[
        Literal["none", "positions", "memory"],
        Doc("unequal clients: a level drawn for each job, or the largest whose training fits the device's memory"),
    ] = "none"
    levels: Annotated[
        tuple[Share, ...], MinLen(1), Doc("budgets as shares of d; positions draws among them, repeats count")
    ] = (0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 1.0, 1.0, 1.0, 1.0)

    def check(self, context: Context) -> None:
        if self.mode != "dense" and not self._shapes(context):
            raise ScenarioError(f"algorithm.layers: {self.layers} leaves this model nothing to mask; use conv+linear")
        if self.budgets == "none":
            return
        if self.mode not in ("spdst", "jmwst") or self.update_mode != "masked":
            raise ScenarioError("algorithm.budgets: they want mode spdst or jmwst, and update_mode: masked")
        if self.mode == "jmwst" and self.recalibration != "aggregate":
            raise ScenarioError("algorithm.recalibration: budgets want aggregate, since clients' masks differ in size")
        budget_levels.check(self.levels, context, by_memory=self.budgets == "memory")

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_server(self, context: Context) -> State:
        blank: State = {
            "stage": {
                "warm": torch.tensor(self.mode in ("spdst", "jmwst")),
                "round": torch.tensor(0),
                "others": torch.tensor(0),  # aggregations that were no round of stage 2
            },
            "reports": warmup.none_yet(self._shapes(context)),
            "seen": shared_mask.unseen(),
        }
        params = context.task.model.init(context.seed)
        return self._leveled(shared_mask.present(params, self._first_mask(context), blank))

    def init_client(self, context: Context, client: int) -> State:
        level = FULL if self.budgets != "memory" else self._first_level(context, client)
        state: State = {"seen": {**shared_mask.unseen(), "level": torch.tensor(level)}}
        return {**state, "mask": self._first_mask(context)} if self.mode == "nst" else state

    def download(self, context: Context, server: State, client: Client) -> Payload:
        warm, training = bool(server["stage"]["warm"]), self._training(context, server)
        level = self._level(context, server, client)
        mask = client.state["mask"] if self.mode == "nst" else budget_levels.mask_of(server, level)
        job = {
            "warm": server["stage"]["warm"],
            "moves": torch.tensor(self.density < 1 and (warm or self.mode == "nst" or self._renews(server))),
            "version": server["seen"]["version"],
            "level": torch.tensor(level),
        }
        return Payload(
            state={"params": server["params"], "mask": mask, "job": job},
            size_bytes=codecs.size(self._sent(server, client, mask, level)),
            training=training,
        )

    def _sent(self, server: State, client: Client, mask: Params, level: float) -> list[Part]:
        """Active values; and the mask where it is new: a random one by its seed."""
        version = server["seen"]["version"]
        seen, random = shared_mask.has_seen(client, version), int(version) <= _LAST_RANDOM
        parts = masked(server["params"], mask, known=level == FULL and (seen or random))
        return [*parts, shared_mask.seed(mask)] if mask and level == FULL and random and not seen else parts

    def workload(self, context: Context, payload: Payload, client: Client) -> Workload:
        density = masks.densities(payload.state["mask"])
        return local_work(context, client.samples, training=payload.training, density=density)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        job, mask = payload.state["job"], payload.state["mask"]
        if job["moves"] and not job["warm"]:
            return None
        return codecs.size(_reply(job, payload.state["params"], mask))

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return _reply(update["job"], update["params"], update["mask"])

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        warm = server["stage"]["warm"]
        rows = torch.nonzero(arrivals.update["job"]["warm"] == warm).flatten().tolist()
        if rows and not warm:
            return self._round(context, server, arrivals.only(rows))
        others = {**server, "stage": {**server["stage"], "others": server["stage"]["others"] + 1}}
        # without rows: nothing but reports that came after the warm-up
        return self._listen(context, others, arrivals.only(rows)) if rows else others

    def _listen(self, context: Context, server: State, arrivals: Arrivals) -> State:
        """Stage 1: add up what the clients report, and begin stage 2 when they are enough."""
        reports, shapes = warmup.added(server["reports"], arrivals), self._shapes(context)
        if not warmup.is_over(reports, context, self.warm_up_share):
            return {**server, "reports": reports}
        spread = warmup.densities(reports, shapes, self.density)
        mask = masks.bernoulli_mask(shapes, spread, streams.generator(context.seed, "flash/mask", 1))
        fresh = context.task.model.init(streams.key(context.seed, "flash/fresh"))
        begun = {**server, "reports": reports, "stage": {**server["stage"], "warm": torch.tensor(False)}}
        return self._leveled(shared_mask.present(fresh, mask, begun))

    def _round(self, context: Context, server: State, arrivals: Arrivals) -> State:
        held = arrivals.update["mask"]
        if self.update_mode == "mean":
            update = shared_mask.off_is_zero(context, server, arrivals)
            state = merge(context, server, arrivals, arrivals.equal, update=update)
        else:
            state = shared_mask.merge_held(context, server, arrivals, arrivals.equal)
            state["params"] = masks.apply(self._remaining(arrivals), state["params"])
        state["params"] = masks.apply(_more_than_traces(held, state["params"], server["params"]), state["params"])
        if self._renews(server):
            clients = {name: float(on.flatten(1).sum(1).double().mean()) for name, on in held.items()}
            ones = clients if self.recalibration == "avg" else consensus.ones(state["params"], held)
            mask = consensus.by_magnitude(state["params"], ones, self.density)
            state = shared_mask.present(state["params"], mask, state)
        elif self.mode == "jmwst":  # who began before the mask came to rest may hold weights outside it
            state["params"] = masks.apply(server["mask"], state["params"])
        return self._leveled({**state, "stage": {**server["stage"], "round": server["stage"]["round"] + 1}})

    def _remaining(self, arrivals: Arrivals) -> Params:
        """Where a weight may differ from 0: somebody holds it or, with unequal clients, nobody was sent it."""
        held = shared_mask.any_of(arrivals.update["mask"])
        if self.budgets == "none":
            return held
        return tree.apply(lambda holds, had: holds | ~had, held, shared_mask.any_of(arrivals.sent["mask"]))

    def _renews(self, server: State) -> bool:
        """Whether this is a round that ends with a new mask of the server's."""
        return self.mode == "jmwst" and int(server["stage"]["round"]) % self.r_int == 0

    def _leveled(self, state: State) -> State:
        return state if self.budgets == "none" else budget_levels.nested(state, self.levels, self.density)

    def _level(self, context: Context, server: State, client: Client) -> float:
        if self.budgets == "memory":
            return budget_levels.fitting(
                context,
                self.levels,
                lambda level: masks.densities(budget_levels.mask_of(server, level)),
                client.id,
                self._training(context, server),
            )
        number = int(server["stage"]["round"])
        first = bool(server["stage"]["warm"]) or number == 0
        return FULL if self.budgets == "none" or first else drawn(context, self.levels, number, client.id)

    def _first_level(self, context: Context, client: int) -> float:
        """Of a client that was sent nothing yet: its device cannot hold more either."""
        shapes = self._shapes(context)
        return budget_levels.fitting(
            context, self.levels, lambda level: dict.fromkeys(shapes, level * self.density), client
        )

    def _training(self, context: Context, server: State) -> Training | None:
        """The local solver; its learning rate decays from stage 2 on."""
        if server["stage"]["warm"]:
            return warmup.training(context, self.warm_up_epochs)
        usual, others = context.training, int(server["stage"]["others"])
        return None if usual.lr_decay == 1 or not others else replace(usual, lr=usual.lr / usual.lr_decay**others)

    def _shapes(self, context: Context) -> dict[str, Shape]:
        return {} if self.mode == "dense" else shared_mask.maskable(context, self.layers)

    def _first_mask(self, context: Context) -> Params:
        shapes = self._shapes(context)
        rng = streams.generator(context.seed, "flash/mask", 0)
        return masks.bernoulli_mask(shapes, dict.fromkeys(shapes, self.density), rng)

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        mask, job = payload["mask"], payload["job"]
        elements = sum(tensor[0].numel() for tensor in mask.values())
        budget = self.density * elements * job["level"].double()
        movement = sparse_training.movement(job["moves"], budget)
        return {"params": masks.apply(mask, payload["params"]), "mask": mask, "movement": movement}

    def local_run(self, local: State, learner: Learner) -> State:
        if local["movement"]["on"].any() or type(self).local_step is not Flash.local_step:
            return super().local_run(local, learner)
        return learner.sgd(local)  # without moves these are the same steps

    def local_step(self, local: State, batch: Batch, learner: Learner) -> State:
        return sparse_training.moving_step(local, batch, learner, self.prune_rate)

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        change = masks.apply(local["mask"], difference(local["params"], payload["params"]))
        if payload["job"]["warm"].any():  # of a report none of the weights are part
            change = tree.scale((~payload["job"]["warm"]).float(), change)
        version, level = payload["job"]["version"], payload["job"]["level"]
        whole = torch.where(level == FULL, version, client["seen"]["version"])  # a sub-mask does not tell the whole one
        after = {**client, "seen": {"version": whole, "level": level}}
        if self.mode == "nst":
            after["mask"] = local["mask"]
        return {"params": change, "mask": local["mask"], "job": payload["job"]}, after

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        if self.mode == "nst":
            return masks.apply(client.state["mask"], server["params"])
        if self.budgets == "memory":
            level = min(self.levels, key=lambda b: abs(b - float(client.state["seen"]["level"])))
            return masks.apply(budget_levels.mask_of(server, level), server["params"])
        return server["params"]


_TRACE = 2.0**-16  # of a weight


def _more_than_traces(held: Params, after: Params, before: Params) -> Params:
    """Where a mean is not 0 but for rounding: w − w/3 − w/3 − w/3 of three clients that have a weight off may leave a
    trace of it, which would count as active. What all clients hold is left alone."""
    return {name: on.all(0) | (after[name].abs() > _TRACE * before[name].abs()) for name, on in held.items()}


_LAST_RANDOM = 1  # version of the last mask that is a random one: 0 is that of stage 1


def _reply(job: Params, params: Params, mask: Params) -> list[Part]:
    """What goes up: in stage 1 a report; then active values, and the mask where it moved."""
    if job["warm"]:
        return [warmup.report(mask)]
    return masked(params, mask, known=not job["moves"])
