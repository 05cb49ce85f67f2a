"""Turns one split of a source into a data set: read into memory if it fits there, else on demand or as a stream."""

__all__ = ["fit_normalization", "read_split"]

import os
from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from tqdm.auto import tqdm

from ..images.binarization import Binarization
from ..images.normalization import Normalization, NormalizationFit
from ..modules.inputs import check_values
from .datasets import (
    IndexedDataset,
    InMemoryDataset,
    OnDemandDataset,
    StreamedDataset,
    to_pixel_values,
    warn_about_skipped,
)
from .sources.arrays import ArraySplit
from .sources.base import Source, Split, StreamSplit
from .sources.torch_data import TorchSplit

# a split is read into memory if it takes at most this share of the free memory
MEMORY_SHARE = 0.5
_CHUNK_BYTES = 1 << 21  # read at a time: encoded images and Python objects take several times as much


def read_split(
    source: Source, split: str, normalization: Normalization | None = None, images_only: bool = False
) -> IndexedDataset | StreamedDataset:
    """One split of a source as a data set.

    Args:
        source: the source.
        split: name of the split.
        normalization: applied to the values, before the options' binarisation.
        images_only: whether values without a normalization must lie in [0, 1].

    Raises:
        ValueError: if an example cannot be read, has another shape than the first, or values out of range.
    """
    found, options = source.get_split(split), source.options
    binarization = options.binarization
    if isinstance(found, StreamSplit):
        data = StreamedDataset(found, source.name, split, normalization, binarization)
    else:
        checks_range = images_only and normalization is None and source.normalization is None
        skips = options.on_error == "skip"
        data = _read_indexed(found, source.name, split, normalization, binarization, skips, checks_range)
        data.revision = found.revision
    data.origin, data.column_names, data.label_names = found.origin, found.column_names, found.label_names
    data.options, data.held_out = options, source.held_out
    data.normalization = normalization or source.normalization
    data.binarization = binarization
    return data


def _read_indexed(
    found: Split,
    name: str,
    split: str,
    normalization: Normalization | None,
    binarization: Binarization | None,
    skips: bool,
    checks_range: bool,
) -> IndexedDataset:
    """A split with a length as a data set."""
    is_changed = normalization is not None or binarization is not None
    if isinstance(found, TorchSplit):
        readable = _find_readable(found, name, split) if skips else found
        return OnDemandDataset(readable, name, split, normalization, binarization)
    if isinstance(found, ArraySplit) and not (is_changed or skips or isinstance(found.array, np.memmap)):
        pixel_values = _to_tensor(found.array)
    else:
        dtype = _stored_dtype(found, normalization, binarization)
        size = len(found) * prod(found.input_shape) * dtype.itemsize
        if size > MEMORY_SHARE * free_memory():
            readable = _find_readable(found, name, split) if skips else found
            return OnDemandDataset(readable, name, split, normalization, binarization)
        pixel_values, found = _read_all(found, name, split, normalization, binarization, skips)
    if checks_range and pixel_values.dtype != torch.uint8:
        check_values(pixel_values)
    data = InMemoryDataset(pixel_values, found.read_labels(), name, split)
    data.columns = found.columns
    if isinstance(found, ArraySplit):
        data.factors = found.factors
    return data


def _to_tensor(array: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 or float32, without a copy where that is possible."""
    if isinstance(array, np.ndarray):
        if array.dtype not in (np.uint8, np.float32) or not array.flags.writeable or min(array.strides) < 0:
            array = array.astype(np.uint8 if array.dtype == np.uint8 else np.float32)
        array = torch.from_numpy(array)
    return array if array.dtype in (torch.uint8, torch.float32) else array.float()


def _stored_dtype(found: Split, normalization: Normalization | None, binarization: Binarization | None) -> torch.dtype:
    """The dtype of a split in memory: uint8 for pixels of 8 bits and for binary ones, as 0 and 255."""
    is_pixels = found.dtype == np.uint8 and normalization is None
    return torch.uint8 if is_pixels or binarization is not None else torch.float32


def _read_all(
    found: Split,
    name: str,
    split: str,
    normalization: Normalization | None,
    binarization: Binarization | None,
    skips: bool,
) -> tuple[torch.Tensor, Split]:
    """All examples that can be read, (num, *input_shape), and their split."""
    dtype = _stored_dtype(found, normalization, binarization)
    values = torch.empty(len(found), *found.input_shape, dtype=dtype)
    num, places = 0, {}
    for array, errors in _iterate_chunks(found, f"reading {split}"):
        for index, error in errors.items():
            if not skips:
                raise error
            places[index] = error.place
        stop = num + len(array)
        if binarization is not None:
            values[num:stop] = 255 * to_pixel_values(array, normalization, binarization)
        elif dtype == torch.uint8:
            values[num:stop] = torch.from_numpy(array)
        else:
            values[num:stop] = to_pixel_values(array, normalization)
        num = stop
    if not places:
        return values, found
    warn_about_skipped(list(places.values()), len(found), name, split)
    return values[:num], found.select([index for index in range(len(found)) if index not in places])


def _find_readable(found: Split, name: str, split: str) -> Split:
    """The examples that can be read, with one warning about the others."""
    places = {
        index: error.place
        for _, errors in _iterate_chunks(found, f"checking {split}")
        for index, error in errors.items()
    }
    if not places:
        return found
    warn_about_skipped(list(places.values()), len(found), name, split)
    return found.select([index for index in range(len(found)) if index not in places])


def _iterate_chunks(found: Split, desc: str) -> Iterator[tuple[np.ndarray, dict]]:
    """Read a split in chunks, under a progress bar."""
    example_bytes = max(1, prod(found.input_shape) * found.dtype.itemsize)
    size = max(1, min(10_000, _CHUNK_BYTES // example_bytes))
    with tqdm(total=len(found), desc=desc, unit=" examples", leave=False, delay=0.5) as bar:
        for start in range(0, len(found), size):
            stop = min(start + size, len(found))
            yield found.read_chunk(range(start, stop))
            bar.update(stop - start)


def fit_normalization(source: Source) -> Normalization | None:
    """The normalization that the options name, fitted to the training split if it is a name. None without one."""
    wanted = source.options.normalize
    if wanted is None or isinstance(wanted, Normalization):
        return wanted
    fit = NormalizationFit(wanted)
    found = source.get_split("train" if "train" in source.splits else source.default_split)
    skips = source.options.on_error == "skip"
    if isinstance(found, Split):
        chunks = _iterate_chunks(found, "fitting the normalization")
    else:
        stream = ((chunk.array, chunk.errors) for chunk in found.iterate_chunks())
        chunks = tqdm(stream, desc="fitting the normalization", unit=" chunks", leave=False, delay=0.5)
    for array, errors in chunks:
        if not skips:
            for error in errors.values():
                raise error
        fit.add(array / 255 if array.dtype == np.uint8 else array)
    return fit.compute()


def free_memory() -> int:
    """Bytes that this process can use without swapping: an equal share for each of the run's local processes."""
    import psutil

    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
