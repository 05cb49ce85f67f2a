"""Checks that an output may be written."""

__all__ = ["check_output"]

from collections.abc import Callable
from pathlib import Path

from ..core.files import remove_leftovers


def check_output(output: Path, num_files: int = 0, place: Callable[[int], Path] | None = None):
    """Delete what killed processes left, and raise ValueError if the output exists.

    An empty folder may exist, and one with some, but not all, of the files that will be written, and no others.

    Args:
        output: file or folder that will be written.
        num_files: number of files that a folder will hold.
        place: path of each of them by its index.
    """
    remove_leftovers(output.parent)
    if place is not None:
        remove_leftovers(place(0).parent)
    if not output.exists():
        return
    found = {path for path in output.rglob("*") if not path.is_dir()} if output.is_dir() else {output}
    is_part = place is not None and len(found) < num_files and found <= set(map(place, range(num_files)))
    if found and not is_part:
        raise ValueError(f"'{output}' exists already: choose another output, or delete it first")
