"""The folder of a cell: a model that `AutoGAE.from_pretrained` loads, with a record of how far the cell has come."""

__all__ = ["CELL_FILE", "Cell", "StepRecord", "hash_file"]

import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.json_files import read_json_object

CELL_FILE = "cell.json"
MAX_BYTES = 1 << 24  # of a record, which has a passport for each number

_SEAL_END = ",\n"  # after the line of the seal, which is the SHA-256 of the rest of the file

State = Literal["done", "skipped"]


@dataclass(frozen=True)
class StepRecord:
    """A finished step of a cell.

    Args:
        digest: of everything that the step depends on.
        state: "skipped" for a step that has no meaning for the method.
        seconds: how long it took.
        numbers, passports: measured numbers by name, and how each was measured.
        reason: why the step was skipped.
        facts: other facts, such as the number of parameters.
    """

    digest: str
    state: State = "done"
    seconds: float = 0.0
    numbers: dict[str, float] = field(default_factory=dict)
    passports: dict[str, dict[str, Any]] = field(default_factory=dict)
    reason: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Cell:
    """The folder of one cell, and `cell.json` in it.

    The record is written after each step, and is the only proof that a step is finished. It begins with the SHA-256 of
    its rest, and contains that of the files that later steps read, so that a changed file is noticed.

    Args:
        folder: the cell's folder. It need not exist.

    Attributes:
        steps: finished steps by name.
        error: the last failure: `step`, `digest` of the step, `message`, `traceback`; None without one.
        problem: why the record cannot be used, or None.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.steps: dict[str, StepRecord] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, Any] = {}
        self.error: dict[str, str] | None = None
        self.problem: str | None = None
        self._read()

    def _read(self):
        path = self.folder / CELL_FILE
        if not self.folder.is_dir() and (self.folder.exists() or self.folder.is_symlink()):
            self.problem = "it is not a folder"
        if self.problem is not None or not path.exists():
            return
        try:
            content = read_json_object(path, MAX_BYTES, any_depth=True)
            sealed = path.read_text(encoding="utf-8").partition(_SEAL_END)[2]
        except (ValueError, OSError, RecursionError) as error:
            self.problem = f"{CELL_FILE} cannot be read: {error}"
            return
        if content.pop("seal", None) != _seal(sealed):
            self.problem = f"{CELL_FILE} was changed"
            return
        try:
            self.steps = {name: StepRecord(**step) for name, step in content["steps"].items()}
            self.settings, self.files, self.error = content["settings"], content["files"], content["error"]
        except (KeyError, TypeError) as error:
            self.problem = f"{CELL_FILE} is of another version: {error}"

    def write(self):
        """Write the record."""
        from ..core.files import write_text  # imports torch, which is slow

        content = {
            "settings": self.settings,
            "files": self.files,
            "error": self.error,
            "steps": {name: asdict(step) for name, step in self.steps.items()},
        }
        sealed = json.dumps(content, indent=1).removeprefix("{\n")
        write_text(self.folder / CELL_FILE, f'{{\n "seal": "{_seal(sealed)}"{_SEAL_END}{sealed}')

    def is_finished(self, step: str, wanted: str) -> bool:
        """Whether a step is finished with this digest."""
        return step in self.steps and self.steps[step].digest == wanted

    def finish(self, step: str, record: StepRecord, files: Iterable[str] = ()):
        """Record that a step is finished.

        Args:
            step: its name.
            record: its result.
            files: files that it wrote and that later steps read, relative to the folder.
        """
        self.steps[step] = record
        self.files |= {name: describe_file(self.folder / name) for name in files}
        if self.error is not None and self.error["step"] == step:
            self.error = None
        self.write()

    def forget_files(self, path: str):
        """Forget a file of the cell, or the files of one of its folders, before they are written anew."""
        kept = {name: one for name, one in self.files.items() if name != path and not name.startswith(f"{path}/")}
        if len(kept) < len(self.files):
            self.files = kept
            self.write()

    def fail(self, step: str, message: str, traceback: str, wanted: str | None = None):
        """Record that a step failed.

        Args:
            step: its name.
            message, traceback: of the error.
            wanted: digest of the step.
        """
        self.error = {"step": step, "message": message, "traceback": traceback}
        if wanted is not None:
            self.error["digest"] = wanted
        self.write()

    def has_failed(self, steps: Mapping[str, str]) -> bool:
        """Whether one of these steps failed, with this digest: a step that was changed since is tried again."""
        if self.error is None or self.error["step"] not in steps:
            return False
        wanted = steps[self.error["step"]]
        return self.error.get("digest", wanted) == wanted

    def clear_error(self):
        """Forget a failure, so that the step is tried again."""
        if self.error is not None:
            self.error = None
            self.write()

    def find_changed_file(self, thorough: bool = False) -> str | None:
        """A file that differs from the record, or None.

        Args:
            thorough: compare the content of all files. By default the sizes, and the content of files that were
                written after the record.
        """
        if not self.files:
            return None
        recorded = (self.folder / CELL_FILE).stat().st_mtime_ns
        for name, known in self.files.items():
            path = self.folder / name
            if not path.is_file():
                return name
            found = path.stat()
            if found.st_size != known["size"]:
                return name
            if (thorough or found.st_mtime_ns >= recorded) and hash_file(path) != known["sha256"]:
                return name
        return None

    def set_aside(self) -> Path:
        """Rename the folder, so that the cell starts anew, and return the new name. Nothing is deleted."""
        moment = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        target = self.folder.with_name(f"{self.folder.name}.changed-{moment}")
        self.folder.rename(target)
        self.__init__(self.folder)
        return target


def describe_file(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"size": path.stat().st_size, "sha256": hash_file(path)}


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
