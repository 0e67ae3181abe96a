"""An example of an update, and the longest that a client may send, where its size is known only once it has trained."""

from dataclasses import replace

import numpy as np
import torch

from edgesim.algorithms.compressed import CompressedUpdates
from edgesim.algorithms.contract import Algorithm, Client, Context, Payload
from edgesim.algorithms.reporting import LossReports
from edgesim.learning import codecs
from edgesim.learning.kernels import kernel
from edgesim.learning.local import Order, Result, local_update
from edgesim.learning.shards import Shards
from edgesim.learning.tree import Params, State


class ExampleUpdate:
    """What an update is made of, which only the algorithm knows: that of client 0, trained on one sample."""

    def __init__(self, algorithm: Algorithm, context: Context) -> None:
        self._algorithm, self._context = algorithm, context
        self._known: tuple[int, Result] | None = None  # an example, and the version of the server that it is from

    def of(self, server: State, version: int = 0) -> Result:
        """By the server's state of this version."""
        if self._known is None or self._known[0] != version:
            self._known = version, self._trained(server)
        return self._known[1]

    def longest_bytes(self, payload: Payload, who: Client, server: State, version: int = 0) -> int:
        """Of an update of this client: every mask that may have moved has."""
        update, after = self.of(server, version)
        before = who.state
        moved = before if self._rests(payload, who) else {g: _complement(params) for g, params in before.items()}
        return codecs.longest(self._algorithm.upload(update, before, {**after, **moved}))

    def _rests(self, payload: Payload, who: Client) -> bool:
        """Whether the client's masks stay: without its codec the algorithm knows what the update is made of."""
        algorithm = self._algorithm
        while isinstance(algorithm, CompressedUpdates | LossReports):
            algorithm = algorithm.inner
        return algorithm.upload_bytes(self._context, payload, who) is not None

    def _trained(self, server: State) -> Result:
        context, algorithm = self._context, self._algorithm
        one = Shards(index=context.task.train.of(0)[:1], offset=np.array([0, 1]))
        state = algorithm.init_client(context, 0)
        payload = algorithm.download(context, server, Client(0, 1, state))
        order = Order(0, 0, 0, payload.state, state, payload.training)
        task = replace(context.task, train=one)
        simple = kernel(task.model.module, "loop")
        return local_update(algorithm, task, context.training, simple, context.seed, [order])[0]


def _complement(params: Params) -> Params:
    return {name: ~tensor if tensor.dtype == torch.bool else tensor for name, tensor in params.items()}
