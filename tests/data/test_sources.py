"""`open_source` chooses by content, and every kind of source gives the same tensors."""

import datasets
import numpy as np
import pandas
import pytest
import scipy.sparse
import torch
from builders import hub_folder, pixels
from PIL import Image

from gae_hub import load_data, load_images
from gae_hub.data.sources.opening import open_source

TABLE = np.random.default_rng(0).normal(size=(40, 3)) * [1, 100, 1e-3] + [0, 1e6, 5]
COLUMNS = ["a", "b", "c"]
LABELS = ["low", "high"] * 20


def frame():
    return pandas.DataFrame(TABLE, columns=COLUMNS).assign(label=LABELS)


# Tables: every door gives the same tensor, to the bit


def table_sources(folder):
    frame().to_csv(folder / "t.csv", index=False)
    frame().to_csv(folder / "t.tsv", index=False, sep="\t")
    frame().to_parquet(folder / "t.parquet")
    frame().to_json(folder / "t.jsonl", orient="records", lines=True, double_precision=15)
    np.save(folder / "t.npy", TABLE)
    np.savez(folder / "t.npz", x=TABLE, y=np.array(LABELS))
    return {
        **{name: folder / f"t.{name}" for name in ("csv", "tsv", "parquet", "npy", "npz")},
        "frame": frame(),
        "datasets": datasets.Dataset.from_pandas(frame()),
        "array": TABLE,
        "tensor": torch.from_numpy(TABLE),
        "sparse": scipy.sparse.csr_matrix(TABLE),
        "torch": torch.utils.data.TensorDataset(torch.from_numpy(TABLE), torch.arange(40) % 2),
    }


@pytest.mark.parametrize("normalize", [None, "unit", "standardize"])
def test_tables_are_equal_from_every_source(tmp_path, normalize):
    for name, source in table_sources(tmp_path).items():
        if name == "torch" and normalize:
            continue  # float32 items, which lose digits before they are normalized
        data = load_data(source, normalize=normalize)
        values = TABLE
        if normalize == "unit":
            values = (TABLE - TABLE.min(0)) / (TABLE.max(0) - TABLE.min(0))
        elif normalize:
            values = (TABLE - TABLE.mean(0)) / TABLE.std(0)
        expected = torch.from_numpy(values).float()
        found = data[:]["pixel_values"]
        if normalize:
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-7 * values.max(), msg=name)
        else:
            assert torch.equal(found, expected), name
        assert data.input_shape == (3,) and len(data) == 40
        has_names = name not in ("array", "tensor", "npy", "npz", "sparse", "torch")
        assert data.column_names == (tuple(COLUMNS) if has_names else None), name
        if name not in ("array", "tensor", "npy", "sparse", "torch"):
            assert [data.label_names[label] for label in data.labels] == LABELS, name
    assert load_data(table_sources(tmp_path)["torch"]).labels.tolist() == [0, 1] * 20


def test_columns_of_a_table(tmp_path, caplog):
    rows = frame().assign(text="x", index=range(40))
    assert load_data(rows, column=["c", "a"]).column_names == ("c", "a")
    assert load_data(rows, column="b").input_shape == (1,)
    assert load_data(rows, label_column="text").column_names == ("a", "b", "c", "index")
    assert load_data(rows).column_names == ("a", "b", "c", "index")
    assert "columns of 'table' that hold no numbers are left out: text" in caplog.text
    with pytest.raises(ValueError, match="column: 'table' has no column 'd'; it has a, b, c, label, text, index"):
        load_data(rows, column="d")
    with pytest.raises(ValueError, match="label_column: 'table' has no column 'y'"):
        load_data(rows, label_column="y")
    with pytest.raises(ValueError, match="column: column 'text' of 'table' holds no numbers"):
        load_data(rows, column=["a", "text"])
    with pytest.raises(
        ValueError, match="label_column: column 'a' must hold integers or strings, but it holds float64"
    ):
        load_data(rows, label_column="a")
    with pytest.raises(
        ValueError, match="has no column of images; .*; load_data reads its columns of numbers, a, b, c"
    ):
        load_images(rows)


