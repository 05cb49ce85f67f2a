"""The folder of a run: which checkpoint to resume from, and which files an earlier run left."""

__all__ = ["CHECKPOINTS", "RUN_FILES", "choose_checkpoint", "delete_files", "delete_unfinished", "has_run"]

import shutil
from pathlib import Path

from .checkpointing import is_complete, last_checkpoint

CHECKPOINTS = ("checkpoint-*",)
# what a run writes into its folder, except the card, which the next run updates
RUN_FILES = (
    *CHECKPOINTS,
    "assets",
    "config.json",
    "model*.safetensors*",
    "preprocessor_config.json",
    "results.json",
    "run.yaml",
    "sampler",
    "training.json",
    "training_args.json",
    ".saving-*",
)


def choose_checkpoint(folder: Path, resume_from_checkpoint: str | bool) -> Path:
    """The checkpoint to resume from: the newest complete one in `folder` for True, else the given one.

    Raises:
        ValueError: if there is no complete checkpoint.
    """
    chosen = last_checkpoint(folder) if resume_from_checkpoint is True else Path(str(resume_from_checkpoint))
    if chosen is None or not is_complete(chosen) or not list(chosen.glob("*.safetensors")):
        raise ValueError(f"no complete checkpoint to resume from in '{chosen or folder}'; start without resuming")
    return chosen


def has_run(folder: Path, may_overwrite: bool) -> bool:
    """Whether the folder contains a run.

    Raises:
        ValueError: if it does, but must not be overwritten.
    """
    found = sorted(path.name for path in (*folder.glob(CHECKPOINTS[0]), *folder.glob("config.json")))
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


def delete_unfinished(folder: Path):
    """Delete what a killed run was writing: incomplete checkpoints, and temporary folders."""
    for checkpoint in folder.glob(CHECKPOINTS[0]):
        if not is_complete(checkpoint):
            shutil.rmtree(checkpoint)
    for path in list(folder.rglob(".saving-*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
