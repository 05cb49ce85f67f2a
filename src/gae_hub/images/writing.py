"""Writes many examples to disk as they are generated: images in a folder, an npz file or a data set; others as arrays.

A file appears when it is complete. After a kill, writing the same images again completes the folder.
"""

__all__ = ["write_examples", "write_images"]

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..core.files import write_atomically
from .array_files import ARRAY_SUFFIXES, write_arrays
from .output_checks import check_output
from .processing import GAEImageProcessor, is_image_shape

_IMAGES_PER_SHARD = 10_000  # in a parquet file of a data set


def write_examples(
    batches: Iterable[Tensor], num: int, output: str | Path, processor: GAEImageProcessor, format: str | None = None
):
    """Write a model's output while it is computed, in the units of the data. Memory holds few batches.

    Args:
        batches: (batch, *input_shape) tensors, as from `model.generate`.
        num: number of examples in all batches together.
        output: file or folder to write, as for [`write_arrays`] or [`write_images`].
        processor: the model's processor, which undoes the normalization and names the columns of tables.
        format: a format of [`write_images`], for images. By default the suffix of the output decides: .npy, .csv and
            .parquet hold values, and .npz those of data other than images; another output holds images.

    Raises:
        ValueError: as in these functions; or if the output is for images, and the examples are not.
        HubError: if the disk is full.
    """
    suffix, is_images = Path(output).suffix.lower(), is_image_shape(processor.input_shape)
    if format is None and suffix in ARRAY_SUFFIXES and not (is_images and suffix == ".npz"):
        write_arrays(map(processor.restore, batches), num, output, processor.column_names)
    elif is_images:
        images = (image for batch in batches for image in processor.postprocess(batch))
        write_images(images, num, output, format or ("npz" if suffix == ".npz" else "folder"))
    else:
        raise ValueError(
            f"examples of shape {processor.input_shape} are not images: expected an output that ends in "
            f"{', '.join(ARRAY_SUFFIXES)}, got '{output}'" + (f" in the format '{format}'" if format else "")
        )


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

    check_output(output, num_images, place)
    for index, image in enumerate(images):
        file, content = place(index), _encode_png(image)
        if not file.exists():
            with write_atomically(file, durable=False) as temporary:
                temporary.write_bytes(content)
        elif file.read_bytes() != content:
            raise _other_images(file)


def _write_npz(images: Iterator[Image.Image], num_images: int, output: Path):
    if output.suffix.lower() != ".npz":
        raise ValueError(f"the format 'npz' writes a file that ends in .npz, got '{output}'")
    write_arrays((np.asarray(image)[None] for image in images), num_images, output)


def _write_dataset(images: Iterator[Image.Image], num_images: int, output: Path):
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    num_shards = -(-num_images // _IMAGES_PER_SHARD)

    def place(shard: int) -> Path:
        return output / "data" / f"train-{shard:05d}-of-{num_shards:05d}.parquet"

    check_output(output, num_shards, place)
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