def test_missing_numbers_are_named_or_skipped(caplog):
    rows = frame()
    rows.loc[3, "b"] = np.nan
    rows.loc[7, "c"] = np.inf
    with pytest.raises(ValueError, match="the example in row 3 of 'table': column 'b' is empty, nan or infinite"):
        load_data(rows)
    data = load_data(rows, on_error="skip")
    kept = [index for index in range(40) if index not in (3, 7)]
    assert torch.equal(data.pixel_values, torch.from_numpy(TABLE[kept]).float())
    assert [data.label_names[label] for label in data.labels] == [LABELS[index] for index in kept]
    assert "skipped 2 of 40 examples of 'table', split train, that cannot be read: in row 3, in row 7" in caplog.text


def test_integers_and_booleans_are_numbers():
    rows = datasets.Dataset.from_dict({"n": [1, 2, 3], "flag": [True, False, True], "target": [5, 6, None]})
    data = load_data(rows)
    assert data.pixel_values.tolist() == [[1, 1], [2, 0], [3, 1]] and data.labels.tolist() == [5, 6, -1]


# Streams


def test_a_parquet_file_streams(tmp_path):
    path = table_sources(tmp_path)["parquet"]
    resident = load_data(path, normalize="standardize")
    stream = load_data(path, normalize="standardize", streaming=True)
    assert not hasattr(stream, "__len__") and stream.input_shape == (3,)
    rows = torch.stack([row["pixel_values"] for row in stream])
    assert torch.equal(rows, resident.pixel_values)
    assert stream.normalization == resident.normalization and stream.column_names == tuple(COLUMNS)


# Arrays


@pytest.mark.parametrize(
    ("shape", "options", "images", "data"),
    [
        ((50, 3, 32, 32), {}, (3, 32, 32), (3, 32, 32)),
        ((50, 32, 32, 3), {}, (3, 32, 32), (3, 32, 32)),
        ((50, 32, 32, 1), {}, (1, 32, 32), (1, 32, 32)),
        ((50, 32, 31, 4), {}, (4, 32, 31), (4, 32, 31)),
        ((50, 16, 8, 8), {}, (16, 8, 8), (16, 8, 8)),
        ((50, 28, 27), {}, (1, 28, 27), None),
        ((50, 28, 27), {"layout": "no_channels"}, (1, 28, 27), (1, 28, 27)),
        ((50, 28, 27), {"layout": "channels_first"}, (28, 27), (28, 27)),
        ((50, 2, 100), {}, (1, 2, 100), (2, 100)),
        ((50, 100, 2), {"layout": "channels_last"}, (2, 100), (2, 100)),
        ((50, 100, 3), {}, (1, 100, 3), (3, 100)),
        ((50, 12, 1000), {}, (1, 12, 1000), (12, 1000)),
        ((50, 1, 5, 6, 7), {}, (1, 5, 6, 7), (1, 5, 6, 7)),
        ((50, 5, 6, 7, 1), {}, (1, 5, 6, 7), (1, 5, 6, 7)),
        ((50, 5, 6, 7), {"layout": "no_channels"}, (1, 5, 6, 7), (1, 5, 6, 7)),
        ((50, 3, 5, 3), {}, None, None),
        ((50, 3, 5, 3), {"layout": "channels_last"}, (3, 3, 5), (3, 3, 5)),
        ((50, 7), {}, (7,), (7,)),
    ],
)
def test_layouts(shape, options, images, data):
    array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 251
    for load, expected in ((load_images, images), (load_data, data)):
        if expected is None:
            with pytest.raises(ValueError, match=r"pass layout='(channels_first|no_channels)'"):
                load(array.astype(np.uint8), **options)
            continue
        loaded = load(array.astype(np.uint8), **options)
        assert loaded.input_shape == expected
        # the same numbers, wherever the channels were
        assert torch.equal(
            loaded.pixel_values.flatten().sort().values,
            torch.from_numpy(array.astype(np.uint8)).flatten().sort().values,
        )


