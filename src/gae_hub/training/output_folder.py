"""The folder of a run: which checkpoint to resume from, and which files an earlier run left."""

__all__ = [
    "CHECKPOINTS",
    "RUN_FILES",
    "choose_checkpoint",
    "delete_checkpoint",
    "delete_files",
    "delete_old_checkpoints",
    "delete_temporary_files",
    "delete_unfinished",
    "has_run",
]

import re
import shutil
from pathlib import Path

from ..core.files import TEMPORARY_PREFIX
from .checkpointing import TRAINER_STATE, is_complete, last_checkpoint

CHECKPOINTS = ("checkpoint-*",)
# what a run writes into its folder, except the card, which the next run updates
RUN_FILES = (
    *CHECKPOINTS,
    "adapter_*",
    "assets",
    "config.json",
    "model*.safetensors*",
    "preprocessor_config.json",
    "results.json",
    "run.yaml",
    "sampler",
    "training.json",
    "training_args.json",
    f"{TEMPORARY_PREFIX}*",
)


def choose_checkpoint(folder: Path, resume_from_checkpoint: str | bool) -> Path:
    """The checkpoint to resume from: the newest complete one in `folder` for True, else the given one.

    Raises:
        ValueError: if there is no complete checkpoint.
    """
    chosen = last_checkpoint(folder) if resume_from_checkpoint is True else Path(str(resume_from_checkpoint))
    if chosen is None or not is_complete(chosen) or not list(chosen.glob("*.safetensors")):
        raise ValueError(
            f"no complete checkpoint to resume from in '{chosen or folder}'; start without resuming, or with 'auto', "
            "which resumes only if there is one"
        )
    return chosen


def has_run(folder: Path, may_overwrite: bool) -> bool:
    """Whether the folder contains a run.

    Raises:
        ValueError: if it does, but must not be overwritten.
    """
    patterns = (*CHECKPOINTS, "adapter_config.json", "config.json")
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    if found and not may_overwrite:
        raise ValueError(
            f"output_dir '{folder}' already contains a run ({', '.join(found[:3])}): "
            "resume it with resume_from_checkpoint=True (--resume), choose another folder, "
            "or set overwrite_output_dir=True to delete it"
        )
    return bool(found)


def delete_files(folder: Path, patterns: tuple[str, ...]):
    """Delete the files and folders in `folder` that match a pattern."""
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def delete_checkpoint(checkpoint: Path):
    """Delete a checkpoint. A process that is killed meanwhile leaves an incomplete one, which is never resumed."""
    (checkpoint / TRAINER_STATE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def delete_old_checkpoints(folder: Path, limit: int | None, step: int, best_step: int | None):
    """Delete checkpoints of a run until `limit` are left, in the order of their steps.

    Checkpoints after `step` are deleted first: the run was resumed from an earlier one, so they are not its own.

    Args:
        folder: the folder of the run.
        limit: number of checkpoints to keep; None keeps all. Those of `step` and `best_step` are always kept.
        step: of the newest checkpoint of the run.
        best_step: of its best checkpoint, if there is one.
    """
    if limit is None or limit <= 0:
        return
    found = {
        int(match[1]): path
        for path in folder.glob(CHECKPOINTS[0])
        if path.is_dir() and (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    kept = {step, best_step} & found.keys()
    by_age = sorted(found.keys() - kept, key=lambda number: (number <= step, number))
    num_to_delete = len(found) - max(limit, len(kept))
    for number in by_age[: max(num_to_delete, 0)]:
        delete_checkpoint(found[number])


def delete_unfinished(folder: Path):
    """Delete what a killed run was writing: incomplete checkpoints, and temporary folders."""
    for checkpoint in folder.glob(CHECKPOINTS[0]):
        if not is_complete(checkpoint):
            shutil.rmtree(checkpoint)
    delete_temporary_files(folder)


def delete_temporary_files(folder: Path):
    """Delete the files and folders that killed processes were writing into a folder, and below it."""
    for path in list(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
