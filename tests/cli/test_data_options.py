"""The options of data on the command line and in YAML files: the same tensors as in Python, in every command."""

import json

import numpy as np
import pandas
import pytest
import torch
from builders import pixels
from PIL import Image
from shell import run

from gae_hub import AutoGAE, GAEImageProcessor, Normalization, evaluate_model, load_data, load_images
from gae_hub.cli.flags import DATA_OPTIONS, SEED
from gae_hub.cli.run_record import RUN_FILE, find_data, load_split
from gae_hub.core.yaml_files import dump_yaml, load_yaml
from gae_hub.data.options import DataOptions

QUICK = ["--model", "vae", "--latent_dim", 2, "--num_train_epochs", 1, "--disable_tqdm", "true"]
ANY_RANGE = ["--output_activation", "identity"]
TABLE = np.random.default_rng(0).normal(size=(60, 3)) * [1, 50, 1e4] + [0, 100, -5]


@pytest.fixture
def table(tmp_path):
    frame = pandas.DataFrame(TABLE, columns=["a", "b", "c"]).assign(kind=["u", "v", "w"] * 20, other="x")
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_the_flags_are_the_options():
    assert [flag.name for flag in (*DATA_OPTIONS, SEED)] == list(DataOptions.names())
    defaults = {flag.name: flag.default for flag in (*DATA_OPTIONS, SEED)}
    assert DataOptions(**defaults) == DataOptions()


@pytest.mark.parametrize("door", ["flags", "yaml"])
def test_a_table_gives_the_same_tensors_through_every_door(table, tmp_path, door, capsys):
    out = tmp_path / "out"
    options = {"column": ["c", "a"], "label_column": "kind", "normalize": "standardize", "validation_size": 12}
    if door == "flags":
        words = ["--column", "c", "a", "--label_column", "kind", "--normalize", "standardize", "--validation_size", 12]
        assert run("train", "--dataset", table, "--output_dir", out, *QUICK, *ANY_RANGE, *words) == 0
    else:
        flags = {"dataset": str(table), "output_activation": "identity", **options}
        (tmp_path / "run.yaml").write_text(dump_yaml(flags))
        assert run("train", "--config", tmp_path / "run.yaml", "--output_dir", out, *QUICK) == 0
    train, validation = load_data(table, ("train", "validation"), **options)
    processor = GAEImageProcessor.from_pretrained(out)
    assert processor.normalization == train.normalization and processor.column_names == ("c", "a")
    assert processor.data == {**options, "validation_size": 12}
    # later commands
    name, arguments = find_data(str(out), None)
    found, split = load_split(str(out), name, None, arguments)
    assert split == "validation" and torch.equal(found.pixel_values, validation.pixel_values)
    assert found.labels.bincount().tolist() == [4, 4, 4]
    assert "has no split 'test': using the validation split of the training run" in capsys.readouterr().out
    # the processor
    rows = [
        int(np.abs(TABLE[:, [2, 0]] - row).sum(1).argmin()) for row in processor.restore(found.pixel_values).numpy()
    ]
    assert torch.equal(processor(TABLE[rows][:, [2, 0]])["pixel_values"], found.pixel_values)
    np.testing.assert_allclose(processor.restore(found.pixel_values), TABLE[rows][:, [2, 0]], rtol=1e-6, atol=1e-3)
    # a metric
    assert run("evaluate", out, "--metrics", "mse") == 0
    assert "validation" in capsys.readouterr().out
    model = AutoGAE.from_pretrained(out)
    restored = processor.restore(model.reconstruct(found.pixel_values)).numpy()
    mse = np.square(restored - TABLE[rows][:, [2, 0]]).mean()
    assert json.loads((out / "results.json").read_text())["metrics"]["mse"] == pytest.approx(mse, rel=1e-5)


def test_binary_pixels_are_the_same_through_every_door(tmp_path, capsys):
    """The training run, its record, later commands, the processor, the card and the metrics."""
    out, options = tmp_path / "out", {"binarize": "stochastic", "seed": 3}
    (tmp_path / "run.yaml").write_text(dump_yaml({"likelihood": "bernoulli", "binarize": "threshold"}))
    words = ["--config", tmp_path / "run.yaml", "--binarize", "stochastic", "--seed", 3]
    assert run("train", "--output_dir", out, *QUICK, *words) == 0
    test, grey = load_images("digits", "test", **options), load_images("digits", "test")
    pixels = test[:]["pixel_values"]
    assert set(pixels.unique().tolist()) == {0, 1}
    # later commands, with the record of the run and without
    processor = GAEImageProcessor.from_pretrained(out)
    assert processor.data == options and processor.binarization == test.binarization
    record = out / RUN_FILE
    assert load_yaml(record.read_text())["binarize"] == "stochastic"
    for name, arguments in (find_data(str(out), None), _without(record, lambda: find_data(str(out), "digits"))):
        assert torch.equal(load_split(str(out), name, "test", arguments)[0].pixel_values, test.pixel_values)
    assert torch.equal(processor(grey.pixel_values)["pixel_values"], pixels)
    model = AutoGAE.from_pretrained(out)
    assert run("embed", out, "--output", tmp_path / "z.npy") == 0
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), model.embed(pixels), rtol=1e-5, atol=1e-6)
    assert run("reconstruct", out, "--num_samples", 9, "--output", tmp_path / "r.npy") == 0
    np.testing.assert_allclose(np.load(tmp_path / "r.npy"), model.reconstruct(pixels[:9]), rtol=1e-5, atol=1e-6)
    card = (out / "README.md").read_text()
    assert "Pixels were binarized at random with seed 3: each pixel is drawn once, with its grey value" in card
    # metrics
    assert run("evaluate", out, "--metrics", "mse", "bits_per_dimension") == 0
    numbers = json.loads((out / "results.json").read_text())["metrics"]
    expected = evaluate_model(model, test, ["mse", "bits_per_dimension"])
    assert numbers == {name: pytest.approx(float(value), rel=1e-6) for name, value in expected.items()}
    assert 0 < numbers["bits_per_dimension"] < 1.1
    with pytest.raises(ValueError, match="a probability of binary pixels, but the data have other values"):
        evaluate_model(model, grey, ["bits_per_dimension"])


