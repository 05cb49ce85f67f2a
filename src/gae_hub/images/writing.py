"""Writes many images to disk as they are generated: a folder of PNG files, an npz file, or a data set for the Hub.

A file appears when it is complete. After a kill, writing the same images again completes the folder.
"""

__all__ = ["write_images"]

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.files import remove_leftovers, write_atomically

_IMAGES_PER_SHARD = 10_000  # in a parquet file of a data set


def write_images(images: Iterable[Image.Image], num_images: int, output: str | Path, format: str = "folder"):
    """Write images while they are generated. Memory holds at most the images of one parquet file.

    If a folder holds a part of these images, as after a kill, the missing ones are added.

    Args:
        images: PIL images of one size and mode.
        num_images: number of images.
        output: folder or file to write. It must not exist, except as an empty folder, or one with a part of these
            images.
        format: "folder", one PNG file per image; "npz", an array `arr_0` (num, height, width[, channels]), uint8; or
            "dataset", a folder of parquet files with PNG images, for `datasets.load_dataset` and `load_images`.

    Raises:
        ValueError: if the format is unknown, the output exists, or it holds other images.
        HubError: if the disk is full.
    """
    if format not in _WRITERS:
        raise ValueError(f"format must be one of {', '.join(_WRITERS)}, got '{format}'")
    _WRITERS[format](iter(images), num_images, Path(output))


def _write_folder(images: Iterator[Image.Image], num_images: int, output: Path):
    digits = max(6, len(str(num_images - 1)))

    def place(index: int) -> Path:
        return output / f"{index:0{digits}d}.png"

    _check_output(output, num_images, place)
    for index, image in enumerate(images):
        file, content = place(index), _encode_png(image)
        if not file.exists():
            with write_atomically(file, durable=False) as temporary:
                temporary.write_bytes(content)
        elif file.read_bytes() != content:
            raise _other_images(file)


def _write_npz(images: Iterator[Image.Image], num_images: int, output: Path):
    _check_output(output)
    # the header of an npy file holds the shape of the whole array, so images can be appended one by one
    first = np.asarray(next(images))
    with (
        write_atomically(output) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as file,
    ):
        header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (num_images, *first.shape)})
        file.write(first.tobytes())
        for image in images:
            file.write(np.asarray(image).tobytes())


def _write_dataset(images: Iterator[Image.Image], num_images: int, output: Path):
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    num_shards = -(-num_images // _IMAGES_PER_SHARD)

    def place(shard: int) -> Path:
        return output / "data" / f"train-{shard:05d}-of-{num_shards:05d}.parquet"

    _check_output(output, num_shards, place)
    for shard in range(num_shards):
        file = place(shard)
        num_rows = min(_IMAGES_PER_SHARD, num_images - shard * _IMAGES_PER_SHARD)
        rows = [{"bytes": _encode_png(next(images)), "path": None} for _ in range(num_rows)]
        if not file.exists():
            with write_atomically(file) as temporary:
                datasets.Dataset.from_dict({"image": rows}, features=features).to_parquet(temporary)
        elif _read_parquet(file) != rows:
            raise _other_images(file)


def _read_parquet(file: Path) -> list[dict[str, Any]]:
    """Rows of a shard."""
    from pyarrow.parquet import read_table

    return read_table(file).column("image").to_pylist()


def _check_output(output: Path, num_files: int = 0, place: Callable[[int], Path] | None = None):
    """Delete what killed processes left, and raise ValueError if the output exists.

    An empty folder may exist, and one with some, but not all, of the files that will be written, and no others.
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


def _other_images(file: Path) -> ValueError:
    return ValueError(
        f"'{file}' exists already and does not hold the images of this run, which may have another model, sampler or "
        "seed: choose another output, or delete it first"
    )


def _encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


_WRITERS = {"folder": _write_folder, "npz": _write_npz, "dataset": _write_dataset}
