"""Claims on cells: a lock file each, so that several workers, on one machine or several, never do the same work."""

__all__ = ["Claim", "claim", "clean_claims", "holder"]

import hashlib
import json
import os
import platform
import secrets
import threading
import time
from pathlib import Path
from typing import Any, Self

from ..core.processes import is_running, start_of

HEARTBEAT = 20.0  # seconds between signs of life
PATIENCE = 300.0  # seconds without one after which a worker of another machine counts as dead


class Claim:
    """The right to work on one cell, while this context lasts. [`claim`] creates it.

    A thread touches the file every `HEARTBEAT` seconds. Workers on other machines cannot ask whether this process
    runs, so they take the claim over when it has not been touched for `PATIENCE` seconds.

    Args:
        path: the lock file, which this process has created.
        token: its content, by which this process recognises its own claim.
    """

    def __init__(self, path: Path, token: str):
        self.path, self.token = path, token
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._touch, daemon=True)
        self._thread.start()

    def _touch(self):
        while not self._released.wait(HEARTBEAT):
            try:
                os.utime(self.path)
            except FileNotFoundError:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object):
        self.release()

    def release(self):
        """Give the claim up. Does nothing if another worker has taken it over."""
        self._released.set()
        self._thread.join()
        if _read(self.path).get("token") == self.token:
            self.path.unlink(missing_ok=True)


def claim(path: Path) -> Claim | None:
    """The claim of a lock file, or None if a living worker holds it.

    Args:
        path: the lock file. Its folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    own = {"token": token, "process": os.getpid(), "started": start_of(os.getpid()), "host": platform.node()}
    temporary = _temporary_path(path)
    temporary.write_text(json.dumps(own), encoding="utf-8")
    try:
        return Claim(path, token) if _acquire(path, temporary) else None
    finally:
        temporary.unlink(missing_ok=True)


def _acquire(path: Path, temporary: Path) -> bool:
    """Put a complete lock file in its place, if there is none, or only that of a dead worker.

    Several workers may find the same dead worker. They compete for a second lock, named after the dead worker's: the
    winner replaces the file if it still is the dead worker's.
    """
    try:
        os.link(temporary, path)  # fails if the file exists, and is never seen half written
        return True
    except FileExistsError:
        pass
    found = _read_bytes(path)
    if found is None or holder(path) is not None:
        return False
    gate = path.with_name(f".{path.name[:100]}-{hashlib.sha256(found).hexdigest()[:16]}")
    if not _acquire(gate, temporary):
        return False
    try:
        if _read_bytes(path) != found:
            return False
        second = _temporary_path(path)
        os.link(temporary, second)
        os.replace(second, path)
        return True
    finally:
        gate.unlink()


def clean_claims(folder: Path):
    """Remove the files that killed workers left in a folder of lock files."""
    from ..core.files import TEMPORARY_PREFIX, remove_leftovers  # imports torch, which is slow

    remove_leftovers(folder)
    for path in list(folder.glob("*")) if folder.is_dir() else []:
        if not path.name.startswith(TEMPORARY_PREFIX) and holder(path) is None:
            abandoned = claim(path)
            if abandoned is not None:
                abandoned.release()


def holder(path: Path) -> dict[str, Any] | None:
    """What a lock file says of its worker, if that worker is alive; None without a living worker."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    found = _read(path)
    if found.get("host") == platform.node():
        return found if is_running(found.get("process"), found.get("started")) else None
    return found if age < PATIENCE else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_bytes(path) or b"")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _temporary_path(path: Path) -> Path:
    """A new path beside a lock file, which `remove_leftovers` deletes if this process is killed."""
    from ..core.files import temporary_prefix  # imports torch, which is slow

    return path.with_name(f"{temporary_prefix()}{secrets.token_hex(8)}")


def _read_bytes(path: Path) -> bytes | None:
    """Content of a lock file, or None if there is none that can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None
