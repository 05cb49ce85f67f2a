"""Writes many images to disk as they are generated: a folder of PNG files, an npz file, or a data set for the Hub."""

__all__ = ["write_images"]

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

_IMAGES_PER_SHARD = 10_000  # in a parquet file of a data set


def write_images(images: Iterable[Image.Image], num_images: int, output: str | Path, format: str = "folder"):
    """Write images while they are generated. Memory holds at most the images of one parquet file.

    Args:
        images: PIL images of one size and mode.
        num_images: number of images.
        output: folder or file to write. It must not exist, except as an empty folder.
        format: "folder", one PNG file per image; "npz", an array `arr_0` (num, height, width[, channels]), uint8; or
            "dataset", a folder of parquet files with PNG images, for `datasets.load_dataset` and `load_images`.

    Raises:
        ValueError: if the format is unknown, or the output exists.
    """
    if format not in _WRITERS:
        raise ValueError(f"format must be one of {', '.join(_WRITERS)}, got '{format}'")
    output = Path(output)
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ValueError(f"'{output}' exists already: choose another output, or delete it first")
    output.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[format](iter(images), num_images, output)


def _write_folder(images: Iterator[Image.Image], num_images: int, output: Path):
    output.mkdir(exist_ok=True)
    digits = max(6, len(str(num_images - 1)))
    for index, image in enumerate(images):
        image.save(output / f"{index:0{digits}d}.png")


def _write_npz(images: Iterator[Image.Image], num_images: int, output: Path):
    # the header of an npy file holds the shape of the whole array, so images can be appended one by one
    first = np.asarray(next(images))
    with zipfile.ZipFile(output, "w") as archive, archive.open("arr_0.npy", "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (num_images, *first.shape)})
        file.write(first.tobytes())
        for image in images:
            file.write(np.asarray(image).tobytes())


def _write_dataset(images: Iterator[Image.Image], num_images: int, output: Path):
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    (output / "data").mkdir(parents=True, exist_ok=True)
    num_shards = -(-num_images // _IMAGES_PER_SHARD)
    for shard in range(num_shards):
        num_rows = min(_IMAGES_PER_SHARD, num_images - shard * _IMAGES_PER_SHARD)
        rows = [{"bytes": _encode_png(next(images)), "path": None} for _ in range(num_rows)]
        table = datasets.Dataset.from_dict({"image": rows}, features=features)
        table.to_parquet(output / "data" / f"train-{shard:05d}-of-{num_shards:05d}.parquet")


def _encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


_WRITERS = {"folder": _write_folder, "npz": _write_npz, "dataset": _write_dataset}
