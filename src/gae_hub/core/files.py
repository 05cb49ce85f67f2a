"""Writing files completely or not at all: beside their place first, and moved when they are complete.

After an error, on a full disk or in a killed process, the file that was there before stays as it was.
"""

__all__ = [
    "TEMPORARY_PREFIX",
    "load_cached_tensors",
    "move_file",
    "remove_leftovers",
    "save_tensors",
    "temporary_prefix",
    "write_atomically",
    "write_json",
    "write_text",
]

import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from typing import Any
from zlib import crc32

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.utils import logging

from .hub_errors import explained

logger = logging.get_logger(__name__)

TEMPORARY_PREFIX = ".saving-"
"""How the names of temporary files and folders begin."""


@contextmanager
def write_atomically(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`. What is written there replaces `path` at the end.

    The temporary name has the same suffix. The file gets the permissions that the umask gives new files. Folders are
    created. A symbolic link is replaced by the file. Devices and pipes, such as /dev/stdout, are written directly.

    Args:
        path: the file to write.
        durable: whether the file must survive a power failure right afterwards. Files that can be computed again, of
            which there may be thousands, need not wait for the disk.

    Raises:
        HubError: if the disk is full.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{temporary_prefix()}{secrets.token_hex(4)}{path.suffix}")
    try:
        with explained("write", path):
            yield temporary
            move_file(temporary, path, durable)
    finally:
        temporary.unlink(missing_ok=True)


def move_file(source: Path, path: Path, durable: bool = True):
    """Move a complete file to its place in the same file system, with the permissions of a new file.

    safetensors gives its files 0600, whatever the umask is.
    """
    if durable:
        with source.open("r+b") as file:
            os.fsync(file.fileno())
    mode = _mode_of_new_files(source.parent)
    if S_IMODE(source.stat().st_mode) != mode:
        source.chmod(mode)
    source.replace(path)


def write_text(path: str | Path, text: str):
    """Write a text file in UTF-8."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any):
    """Write a JSON file."""
    write_text(path, json.dumps(value, indent=1))


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None):
    """Write tensors into a safetensors file that can be computed again, such as a cache."""
    with write_atomically(path, durable=False) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def load_cached_tensors(path: Path, names: Collection[str] = ()) -> dict[str, Tensor] | None:
    """Tensors of a cache file, or None if they must be computed again.

    That is so if there is no file, or, with a warning, if it is damaged.

    Args:
        path: a safetensors file.
        names: tensors that it must have.
    """
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        logger.warning(f"ignoring the cache file '{path}', which is damaged ({error})")
        return None
    missing = [name for name in names if name not in tensors]
    if missing or not tensors:
        logger.warning(f"ignoring the cache file '{path}', which has no {' and no '.join(missing) or 'tensors'}")
        return None
    return tensors


# Files of killed processes


def remove_leftovers(folder: Path):
    """Delete temporary files and folders in a folder whose processes on this machine were killed."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        match = re.fullmatch(rf"({re.escape(TEMPORARY_PREFIX)}[0-9a-f]{{8}}-)(\d+)-.*", path.name)
        if match and match[1] == _machine_prefix() and not _is_running(int(match[2])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _machine_prefix() -> str:
    """How the names of all temporary files of this machine begin."""
    return f"{TEMPORARY_PREFIX}{crc32(os.uname().nodename.encode()) if hasattr(os, 'uname') else 0:08x}-"


def temporary_prefix() -> str:
    """How the names of the temporary files and folders of this process begin."""
    return f"{_machine_prefix()}{os.getpid()}-"


def _is_running(process: int) -> bool:
    """Whether a process runs on this machine. True if that cannot be known."""
    if os.name != "posix":  # Windows has no signal without an effect
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


def _mode_of_new_files(folder: Path) -> int:
    """Permissions that the umask gives a new file. It is asked for by creating one: `os.umask` also sets it."""
    probe = folder / f"{temporary_prefix()}{secrets.token_hex(4)}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        probe.unlink()
