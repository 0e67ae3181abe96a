"""Local training alone: every client keeps its own model, and nothing is ever sent.

All start from one random model. A job still begins by the server's word, so it pays the link's latency.
"""

from dataclasses import dataclass
from typing import ClassVar

from edgesim.algorithms.contract import Algorithm, Arrivals, Client, Context, Payload
from edgesim.learning.codecs import Part
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class LocalOnly(Algorithm):
    """What clients reach without one another."""

    summary: ClassVar[str] = "every client trains alone; no model is ever sent"
    paper: ClassVar[str] = "the baseline without communication"

    def init_client(self, context: Context, client: int) -> State:
        return {"params": context.task.model.init(context.seed)}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        return Payload(state={}, size_bytes=0)

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return 0

    def upload(self, update: State, before: State, after: State) -> list[Part]:
        return []

    def aggregate(self, context: Context, server: State, arrivals: Arrivals) -> State:
        return server

    def local_start(self, payload: State, client: State) -> State:
        return {"params": client["params"]}

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        return {}, {"params": local["params"]}

    def client_model(self, server: State, client: Client) -> Params:
        return client.state["params"]