def test_channels_last_are_moved_not_reshaped():
    array = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    assert np.array_equal(load_images(array).pixel_values.numpy(), array.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f2", ">f4", "<f8", "<i8", "?"])
def test_types_of_numbers(dtype):
    values = np.arange(24).reshape(4, 6).astype(dtype)
    for array in (values, values[::-1], values[:, ::-1], np.broadcast_to(values[:1], (4, 6))):
        data = load_data(array)
        expected = torch.from_numpy(array.astype(np.float32))
        assert torch.equal(data[:]["pixel_values"], expected / 255 if dtype == "u1" else expected)


def test_rows_of_an_array_with_nan():
    values = TABLE.copy()
    values[5, 1] = np.nan
    with pytest.raises(ValueError, match="'array' has 1 values that are nan or infinite"):
        load_data(values)
    assert torch.equal(
        load_data(values, on_error="skip").pixel_values, torch.from_numpy(np.delete(TABLE, 5, 0)).float()
    )


def test_npy_and_npz_files(tmp_path):
    images = pixels(12)
    np.save(tmp_path / "x.npy", images)
    assert torch.equal(load_images(tmp_path / "x.npy").pixel_values[:, 0], torch.from_numpy(images))
    np.savez(tmp_path / "x.npz", x_train=images[:8], y_train=np.arange(8), x_test=images[8:], y_test=np.arange(4))
    train, test = load_images(tmp_path / "x.npz", ("train", "test"))
    assert torch.equal(test.pixel_values[:, 0], torch.from_numpy(images[8:])) and test.labels.tolist() == [0, 1, 2, 3]
    assert len(train) == 7 and train.held_out.startswith("1 of 8 training examples, drawn at random with seed 0")
    np.savez(tmp_path / "two.npz", first=images, second=images)
    with pytest.raises(ValueError, match="holds several arrays, first, second: pass column="):
        load_images(tmp_path / "two.npz")
    assert len(load_images(tmp_path / "two.npz", column="second")) == 12
    with pytest.raises(ValueError, match="column: .* has no array 'third'; it has first, second"):
        load_images(tmp_path / "two.npz", column="third")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"cannot read '.*pickled.npy': .*Python objects"):
        load_images(tmp_path / "pickled.npy")
    np.savez(tmp_path / "pickled.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"cannot read '.*pickled.npz': Object arrays cannot be loaded"):
        load_images(tmp_path / "pickled.npz")
    (tmp_path / "damaged.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot read '.*damaged.npy'"):
        load_images(tmp_path / "damaged.npy")


def test_folders_of_npy_files(tmp_path):
    signals = np.random.default_rng(0).normal(size=(6, 2, 30))
    for index, signal in enumerate(signals):
        (tmp_path / "ab"[index % 2]).mkdir(exist_ok=True)
        np.save(tmp_path / "ab"[index % 2] / f"{index}.npy", signal)
    data = load_data(tmp_path)
    assert torch.equal(data.pixel_values, torch.from_numpy(signals[[0, 2, 4, 1, 3, 5]]).float())
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1] and data.label_names == ("a", "b")
    np.save(tmp_path / "b" / "7.npy", signals[0, :, :9])
    with pytest.raises(ValueError, match=r"differ in shape: \(2, 30\) in '0.npy' and \(2, 9\) in '7.npy'"):
        load_data(tmp_path)


def test_a_folder_of_split_files(tmp_path):
    for name, num in (("train", 9), ("val", 4), ("test", 3)):
        np.save(tmp_path / f"{name}.npy", pixels(num))
    parts = load_images(tmp_path, ("train", "validation", "test"))
    assert [len(part) for part in parts] == [9, 4, 3] and parts[0].held_out is None


def test_memory_maps_are_read_once(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 2, 30)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    source = open_source(tmp_path / "x.npy", *_options())
    assert isinstance(source.get_split("train").array, np.memmap)
    data = load_data(tmp_path / "x.npy")
    assert not isinstance(data.pixel_values.numpy(), np.memmap)
    assert torch.equal(data.pixel_values, torch.from_numpy(values))


