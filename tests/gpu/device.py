"""The device of the GPU tests. GAE_HUB_TEST_DEVICE=cpu runs them without a GPU, to check the tests themselves."""

import os
from contextlib import contextmanager

import torch

DEVICE = torch.device(os.environ.get("GAE_HUB_TEST_DEVICE", "cuda"))


@contextmanager
def no_host_sync():
    """Raise where the host waits for the GPU."""
    if DEVICE.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
