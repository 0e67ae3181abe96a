"""One thread a process: numbers do not depend on how many cores there are, and processes side by side do not
contend for them."""

import ctypes

import torch
from threadpoolctl import threadpool_limits

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


def one_thread() -> None:
    """Let this process compute on one thread from now on, in torch and in numpy's linear algebra."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1)


def keep_memory() -> None:
    """Keep what training gives back for the next order, where the C library is one that can be told so (glibc's):
    asking the system for it again and again costs a worker a twentieth of its time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(parameter, 1 << 30)