def _without(file, call):
    """The result of a call while a file does not exist."""
    content = file.read_bytes()
    file.unlink()
    try:
        return call()
    finally:
        file.write_bytes(content)


def test_log_likelihood_is_in_the_units_of_the_data():
    """A density of values that are divided by s is s times as large."""
    from cases import VAE

    model = VAE.build(input_shape=(3,), output_activation="identity")
    normalization = Normalization("standardize", (0.0, 1.0, 2.0), (10.0, 0.5, 4.0))
    raw = load_data(TABLE[:20] / [1, 50, 1e4], normalize=normalization)
    inputs = load_data(raw.pixel_values)
    ours, plain = (evaluate_model(model, data, ["log_likelihood"])["log_likelihood"] for data in (raw, inputs))
    assert float(ours) == pytest.approx(float(plain) - np.log(10 * 0.5 * 4), abs=1e-4)


def test_values_beyond_the_range_say_what_to_do(table, tmp_path, capsys):
    assert run("train", "--dataset", table, "--output_dir", tmp_path / "out", *QUICK) == 2
    error = capsys.readouterr().err
    assert "does not fit VAEModel: pixel_values must lie in [0, 1]" in error
    assert "--normalize unit" in error and "--output_activation identity" in error and "255" not in error
    assert not any((tmp_path / "out").iterdir())


def test_a_folder_without_a_test_split_is_evaluated_on_its_validation_split(tmp_path, capsys):
    for index, array in enumerate(pixels(40)):
        (tmp_path / "faces" / "ab"[index % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(tmp_path / "faces" / "ab"[index % 2] / f"{index}.png")
    out = tmp_path / "out"
    assert run("train", "--dataset", tmp_path / "faces", "--output_dir", out, "--seed", 3, *QUICK) == 0
    flags = load_yaml((out / RUN_FILE).read_text())
    assert flags["seed"] == 3
    card = (out / "README.md").read_text()
    assert "Validation: 4 of 40 training examples, drawn at random with seed 3, stratified by class." in card
    assert "datasets:" not in card
    assert run("evaluate", out, "--metrics", "mse", "clustering") == 0
    output = capsys.readouterr().out
    assert "using the validation split of the training run" in output and "faces, validation" in output
    assert run("evaluate", out, "--metrics", "mse", "--split", "test") == 2
    assert "has no split 'test'; it has train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"data_files": "/etc/passwd"},
            "there is no data option the text 'data_files'; expected column, label_column",
        ),
        ({"channels": "3"}, "channels must be 1, 3 or 4, got the text '3'"),
        ({"seed": [1]}, "seed must be an integer"),
        ({"image_size": {}}, "image_size must be an integer"),
        ({"background": 3}, "background must be the name of a colour"),
        ({"normalize": "max"}, "normalize must be one of unit, standardize"),
        ({"binarize": "max"}, "binarize must be one of threshold, stochastic"),
        ({"column": [1]}, "column must be a name or a list of names"),
    ],
)
def test_options_in_a_processor_are_checked(tmp_path, data, message):
    """A model without a record of its run may come from anyone."""
    GAEImageProcessor((1, 8, 8), data=data).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"preprocessor_config.json of '.*': data: {message}"):
        find_data(str(tmp_path), "digits")


def test_options_in_a_processor_are_used(tmp_path):
    normalization = Normalization("unit", (0.0,), (2.0,))
    processor = GAEImageProcessor((1, 8, 8), normalization=normalization, data={"seed": 3, "image_size": [8, 8]})
    processor.save_pretrained(tmp_path)
    found = ("digits", {"seed": 3, "image_size": [8, 8], "normalize": normalization, "binarize": None})
    assert find_data(str(tmp_path), "digits") == found


def test_a_streamed_file(table, tmp_path, capsys):
    pandas.read_csv(table).to_parquet(tmp_path / "t.parquet")
    words = ["--dataset", tmp_path / "t.parquet", "--column", "a", "b", "--normalize", "standardize"]
    words += ["--streaming", "--max_steps", 3]
    out = tmp_path / "out"
    assert run("train", *words, "--output_dir", out, *QUICK, *ANY_RANGE) == 0
    assert "validation  none" in capsys.readouterr().out
    resident = load_data(table, column=["a", "b"], normalize="standardize")
    assert GAEImageProcessor.from_pretrained(out).normalization == resident.normalization
