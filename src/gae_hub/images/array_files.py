"""Writes arrays to files, batch by batch as they are computed: .npy, .npz, .csv and .parquet.

A file appears when it is complete.
"""

__all__ = ["ARRAY_SUFFIXES", "TABLE_SUFFIXES", "to_array", "write_arrays"]

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ..core.files import write_atomically
from .output_checks import check_output

TABLE_SUFFIXES = (".csv", ".parquet")
"""Files with one row for each example and one column for each of its numbers."""
ARRAY_SUFFIXES = (".npy", ".npz", *TABLE_SUFFIXES)
"""Files that `write_arrays` writes."""

_ROWS_PER_GROUP = 10_000  # in a parquet file


def write_arrays(
    batches: Iterable[np.ndarray | Tensor],
    num: int,
    output: str | Path,
    column_names: Sequence[str] | None = None,
    labels: Sequence[int] | Tensor | None = None,
):
    """Write batches of examples while they are computed. Memory holds few batches, or 10,000 rows of a table.

    Numbers keep their type, except that bfloat16 and float16 become float32, and that a CSV file holds decimals: those
    of float64, from which float32 numbers are read back exactly.

    Args:
        batches: (batch, *shape) arrays or tensors.
        num: number of examples in all batches together.
        output: file to write, which must not exist. Its suffix is the format: ".npy" or ".npz" for an array (num,
            *shape), in the archive under the name `arr_0`; ".csv" or ".parquet" for a table with one row for each
            example, (num, dim).
        column_names: names of a table's columns; x0, x1, ... by default.
        labels: (num,) integers, for a last column "label" of a table.

    Raises:
        ValueError: if the suffix is another one, the output exists, or a table's examples are not vectors; if there
            are other than `num` examples, or other than one name for each column; or if labels are given for an array.
        HubError: if the disk is full.
    """
    output = Path(output)
    suffix = output.suffix.lower()
    if suffix not in ARRAY_SUFFIXES:
        raise ValueError(f"expected an output that ends in {', '.join(ARRAY_SUFFIXES)}, got '{output}'")
    if labels is not None and suffix not in TABLE_SUFFIXES:
        raise ValueError(f"an array in a {suffix} file has no column for labels; write .csv or .parquet")
    check_output(output)
    arrays = map(to_array, batches)
    first = next(arrays, None)
    if first is None:
        raise ValueError(f"there are no examples to write to '{output}'")
    chunks = _check_number(chain([first], arrays), num)
    if suffix in TABLE_SUFFIXES:
        names = _name_columns(first, column_names, labels is not None)
        _write_table(_add_labels(chunks, labels), output, first.dtype, names, labels is not None)
    else:
        _write_array(chunks, output, first.dtype, (num, *first.shape[1:]))


def to_array(batch: np.ndarray | Tensor) -> np.ndarray:
    """An array on the CPU, with a type of number that every format has: float16 and bfloat16 become float32."""
    if isinstance(batch, Tensor):
        batch = (batch.float() if batch.dtype in (torch.bfloat16, torch.float16) else batch).detach().cpu().numpy()
    return batch.astype(np.float32) if batch.dtype == np.float16 else batch


def _check_number(arrays: Iterator[np.ndarray], num: int) -> Iterator[np.ndarray]:
    """The same arrays. ValueError unless they have `num` rows."""
    found = 0
    for array in arrays:
        found += len(array)
        if found > num:
            break
        yield array
    if found != num:
        raise ValueError(f"expected {num} examples to write, got {'more' if found > num else found}")


# Arrays


def _write_array(arrays: Iterator[np.ndarray], output: Path, dtype: np.dtype, shape: tuple[int, ...]):
    # the header of an npy file holds the shape of the whole array, so batches can be appended one by one
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with write_atomically(output) as temporary, _open_array(temporary) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(np.ascontiguousarray(array, dtype).data)


@contextmanager
def _open_array(temporary: Path) -> Iterator[IO[bytes]]:
    """The npy file at a path, or the one in the archive at a path that ends in .npz."""
    if temporary.suffix.lower() == ".npz":
        with zipfile.ZipFile(temporary, "w") as archive, archive.open("arr_0.npy", "w", force_zip64=True) as file:
            yield file
    else:
        with temporary.open("wb") as file:
            yield file


# Tables


def _name_columns(first: np.ndarray, names: Sequence[str] | None, has_labels: bool) -> list[str]:
    """Names of the columns of a table, given its first rows."""
    if first.ndim != 2:
        raise ValueError(
            f"a table has one vector in each row, but these examples have shape {first.shape[1:]}: write .npy or .npz"
        )
    dim = first.shape[1]
    found = [f"x{index}" for index in range(dim)] if names is None else list(names)
    if len(found) != dim:
        raise ValueError(f"a table of {dim} columns needs as many column_names, got {len(found)}")
    return [*found, "label"] if has_labels else found


def _add_labels(arrays: Iterator[np.ndarray], labels: Sequence[int] | Tensor | None) -> Iterator[list[np.ndarray]]:
    """Columns of each batch, the last one its labels, if there are any."""
    start, all_labels = 0, None if labels is None else np.asarray(labels)
    for array in arrays:
        stop = start + len(array)
        yield [*array.T, *(() if all_labels is None else (all_labels[start:stop],))]
        start = stop


def _write_table(
    batches: Iterator[list[np.ndarray]], output: Path, dtype: np.dtype, names: list[str], has_labels: bool
):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    is_csv = output.suffix.lower() == ".csv"
    # the shortest decimal of a float32 number may be read as another one by way of float64
    kind = np.dtype(np.float64) if is_csv and dtype.kind == "f" else dtype
    kinds = [kind] * (len(names) - has_labels) + [np.dtype(np.int64)] * has_labels
    schema = pa.schema([(name, pa.from_numpy_dtype(kind)) for name, kind in zip(names, kinds, strict=True)])
    writer_class: Any = pyarrow.csv.CSVWriter if is_csv else pyarrow.parquet.ParquetWriter
    with write_atomically(output) as temporary, writer_class(str(temporary), schema) as writer:
        for columns in _join_batches(batches):
            arrays = [pa.array(column.astype(kind)) for column, kind in zip(columns, kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _join_batches(batches: Iterator[list[np.ndarray]]) -> Iterator[list[np.ndarray]]:
    """The same rows in larger batches, because each is a row group of a parquet file."""
    pending: list[list[np.ndarray]] = []
    for batch in batches:
        pending.append(batch)
        if sum(len(columns[0]) for columns in pending) >= _ROWS_PER_GROUP:
            yield [np.concatenate(column) for column in zip(*pending, strict=True)]
            pending = []
    if pending:
        yield [np.concatenate(column) for column in zip(*pending, strict=True)]
