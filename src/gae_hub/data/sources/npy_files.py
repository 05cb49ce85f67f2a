"""Opens .npy and .npz files, and folders of them. Files with pickled objects are refused."""

__all__ = ["ARRAY_SUFFIXES", "open_npy_folder", "read_array_file"]

from pathlib import Path

import numpy as np

from ..options import DataOptions
from .arrays import open_arrays
from .base import SPLIT_NAMES, Source

ARRAY_SUFFIXES = {".npy", ".npz"}
_EXAMPLE_KEYS = ("pixel_values", "images", "image", "x", "X", "data", "arr_0")
_LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target")


def read_array_file(path: Path, options: DataOptions) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Split to array and split to labels of a .npy or .npz file. Pickled objects are refused.

    A .npz file with keys such as x_train, y_train and x_test has several splits.

    Raises:
        ValueError: if the file is damaged or holds Python objects, or has several arrays and no `column` is given.
    """
    try:
        found = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"train": found}, {}
        with found:
            return _split_archive({key: found[key] for key in found.files}, path, options)
    except (OSError, EOFError, ValueError, KeyError) as error:
        if isinstance(error, FileNotFoundError) or str(path) in str(error):
            raise
        raise ValueError(f"cannot read '{path}': {error}") from error


def _split_archive(
    arrays: dict[str, np.ndarray], path: Path, options: DataOptions
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Examples and labels by split from the arrays of a .npz file."""
    by_split: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        stem, _, suffix = key.rpartition("_")
        split = SPLIT_NAMES.get(suffix) if stem else None
        by_split.setdefault(split or "train", {})[stem if split else key] = array
    examples, labels = {}, {}
    for split, found in by_split.items():
        label_key = options.label_column or next((key for key in _LABEL_KEYS if key in found), None)
        rest = [key for key in found if key != label_key]
        if isinstance(options.column, str):
            key = options.column
        elif len(rest) == 1:
            key = rest[0]
        else:
            named = [key for key in rest if key in _EXAMPLE_KEYS]
            if len(named) != 1:
                raise ValueError(
                    f"'{path}' holds several arrays, {', '.join(found)}: pass column= with the name of one"
                )
            key = named[0]
        for wanted, what in ((key, "column"), (label_key, "label_column")):
            if wanted is not None and wanted not in found:
                raise ValueError(f"{what}: '{path}' has no array '{wanted}'; it has {', '.join(found)}")
        examples[split] = found[key]
        if label_key is not None:
            labels[split] = found[label_key]
    return examples, labels


def open_npy_folder(folder: Path, options: DataOptions, images_only: bool) -> Source:
    """A folder of .npy files: one array for each split, if they are named so, or one example per file.

    Files are examples unless all of them are named train, validation (or val, valid) and test. Subfolders of examples
    are classes.

    Raises:
        ValueError: if the files' arrays differ in shape, or one cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARRAY_SUFFIXES)
    if all(path.stem in SPLIT_NAMES for path in files):
        examples, labels = {}, {}
        for path in files:
            found, classes = read_array_file(path, options)
            split = SPLIT_NAMES[path.stem]
            examples[split] = found["train"]
            labels |= {split: classes["train"]} if "train" in classes else {}
        return open_arrays(examples, str(folder), "local", options, images_only, labels)
    first = _read_example(files[0], options)
    array = np.empty((len(files), *first.shape), first.dtype)
    for index, path in enumerate(files):
        example = _read_example(path, options)
        if example.shape != first.shape:
            raise ValueError(
                f"the arrays of '{folder}' differ in shape: {first.shape} in '{files[0].name}' and {example.shape} in "
                f"'{path.name}'"
            )
        array[index] = example
    classes = [path.parent.name for path in files] if all(path.parent != folder for path in files) else None
    labels = None if classes is None else {"train": np.array(classes)}
    return open_arrays({"train": array}, str(folder), "local", options, images_only, labels)


def _read_example(path: Path, options: DataOptions) -> np.ndarray:
    """The array of a file that holds one example."""
    found, _ = read_array_file(path, options)
    return np.asarray(found["train"])
