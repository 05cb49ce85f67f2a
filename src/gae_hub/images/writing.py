"""Many images to disk as they come: a folder of PNG files, one npz file, or a data set in the Hub's layout."""

__all__ = ["write_images"]

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("folder", "npz", "dataset")
_SHARD = 10_000  # images in a file of a data set


def write_images(images: Iterable[Image.Image], num: int, output: str | Path, format: str = "folder"):
    """Write images while they are made, with no more of them in memory than one file of a data set holds.

    Args:
        images: PIL images of one size and mode.
        num: how many there are.
        output: where to; what is there must not hold files of that kind already.
        format: "folder", one PNG file each; "npz", an array `arr_0` (num, height, width[, channels]), uint8; or
            "dataset", parquet files of PNG images in a folder, which `datasets.load_dataset` and `load_images` read.

    Raises:
        ValueError: for another format, or an output that exists.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got '{format}'")
    output = Path(output)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ValueError(f"'{output}' exists already: choose another output, or delete it first")
    output.parent.mkdir(parents=True, exist_ok=True)
    {"folder": _folder, "npz": _npz, "dataset": _dataset}[format](iter(images), num, output)


def _folder(images: Iterator[Image.Image], num: int, output: Path):
    output.mkdir(exist_ok=True)
    digits = max(6, len(str(num - 1)))
    for index, image in enumerate(images):
        image.save(output / f"{index:0{digits}d}.png")


def _npz(images: Iterator[Image.Image], num: int, output: Path):
    """The array's header tells how many there will be, so that each can follow as it comes."""
    first = np.asarray(next(images))
    with zipfile.ZipFile(output, "w") as archive, archive.open("arr_0.npy", "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (num, *first.shape)})
        file.write(first.tobytes())
        for image in images:
            file.write(np.asarray(image).tobytes())


def _dataset(images: Iterator[Image.Image], num: int, output: Path):
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    (output / "data").mkdir(parents=True, exist_ok=True)
    count = -(-num // _SHARD)
    for shard in range(count):
        rows = [{"bytes": _png(next(images)), "path": None} for _ in range(min(_SHARD, num - shard * _SHARD))]
        table = datasets.Dataset.from_dict({"image": rows}, features=features)
        table.to_parquet(output / "data" / f"train-{shard:05d}-of-{count:05d}.parquet")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
