"""Settings of the process that speed up training on CPUs. They outlive the training, so each is an explicit option."""

__all__ = ["keep_freed_memory"]

import ctypes
import platform
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from malloc.h
_MAX_MMAP_THRESHOLD = 32 * 2**20  # bytes: the largest value that glibc accepts


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory in this process, until the process ends.

    By default glibc returns large tensors to the system as soon as they are freed, so that every training step page
    faults them in again. docs/training.md lists what this buys and what it costs.

    Returns:
        Whether it applies: False without glibc (macOS, Windows, musl). An allocator that is loaded by LD_PRELOAD, such
        as jemalloc, is not affected.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAX_MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
