"""Partial personalisation: a model of which a part is every client's own and never travels.

    x = (u, v_k)      u shared: sent down, trained, its change sent up and merged
                      v_k personal: trained, and kept in the client's state

What is sent and merged holds the shared tensors alone. A client that was never asked has the common start.
"""

from abc import abstractmethod
from dataclasses import dataclass

from edgesim.algorithms.contract import Algorithm, Client, Context, Payload
from edgesim.algorithms.messages import dense_bytes
from edgesim.errors import ScenarioError
from edgesim.learning import split
from edgesim.learning.flat import difference
from edgesim.learning.training import Learner
from edgesim.learning.tree import Params, State


@dataclass(frozen=True, kw_only=True)
class Partial(Algorithm):
    """Base of the algorithms that share a part of the model."""

    @abstractmethod
    def own(self, context: Context) -> tuple[str, ...]:
        """Names of the personal tensors."""

    def check(self, context: Context) -> None:
        if not self.shared(context):
            raise ScenarioError(
                f"algorithm: all tensors of the model are personal, so there is nothing to share; "
                f"leave some of {', '.join(context.task.model.shapes)} out"
            )

    def shared(self, context: Context) -> tuple[str, ...]:
        """Names of the tensors that travel."""
        own = set(self.own(context))
        return tuple(name for name in context.task.model.shapes if name not in own)

    # ── server ──────────────────────────────────────────────────────────────────────────────────────
    def init_client(self, context: Context, client: int) -> State:
        return {"personal": split.start(context.task.model, context.seed, self.own(context))}

    def download(self, context: Context, server: State, client: Client) -> Payload:
        params = split.pick(server["params"], self.shared(context))
        return Payload(state={"params": params}, size_bytes=self._bytes(context))

    def upload_bytes(self, context: Context, payload: Payload, client: Client) -> int | None:
        return self._bytes(context)

    def _bytes(self, context: Context) -> int:
        shapes = context.task.model.shapes
        return dense_bytes({name: shapes[name] for name in self.shared(context)})

    # ── device ──────────────────────────────────────────────────────────────────────────────────────
    def local_start(self, payload: State, client: State) -> State:
        return {"params": {**payload["params"], **kept(client)}}

    def local_end(self, payload: State, client: State, local: State, learner: Learner) -> tuple[State, State]:
        params = local["params"]
        update = difference(split.pick(params, payload["params"]), payload["params"])
        return {"params": update}, {**client, "personal": split.pick(params, kept(client))}

    # ── user ────────────────────────────────────────────────────────────────────────────────────────
    def client_model(self, server: State, client: Client) -> Params:
        personal = kept(client.state)
        return {**server["params"], **personal} if personal else server["params"]


def kept(client: State) -> Params:
    """The personal tensors of a client's state; an empty group need not be there."""
    return client.get("personal", {})
