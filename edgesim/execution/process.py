"""Before a process computes: one thread, so that numbers do not depend on how many cores there are, and processes side
by side do not contend for them; and memory is kept."""

import ctypes
import sys

import torch
from threadpoolctl import threadpool_limits

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of malloc.h


def prepare_process() -> None:
    """Let this process compute on one thread from now on, in torch and in numpy's linear algebra, and keep the memory
    that it gives back for what it asks for next.

    To ask the system for large pieces of memory again and again, which it fills with zeros each time, took two fifths
    of a round of 50 perceptrons of 784-128-10 in a main thread, and 5 % in a run's own. Only glibc, the C library of
    most Linux systems, can be told not to.
    """
    torch.set_num_threads(1)
    threadpool_limits(limits=1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(parameter, 1 << 30)
