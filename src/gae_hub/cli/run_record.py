"""The flags of a training run, stored in its folder so that later commands load the same data in the same way."""

__all__ = ["DEFAULT_DATASET", "RUN_FILE", "LoadingArguments", "find_data", "loading_arguments", "write_run_record"]

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from .flags import CHANNELS, DATASET, IMAGE_SIZE, ON_ERROR, VALIDATION_SIZE, Flag
from .parser import UsageError
from .yaml_files import dump_yaml, read_yaml_file

RUN_FILE = "run.yaml"
DEFAULT_DATASET = "digits"
_NOT_RECORDED = {"config", "hub_token", "overwrite_output_dir", "resume", "resume_from_checkpoint"}


def write_run_record(folder: str | Path, flags: Mapping[str, Any]):
    """Write the flags of a run, except secrets and flags that delete or resume, so that `--config` repeats the run."""
    from ..core.files import write_text

    record = {name: value for name, value in flags.items() if name not in _NOT_RECORDED}
    write_text(Path(folder) / RUN_FILE, dump_yaml(record))


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
        ValueError: if the record is damaged.
    """
    record = Path(model) / RUN_FILE
    if not record.is_file():
        if dataset is None:
            raise UsageError(f"'{model}' has no {RUN_FILE} that names its training data; pass --{DATASET.name}")
        return dataset, {}
    run = read_yaml_file(record)
    try:
        return dataset or _read(run, replace(DATASET, default=DEFAULT_DATASET)), loading_arguments(run)
    except ValueError as error:
        raise ValueError(f"{record}: {error}") from error


def loading_arguments(run: Mapping[str, Any]) -> LoadingArguments:
    """The arguments of `load_images` among the flags of a run.

    Raises:
        ValueError: if one has the wrong type.
    """
    size = _read(run, VALIDATION_SIZE)
    if size is not None and size >= 1:
        if size % 1:
            raise ValueError(f"{VALIDATION_SIZE.name}: expected a share below 1, or a number of images, got {size}")
        size = int(size)
    image_size = _read(run, IMAGE_SIZE)
    if isinstance(image_size, list):
        if [type(edge) for edge in image_size] != [int, int]:
            raise ValueError(f"{IMAGE_SIZE.name}: expected an edge length, or height and width, got {image_size}")
        image_size = (image_size[0], image_size[1])
    return {
        "validation_size": size,
        "image_size": image_size,
        "channels": _read(run, CHANNELS),
        "on_error": _read(run, ON_ERROR),
    }


def _read(run: Mapping[str, Any], flag: Flag) -> Any:
    """The value of a flag of a run."""
    try:
        return flag.read(run[flag.name]) if flag.name in run else flag.default
    except ValueError as error:
        raise ValueError(f"{flag.name}: {error}") from error
