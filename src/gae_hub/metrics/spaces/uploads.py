"""Reading the files that visitors of a metric's Space upload: images, or one .npy array for each side."""

__all__ = ["MAX_UPLOAD_BYTES", "read_files"]

from pathlib import Path

import numpy as np
from PIL import Image

from ...images.reading import DAMAGED, open_image

MAX_UPLOAD_BYTES = 64 << 20  # of one file
_MAX_FILES = 2000
_MAX_PIXELS = 25_000_000  # of an image


def read_files(paths: list[str], images: bool) -> list[Image.Image] | np.ndarray:
    """Files of one side as a batch: images, or one .npy array.

    Args:
        paths: the files.
        images: whether image files are accepted.

    Raises:
        ValueError: for other files, damaged ones, and ones that are too large.
    """
    if len(paths) > _MAX_FILES:
        raise ValueError(f"expected at most {_MAX_FILES:,} files, got {len(paths):,}: put them into one .npy file")
    files = [Path(path) for path in paths]
    for file in files:
        size = file.stat().st_size
        if size > MAX_UPLOAD_BYTES:
            raise ValueError(
                f"{file.name} has {size / 2**20:.0f} MB, more than the {MAX_UPLOAD_BYTES >> 20} MB that are accepted: "
                "upload fewer or smaller examples, or measure them with gae-hub evaluate"
            )
    arrays = [file.name for file in files if file.suffix == ".npy"]
    if len(files) == 1 and arrays:
        return _read_array(files[0])
    if arrays:
        raise ValueError(f"expected one .npy file or images for each side, got {len(files)} files with {arrays[0]}")
    if not images:
        raise ValueError(f"this metric needs one .npy file for each side, got {files[0].name}")
    return [_read_image(file) for file in files]


def _read_array(file: Path) -> np.ndarray:
    try:
        # a mapped file is never larger than its header says, so that a false header allocates nothing
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (EOFError, OSError, ValueError, OverflowError, SyntaxError) as error:
        raise ValueError(f"cannot read {file.name} as an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{file.name} must hold numbers, got an array of {array.dtype}")
    return np.array(array)


def _read_image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as header:  # nothing is decoded here
            width, height = header.size
        if width * height > _MAX_PIXELS:
            raise ValueError(f"it has {width:,} x {height:,} pixels, more than {_MAX_PIXELS // 10**6} million")
        return open_image(file)
    except DAMAGED as error:
        raise ValueError(f"cannot read {file.name} as an image: {error}") from error