def _options():
    from gae_hub.data.options import DataOptions

    return (DataOptions(),)


# Columns


def image_rows(**columns):
    features = {name: datasets.Image() for name in columns if name.startswith(("im", "left", "right"))}
    rows = datasets.Dataset.from_dict(columns)
    for name, feature in features.items():
        rows = rows.cast_column(name, feature)
    return rows


def test_two_columns_of_images():
    left, right = ([Image.fromarray(array) for array in pixels(3)] for _ in range(2))
    right = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in right]
    rows = image_rows(left=left, right=right)
    with pytest.raises(ValueError, match="several columns of images, left, right: pass column="):
        load_images(rows)
    assert torch.equal(
        load_images(rows, column="right").pixel_values.flip(-1),
        load_images(rows, column="left")[:]["pixel_values"] * 255,
    )


@pytest.mark.parametrize("name", ["pixel_values", "img", "x", "image"])
def test_columns_of_arrays(name):
    array = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    as_arrays = datasets.Dataset.from_dict(
        {name: list(array), "other": [[1.0]] * 4},
        features=datasets.Features(
            {name: datasets.Array3D((6, 5, 3), "uint8"), "other": datasets.List(datasets.Value("float32"))}
        ),
    )
    expected = torch.from_numpy(array).permute(0, 3, 1, 2)
    assert torch.equal(load_images(as_arrays).pixel_values, expected)
    vectors = datasets.Dataset.from_dict({name: [[0.5, 2.0], [1.0, -3.0]], "id": [8, 9]})
    assert load_data(vectors).pixel_values.tolist() == [[0.5, 2.0], [1.0, -3.0]]


def test_images_in_parquet_without_metadata(tmp_path):
    folder, expected = hub_folder(tmp_path)
    (file,) = folder.rglob("*.parquet")
    table = pandas.read_parquet(file)
    table.to_parquet(tmp_path / "plain.parquet")
    assert torch.equal(load_images(tmp_path / "plain.parquet").pixel_values, expected)


def test_paths_in_a_named_column(tmp_path):
    Image.fromarray(pixels(1)[0]).save(tmp_path / "a.png")
    rows = datasets.Dataset.from_dict({"file": [str(tmp_path / "a.png")], "note": ["x"]})
    assert load_images(rows, column="file").pixel_values[0, 0].tolist() == pixels(1)[0].tolist()


def test_labels():
    images = [Image.fromarray(array) for array in pixels(3)]
    strings = image_rows(image=images, label=["cat", None, "ant"])
    data = load_images(strings)
    assert data.labels.tolist() == [1, -1, 0] and data.label_names == ("ant", "cat")
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=["u", "v"])})
    classes = datasets.Dataset.from_dict({"image": images, "kind": [1, -1, None]}, features=features)
    data = load_images(classes)
    assert data.labels.tolist() == [1, -1, -1] and data.label_names == ("u", "v")
    assert load_images(image_rows(image=images, code=[4, 5, 6]), label_column="code").labels.tolist() == [4, 5, 6]


# Names


def test_paths_are_not_looked_up_on_the_hub(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("looked up on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    monkeypatch.chdir(tmp_path)
    for name in ("./faces", "../faces", "~/faces", "/faces", "faces.csv", "data/x.npy"):
        with pytest.raises(ValueError, match="there is no file or folder"):
            load_data(name)
    (tmp_path / "user").mkdir()
    np.save(tmp_path / "user" / "faces.npy", pixels(3))
    assert load_images("user").origin == "local"  # a folder of .npy files
    (tmp_path / "photo.xyz").write_text("x")
    with pytest.raises(ValueError, match=r"cannot load data from the file 'photo.xyz': expected 'digits', .*\.npy"):
        load_data("photo.xyz")


def test_origins(tmp_path):
    folder, _ = hub_folder(tmp_path)
    assert load_images(folder).origin == "local" and load_images("digits").origin == "library"
    assert load_images(pixels(3)).origin == "memory"
