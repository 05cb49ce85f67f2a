"""Factors of variation from the columns of a data set laid out like dSprites and Shapes3D on the Hub."""

import json
import shutil

import datasets
import numpy as np
import pytest
import torch
from cases import VAE
from PIL import Image

from gae_hub import load_images
from gae_hub.cli.main import main
from gae_hub.data.datasets import OnDemandDataset
from gae_hub.data.factors import read_factors
from gae_hub.data.splits import split_rows
from gae_hub.metrics import evaluate_model, mutual_information_gap

FACTORS = np.stack(np.meshgrid(range(3), range(4), range(5), indexing="ij"), -1).reshape(-1, 3)  # each once
FEATURES = {
    "image": datasets.Image(),
    "shape": datasets.ClassLabel(names=["square", "ellipse", "heart"]),
    "scale": datasets.Value("int32"),
    "hue": datasets.Value("float64"),
    "color": datasets.Value("string"),
    "white": datasets.Value("int8"),  # one value only, as dSprites has it
    "index": datasets.Value("int64"),
    "latents": datasets.List(datasets.Value("int64")),
}


def rows(order=None, **changed):
    shape, scale, place = FACTORS[np.arange(len(FACTORS)) if order is None else order].T
    images = np.zeros((len(shape), 8, 8), np.uint8)
    images[np.arange(len(shape)), shape + 1, place + scale // 2] = 100 + 50 * scale
    columns = {
        "image": [Image.fromarray(image) for image in images],
        "shape": shape.tolist(),
        "scale": (10 * scale).tolist(),
        "hue": (place / 4).tolist(),
        "color": [["red", "green"][i % 2] for i in place],
        "white": [1] * len(shape),
        "index": list(range(len(shape))),
        "latents": np.stack([shape, place], 1).tolist(),
    }
    features = {**FEATURES, **{name: changed[name][0] for name in changed}}
    return datasets.Dataset.from_dict(
        {**columns, **{name: changed[name][1] for name in changed}}, features=datasets.Features(features)
    )


def test_default_factors_are_integers_and_classes_that_vary(tmp_path):
    rows().to_parquet(tmp_path / "train-00000-of-00001.parquet")
    factors, names = read_factors(load_images(tmp_path))
    assert names == ["shape", "scale", "latents.0", "latents.1"] and factors.dtype == torch.int64
    assert np.array_equal(factors, FACTORS[:, [0, 1, 0, 2]])  # indices of the values: scales are 0, 10, 20, 30


def test_named_columns_of_numbers_and_strings():
    dataset = load_images(rows())
    factors, names = read_factors(dataset, ["hue", "scale", "color"])
    assert names == ["hue", "scale", "color"] and np.array_equal(factors[:, :2], FACTORS[:, [2, 1]])
    assert factors[:, 2].tolist() == (1 - FACTORS[:, 2] % 2).tolist()  # strings in alphabetical order: green, red
    assert np.array_equal(read_factors(dataset, ["latents"])[0], FACTORS[:, [0, 2]])


def test_factors_follow_the_rows_into_splits_and_data_on_disk(monkeypatch):
    order = np.random.default_rng(0).permutation(len(FACTORS))
    for source in (rows(order), load_images(rows(order))):
        parts = load_images(source, ("train", "validation"), validation_size=20)
        labels = load_images(source).labels
        indices = split_rows(len(order), 20, 0, None if labels is None else labels.numpy())
        for part, chosen in zip(parts, indices, strict=True):
            assert np.array_equal(read_factors(part, ["shape", "hue"])[0], FACTORS[order][chosen][:, [0, 2]])
    monkeypatch.setattr("gae_hub.data.split_reading.free_memory", lambda: 0)
    large = load_images(rows(order))
    assert isinstance(large, OnDemandDataset)
    assert np.array_equal(read_factors(large, ["shape", "hue"])[0], FACTORS[order][:, [0, 2]])
    digits = load_images("digits")
    digits.factors = torch.arange(2 * len(digits)).view(-1, 2) % 7
    parts = load_images(digits, ("train", "validation"))
    for part, chosen in zip(parts, split_rows(1397, 140, 0, digits.labels.numpy()), strict=True):
        assert torch.equal(part.factors, digits.factors[chosen])


def test_metrics_use_named_factors():
    model = VAE.build(input_shape=(1, 8, 8), latent_dim=4)
    found = evaluate_model(model, rows(), ["mig", "sap"], factors=["shape", "scale", "hue"])
    embeddings = model.embed(load_images(rows()).pixel_values.float() / 255)
    expected = mutual_information_gap(embeddings, torch.from_numpy(FACTORS))["mig"]
    assert found["mig"] == pytest.approx(expected.value) and found["mig"] > 0
    assert (
        found["mig"].passport.settings["factors"] == found["sap"].passport.settings["factors"] == "shape, scale, hue"
    )
    fewer = evaluate_model(model, rows(), ["mig"], factors=["shape", "scale"])
    with pytest.raises(ValueError, match="cannot be compared"):  # gaps of different factors
        _ = found["mig"] < fewer["mig"]


def test_command_line(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "model")
    (tmp_path / "sprites").mkdir()
    rows().to_parquet(tmp_path / "sprites" / "train-00000-of-00001.parquet")
    names = ["mig", "dci", "sap", "factor_vae_score", "beta_vae_score"]
    command = ["evaluate", str(tmp_path / "model"), "--dataset", str(tmp_path / "sprites"), "--split", "train"]
    quick = {"dci": {"num_trees": 3}, "factor_vae_score": {"num_votes": 20}, "beta_vae_score": {"num_votes": 20}}
    factors = ["--factors", "shape", "scale", "hue", "--options", json.dumps(quick)]
    assert main([*command, "--metrics", *names, *factors]) == 0
    results = json.loads((tmp_path / "model" / "results.json").read_text())
    assert {"mig", "sap", "dci_disentanglement", "factor_vae_score", "beta_vae_score"} <= results["metrics"].keys()
    assert results["passports"]["mig"]["settings"]["factors"] == "shape, scale, hue"
    assert main([*command, "--metrics", "mig", "--factors", "size"]) == 2
    error = capsys.readouterr().err
    assert "has no factor 'size'; its columns besides the images are shape, scale, hue, color, white, index" in error


@pytest.mark.parametrize(
    ("changed", "names", "message"),
    [
        (
            {},
            ["shape", "shade"],
            "'dataset' has no factor 'shade'; its columns besides the images are shape, scale, hue",
        ),
        (
            {"scale": (datasets.Value("int32"), [None] * 60)},
            None,
            "column 'scale' of 'dataset' cannot be a factor: it has rows without",
        ),
        (
            {"latents": (datasets.List(datasets.Value("int64")), [[1], [1, 2]] * 30)},
            None,
            "'latents' .* differ in length",
        ),
        ({"hue": (datasets.Value("binary"), [b"a", b"b"] * 30)}, ["hue"], "'hue' .* neither numbers nor strings"),
    ],
)
def test_invalid_columns(changed, names, message):
    with pytest.raises(ValueError, match=message):
        read_factors(load_images(rows(**changed)), names)


def test_a_single_column_is_not_a_factor_by_default():
    labelled = load_images(rows().select_columns(["image", "shape"]))
    with pytest.raises(
        ValueError, match="'dataset' has no columns that are certain to be factors of variation, not labels: .* shape;"
    ):
        evaluate_model(VAE.build(input_shape=(1, 8, 8)), labelled, ["mig"])
    assert read_factors(labelled, ["shape"])[0].shape == (60, 1)
    with pytest.raises(ValueError, match="'digits' has no factors of variation: set dataset.factors"):
        read_factors(load_images("digits"))
