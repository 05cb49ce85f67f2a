"""Outputs of commands that write examples: pictures, and files of arrays and tables."""

__all__ = ["ARRAY_FILES", "check_array_file", "check_number_in_picture", "is_picture"]

from pathlib import Path

from .parser import UsageError

_SUFFIXES = (".npy", ".npz", ".csv", ".parquet")  # those of images.array_files, which would import torch
ARRAY_FILES = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
LARGEST_PICTURE = 10_000
"""Number of examples that fit into one picture."""


def check_array_file(output: str | Path):
    """Raise UsageError unless the value of `--output` is a file of arrays or a table."""
    if not _is_array_file(output):
        raise UsageError(f"--output: expected a file that ends in {ARRAY_FILES}, got '{output}'")


def is_picture(output: str | Path, hint: str = "") -> bool:
    """Whether an output is a picture, and not a file of arrays or a table.

    Args:
        output: the value of `--output`.
        hint: end of the error.

    Raises:
        UsageError: if it is neither.
    """
    from PIL import Image

    if Path(output).suffix.lower() in Image.registered_extensions():
        return True
    if not _is_array_file(output):
        raise UsageError(
            f"--output: expected a picture such as samples.png, or a file that ends in {ARRAY_FILES}, got "
            f"'{output}'{hint}"
        )
    return False


def check_number_in_picture(num_samples: int, hint: str = ""):
    """Raise UsageError if there are too many examples for a picture.

    Args:
        num_samples: the value of `--num_samples`.
        hint: what to pass besides a file of arrays.
    """
    if num_samples > LARGEST_PICTURE:
        raise UsageError(
            f"--num_samples: {num_samples} examples do not fit into one picture (at most {LARGEST_PICTURE:,}); "
            f"pass {hint}an --output that ends in {ARRAY_FILES}"
        )


def _is_array_file(output: str | Path) -> bool:
    return Path(output).suffix.lower() in _SUFFIXES
