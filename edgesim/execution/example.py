"""An example of an update, and the longest that a client may send, where its size is known only once it has trained."""

from dataclasses import replace

import numpy as np
import torch

from edgesim.algorithms.contract import Algorithm, Client, Context
from edgesim.learning import codecs
from edgesim.learning.kernels import kernel
from edgesim.learning.local import Order, Result, local_update
from edgesim.learning.shards import Shards
from edgesim.learning.tree import Params, State


class ExampleUpdate:
    """What an update is made of, which only the algorithm knows: that of client 0, trained on one sample."""

    def __init__(self, algorithm: Algorithm, context: Context) -> None:
        self._algorithm, self._context = algorithm, context
        self._like: tuple[State, Result] | None = None  # an example, and the server's state that it is from

    def of(self, server: State) -> Result:
        """By this server's state."""
        if self._like is None or self._like[0] is not server:
            self._like = server, self._trained(server)
        return self._like[1]

    def longest_bytes(self, server: State, before: State) -> int:
        """Of an update of a client with this state: every mask that may have moved has."""
        update, after = self.of(server)
        moved = {**after, **{group: _complement(params) for group, params in before.items()}}
        return codecs.longest(self._algorithm.upload(update, before, moved))

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
