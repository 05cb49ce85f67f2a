"""Run a script in two processes of one group: python process_pair.py SCRIPT ARGUMENTS...

As `torch.distributed.run`, but this process imports the library once, and forks.
"""

import os
import runpy
import signal
import sys

import cases  # noqa: F401 (imports all methods)
import torch.distributed as dist

import gae_hub

_ = gae_hub.GAETrainer


def run_rank(rank: int, port: int):
    """Run the script as one of two processes. Never returns."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    environment = {**address, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in environment.items()}
    status = 1
    try:
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # gloo's threads sometimes abort a process that exits normally


if __name__ == "__main__":
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # where the two processes meet
    pids = {}
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            run_rank(rank, store.port)
        pids[pid] = rank
    while pids:
        pid, status = os.wait()
        rank = pids.pop(pid)
        if status:
            for other in pids:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"process {rank} ended with status {os.waitstatus_to_exitcode(status)}")
