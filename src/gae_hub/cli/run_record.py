"""The flags of a training run, kept in its folder: later commands read the same data in the same way."""

__all__ = ["DEFAULT_DATASET", "RUN_FILE", "LoadingArguments", "find_data", "loading_arguments", "write_run_record"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from .flags import DATASET
from .parser import UsageError
from .yaml_files import dump_yaml, read_yaml_file

RUN_FILE = "run.yaml"
DEFAULT_DATASET = "digits"
_NOT_RECORDED = {"config", "hub_token", "overwrite_output_dir", "resume", "resume_from_checkpoint"}


def write_run_record(folder: str | Path, flags: Mapping[str, Any]):
    """Write the flags of a run, except secrets and flags that delete or resume, so that `--config` repeats the run."""
    record = {name: value for name, value in flags.items() if name not in _NOT_RECORDED}
    (Path(folder) / RUN_FILE).write_text(dump_yaml(record), encoding="utf-8")


class LoadingArguments(TypedDict, total=False):
    """Arguments of `load_images` that the flags of a run determine."""

    validation_size: int | float | None
    image_size: int | tuple[int, int] | None
    channels: int | None
    on_error: Literal["raise", "skip"]


def find_data(model: str, dataset: str | None) -> tuple[str, LoadingArguments]:
    """The data set that a command works on, and the arguments of `load_images` that the training run used.

    Args:
        model: the model's folder or repository.
        dataset: the value of `--dataset`; by default the data set of the training run.

    Raises:
        UsageError: if neither `--dataset` nor a record of the run names a data set.
    """
    record = Path(model) / RUN_FILE
    if not record.is_file():
        if dataset is None:
            raise UsageError(f"'{model}' has no {RUN_FILE} that names its training data; pass --{DATASET.name}")
        return dataset, {}
    run = read_yaml_file(record)
    return dataset or run.get("dataset", DEFAULT_DATASET), loading_arguments(run)


def loading_arguments(run: Mapping[str, Any]) -> LoadingArguments:
    """The arguments of `load_images` among the flags of a run."""
    size, image_size = run.get("validation_size"), run.get("image_size")
    return {
        "validation_size": size if size is None or size < 1 else int(size),
        "image_size": tuple(image_size) if isinstance(image_size, list) else image_size,
        "channels": run.get("channels"),
        "on_error": run.get("on_error", "raise"),
    }
