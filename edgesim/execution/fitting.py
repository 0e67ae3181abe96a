"""Fitting: a job that is too large for its device's memory trains with a smaller batch."""

from dataclasses import replace

from edgesim.algorithms.contract import Algorithm, Client, Context, Payload
from edgesim.devices.memory import fitting_batch


def fitted(algorithm: Algorithm, context: Context, payload: Payload, who: Client) -> tuple[Context, Payload, int]:
    """The same job with the largest batch that fits, and that batch size, if the context says so; 0, and all as it was,
    where the whole batch fits, or where not even a batch of 1 does."""
    training = payload.training or context.training
    if context.memory_bytes is None or not context.shrink_batch:
        return context, payload, 0

    def smaller(batch: int) -> tuple[Context, Payload]:
        fewer = replace(context, training=replace(context.training, batch_size=min(batch, context.training.batch_size)))
        return fewer, replace(payload, training=replace(training, batch_size=batch))

    def peak_bytes(batch: int) -> int:
        where, what = (context, payload) if batch == training.batch_size else smaller(batch)
        return algorithm.workload(where, what, who).memory_bytes

    batch = fitting_batch(peak_bytes, training.batch_size, int(context.memory_bytes[who.id]))
    if batch is None or batch == training.batch_size:
        return context, payload, 0
    return *smaller(batch), batch
