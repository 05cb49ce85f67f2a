"""What training asks of its process, so that little time is spent between the steps on processors."""

__all__ = ["keep_freed_memory", "known_absent", "only_new_garbage"]

import ctypes
import gc
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

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


@contextmanager
def known_absent(package: str) -> Iterator[None]:
    """Where a package is not installed, let the import system know it, so that nobody searches the disk for it again.

    accelerate looks for an optimizer's package twice in each optimizer step.
    """
    if package in sys.modules or find_spec(package) is not None:
        yield
        return
    sys.modules[package] = None  # Python's own sign for it
    try:
        yield
    finally:
        sys.modules.pop(package, None)


@contextmanager
def only_new_garbage(wanted: bool = True) -> Iterator[None]:
    """Within it, collections of garbage pass over what was there before: to walk through all that PyTorch and
    transformers have made takes a fifth of a second."""
    if not wanted or gc.get_freeze_count():  # somebody else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
