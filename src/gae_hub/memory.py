"""Memory on processors: what one training step frees is kept for the next one."""

__all__ = ["keep_freed_memory"]

import ctypes
import platform
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 32 * 2**20  # bytes: glibc's own limit for what it takes from its heap


@cache
def keep_freed_memory():
    """Ask glibc to keep freed memory in this process, as PyTorch keeps that of a GPU.

    By itself it gives large tensors back to the system as soon as they are freed, and the next step faults every page
    in anew. Where there is another allocator (jemalloc by LD_PRELOAD, macOS, Windows) nothing changes.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
