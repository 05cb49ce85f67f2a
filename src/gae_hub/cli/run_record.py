"""The flags of a training run, stored in its folder so that later commands load the same data in the same way."""

__all__ = ["DEFAULT_DATASET", "RUN_FILE", "find_data", "load_split", "loading_arguments", "write_run_record"]

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.yaml_files import dump_yaml, read_yaml_file
from .flags import DATA_OPTIONS, DATASET, IMAGE_SIZE, SEED, TEST_SIZE, VALIDATION_SIZE, Flag
from .parser import UsageError

RUN_FILE = "run.yaml"
DEFAULT_DATASET = "digits"
_NOT_RECORDED = {"config", "hub_token", "overwrite_output_dir", "resume", "resume_from_checkpoint"}


def write_run_record(folder: str | Path, flags: Mapping[str, Any]):
    """Write the flags of a run, except secrets and flags that delete or resume, so that `--config` repeats the run."""
    from ..core.files import write_text

    record = {name: value for name, value in flags.items() if name not in _NOT_RECORDED}
    write_text(Path(folder) / RUN_FILE, dump_yaml(record))


def find_data(model: str, dataset: str | None) -> tuple[str, dict[str, Any]]:
    """The data set that a command works on, and the arguments of `load_data` that the training run used.

    They come from the record of the run or, for a model without one, from its processor and its training.json. The
    normalization is the one that was fitted in training.

    Args:
        model: the model's folder or repository.
        dataset: the value of `--dataset`; by default the data set of the training run.

    Raises:
        UsageError: if neither `--dataset` nor a record of the run names a data set.
        ValueError: if the record is damaged.
    """
    record = Path(model) / RUN_FILE
    if not record.is_file():
        dataset = dataset or _find_dataset(model)
        if dataset is None:
            raise UsageError(f"'{model}' has no {RUN_FILE} that names its training data; pass --{DATASET.name}")
        return dataset, _read_processor(model)
    run = read_yaml_file(record)
    try:
        arguments = loading_arguments(run)
        arguments |= {name: value for name, value in _read_processor(model).items() if name == "normalize"}
        return dataset or _read(run, replace(DATASET, default=DEFAULT_DATASET)), arguments
    except ValueError as error:
        raise ValueError(f"{record}: {error}") from error


def _find_dataset(model: str) -> str | None:
    """The name of the data that a model was trained on in Python, if they can be loaded by it.

    The file that names them may come from anyone, so that it must not name files of this machine.
    """
    from ..hub.cards.facts import is_hub_dataset, read_facts

    facts = read_facts(model, {})
    name, origin = facts.get("dataset"), facts.get("origin")
    if not isinstance(name, str):
        return None
    return name if is_hub_dataset(name, origin) or (name, origin) == (DEFAULT_DATASET, "library") else None


def loading_arguments(run: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `load_data` among the flags of a run.

    Raises:
        ValueError: if one has the wrong type.
    """
    found = {flag.name: _read(run, flag) for flag in (*DATA_OPTIONS, SEED)}
    for name in (VALIDATION_SIZE.name, TEST_SIZE.name):
        size = found[name]
        if size is not None and size >= 1:
            if size % 1:
                raise ValueError(f"{name}: expected a share below 1, or a number of examples, got {size}")
            found[name] = int(size)
    image_size = found[IMAGE_SIZE.name]
    if isinstance(image_size, list) and [type(edge) for edge in image_size] != [int, int]:
        raise ValueError(f"{IMAGE_SIZE.name}: expected an edge length, or height and width, got {image_size}")
    return found


def _read_processor(model: str) -> dict[str, Any]:
    """The arguments of `load_data` in the image processor of a model, with its normalization and its binarisation.

    They are empty without one.
    """
    from ..core.hub_files import fetch_file
    from ..data.options import DataOptions
    from ..images.processing import GAEImageProcessor

    if fetch_file(model, "preprocessor_config.json") is None:
        return {}
    processor = GAEImageProcessor.from_pretrained(model)
    try:
        options = DataOptions.from_dict(processor.data)  # the file may come from anyone
    except (TypeError, ValueError) as error:
        raise ValueError(f"preprocessor_config.json of '{model}': data: {error}") from error
    return {**options.to_dict(), "normalize": processor.normalization, "binarize": processor.binarization}


def load_split(
    model: str, dataset: str, split: str | None, arguments: Mapping[str, Any], default: str = "test"
) -> tuple[Any, str]:
    """One split for a command, and its name.

    Without a name, it is the default split or, if the data have none, the validation split of the training run; that
    is printed.

    Args:
        model: the model's folder or repository.
        dataset, arguments: from `find_data`.
        split: the value of `--split`, or None.
        default: split to prefer.
    """
    from ..data.loading import load_data, split_names

    if split is None:
        names = split_names(dataset, **arguments)
        split = default if default in names else "validation"
        if split != default:
            print(
                f"'{dataset}' has no split '{default}': using the validation split "
                + (
                    "of the training run"
                    if (Path(model) / RUN_FILE).is_file()
                    else f"with seed {arguments.get(SEED.name, 0)}"
                )
            )
    return load_data(dataset, split, **arguments), split


def _read(run: Mapping[str, Any], flag: Flag) -> Any:
    """The value of a flag of a run."""
    try:
        return flag.read(run[flag.name]) if flag.name in run else flag.default
    except ValueError as error:
        raise ValueError(f"{flag.name}: {error}") from error
