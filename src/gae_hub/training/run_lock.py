"""A lock file, so that two trainings never write into one folder."""

__all__ = ["LOCK_FILE", "RunLock"]

import json
import os
import platform
from pathlib import Path
from typing import Self

from transformers.utils import logging

from ..core.processes import is_running, start_of

logger = logging.get_logger(__name__)

LOCK_FILE = "_run.lock"  # transformers publishes no file whose name begins with an underscore


class RunLock:
    """Context in which this process alone may write into a folder.

    The file holds the process that has the lock and its host. If that process has ended on this host, for example
    because it was killed, its lock is taken over.

    Args:
        folder: the folder of a run. It is created if it does not exist.

    Raises:
        ValueError: on entry, if another process has the lock.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / LOCK_FILE
        self._own = {"process": os.getpid(), "started": start_of(os.getpid()), "host": platform.node()}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                self._remove_stale_lock()
                continue
            with os.fdopen(file, "w", encoding="utf-8") as stream:
                json.dump(self._own, stream)
            return self

    def __exit__(self, *error: object):
        self.path.unlink(missing_ok=True)

    def _remove_stale_lock(self):
        try:
            holder = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return  # released meanwhile
        except (ValueError, RecursionError):
            holder = None
        if not isinstance(holder, dict):
            holder = {}
        process, host = holder.get("process"), holder.get("host")
        if host != self._own["host"] or is_running(process, holder.get("started")):
            owner = f"process {process} on {host}" if process and host else "an unknown process"
            raise ValueError(
                f"output_dir '{self.path.parent}' is in use by {owner}: choose another folder, or delete "
                f"'{self.path}' if no training runs there"
            )
        logger.warning(f"process {process}, which trained in '{self.path.parent}', has ended: taking its lock over")
        abandoned = self.path.with_name(f"{LOCK_FILE}.{os.getpid()}")
        try:
            os.replace(self.path, abandoned)  # only one of several processes that see the stale lock succeeds
        except FileNotFoundError:
            return
        abandoned.unlink()
