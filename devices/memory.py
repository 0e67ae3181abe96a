"""Memory: what to do about a job that does not fit."""

from collections.abc import Callable


def fitting_batch(memory_bytes: Callable[[int], int], batch_size: int, available_bytes: int) -> int | None:
    """The largest batch of at most `batch_size` whose peak is within `available_bytes`; None if not even 1 fits.

    `memory_bytes(batch)` is the peak of a job; it must not fall as the batch grows. It is asked about
    log2(batch_size) times, and once where the whole batch fits.

    Raises:
        ValueError: a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size!r}: must be at least 1")
    if memory_bytes(batch_size) <= available_bytes:
        return batch_size
    fits, too_large = 0, batch_size
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if memory_bytes(middle) <= available_bytes:
            fits = middle
        else:
            too_large = middle
    return fits or None
