"""Freed memory is kept on processors, where glibc manages it."""

import os
import platform
import subprocess
import sys

CODE = """
import resource, sys, torch
from gae_hub.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in range(200_000, 4_000_000, 200_000):
        tensors = [torch.empty(size).fill_(1.0) for _ in range(8)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def page_faults(how: str) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE, how]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_what_a_step_frees_is_not_faulted_in_again():
    """Eight tensors at a time, of many sizes: how much of them glibc itself keeps depends on what lies behind them."""
    kept, given_back = page_faults("keep"), page_faults("default")
    assert platform.libc_ver()[0] != "glibc" or kept < given_back / 4
