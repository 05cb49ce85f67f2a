"""`write_arrays` in each format, to the bit."""

import weakref

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from cases import generator

from gae_hub import load_data
from gae_hub.images import array_files
from gae_hub.images.array_files import write_arrays


def odd_floats():
    """(400, 3) float32 numbers of every size, among them denormal ones, as bit patterns."""
    bits = torch.randint(-(2**31), 2**31, (400, 3), generator=generator(), dtype=torch.int64).to(torch.int32)
    values = bits.view(torch.float32)
    return torch.where(values.isfinite(), values, 0.1)


def read(path):
    """The array in a file, with the numbers of a CSV file as float64."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            assert archive.files == ["arr_0"]
            return archive["arr_0"]
    table = pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.parquet.read_table(path)
    return np.stack([column.to_numpy() for column in table.columns], 1)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_read_back_exactly(tmp_path, suffix, dtype):
    values = odd_floats().numpy().astype(dtype)
    if dtype == np.float64:
        values *= 1.1
    output = tmp_path / "new" / f"a{suffix}"
    write_arrays(iter(np.array_split(values, 7)), 400, output)
    found = read(output)
    assert found.dtype == (np.float64 if suffix == ".csv" else dtype) and found.shape == (400, 3)
    assert found.astype(dtype).tobytes() == values.tobytes()
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    with pytest.raises(ValueError, match=r"exists already: choose another output, or delete it first"):
        write_arrays([values], 400, output)
    assert read(output).astype(dtype).tobytes() == values.tobytes()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bfloat16, torch.float16])
def test_arrays_keep_shape_and_integers(tmp_path, suffix, dtype):
    values = torch.arange(5 * 2 * 3).view(5, 2, 3).to(dtype)
    write_arrays(values.split(2), 5, tmp_path / f"a{suffix}")
    found = read(tmp_path / f"a{suffix}")
    assert found.dtype == (np.dtype(str(dtype)[6:]) if not dtype.is_floating_point else np.float32)
    np.testing.assert_array_equal(found, values.float().numpy())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_has_names_and_labels(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(array_files, "_ROWS_PER_GROUP", 8)
    path, values, labels = tmp_path / f"a{suffix}", torch.rand(20, 2), torch.arange(20) % 3 - 1
    write_arrays(values.split(3), 20, path, ["height, m", 'the "best" µ'], labels)
    table = pyarrow.csv.read_csv(path) if suffix == ".csv" else pyarrow.parquet.read_table(path)
    assert table.column_names == ["height, m", 'the "best" µ', "label"]
    assert table.column("label").to_pylist() == labels.tolist() and str(table.column("label").type) == "int64"
    assert torch.equal(torch.tensor(table.column(1).to_pylist()), values[:, 1])
    if suffix == ".parquet":
        file = pyarrow.parquet.ParquetFile(path)
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [9, 9, 2]
        data = load_data(path)  # skips the examples without a label only where labels are needed
        assert data.column_names == ("height, m", 'the "best" µ') and torch.equal(data.pixel_values, values)
        assert torch.equal(data.labels, labels)


def test_columns_have_default_names(tmp_path):
    write_arrays([np.zeros((2, 12))], 2, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == ",".join(f'"x{i}"' for i in range(12))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_memory_holds_few_batches(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(array_files, "_ROWS_PER_GROUP", 1)
    alive = []

    def batches():
        for index in range(12):
            batch = np.full((10, 4), float(index))
            alive.append(weakref.ref(batch))
            yield batch
            del batch
            assert sum(reference() is not None for reference in alive) <= 3

    write_arrays(batches(), 120, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}")[::10, 0], range(12))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_an_interrupted_file_does_not_exist(tmp_path, suffix):
    def batches():
        yield np.zeros((3, 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_arrays(batches(), 6, tmp_path / f"a{suffix}")
    for num, found in ((4, "3"), (2, "more")):
        with pytest.raises(ValueError, match=f"expected {num} examples to write, got {found}"):
            write_arrays([np.zeros((3, 2))], num, tmp_path / f"a{suffix}")
    with pytest.raises(ValueError, match="there are no examples to write"):
        write_arrays([], 0, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.npy, \.npz, \.csv, \.parquet, got '.*a\.txt'"):
        write_arrays([np.zeros((3, 2))], 3, tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"have shape \(2, 4\): write \.npy or \.npz"):
        write_arrays([np.zeros((3, 2, 4))], 3, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="a table of 2 columns needs as many column_names, got 3"):
        write_arrays([np.zeros((3, 2))], 3, tmp_path / "a.parquet", ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"a \.npy file has no column for labels"):
        write_arrays([np.zeros((3, 2))], 3, tmp_path / "a.npy", labels=[1, 2, 3])
    assert list(tmp_path.iterdir()) == []
