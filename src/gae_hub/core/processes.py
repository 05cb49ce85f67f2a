"""Whether a process still runs, by its id and when it started: ids are reused."""

__all__ = ["is_running", "start_of"]

from pathlib import Path
from typing import Any

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def is_running(process: Any, started: Any) -> bool:
    """Whether a process is the one that started at that time. Process ids are reused."""
    try:
        return isinstance(process, int) and start_of(process) == started
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.AccessDenied:  # a process of another user
        return True


def start_of(process: int) -> str | float:
    """When a process started. On Linux in ticks since the system started, which no change of the clock affects.

    Raises:
        psutil.NoSuchProcess: if it does not run. A killed process whose parent has not noticed does not run.
    """
    found = psutil.Process(process)
    if found.status() == psutil.STATUS_ZOMBIE:
        raise psutil.NoSuchProcess(process)
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        ticks = fields.rpartition(")")[2].split()[19]  # field 22 of proc(5); the name before it may have spaces
        return f"{_BOOT_ID.read_text(encoding='utf-8').strip()} {ticks}"
    except OSError:
        return found.create_time()
