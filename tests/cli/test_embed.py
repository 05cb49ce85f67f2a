"""`gae-hub embed`: latents and codes as arrays and tables."""

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from cases import CODES, VAE, images
from shell import run

from gae_hub import AutoGAE, load_images


def test_latents_of_the_data_of_the_run(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = load_images("digits", "test")
    expected = AutoGAE.from_pretrained(trained).embed(data[:]["pixel_values"])
    assert run("embed", trained, "--batch_size", 50) == 0
    assert (
        f"{len(data)} examples of digits, test, embedded as (4,) and saved to latents.npy" in capsys.readouterr().out
    )
    np.testing.assert_allclose(np.load("latents.npy"), expected, atol=1e-5)
    for name, reader in (("a.csv", pyarrow.csv.read_csv), ("a.parquet", pyarrow.parquet.read_table)):
        assert run("embed", trained, "--batch_size", 50, "--output", name) == 0
        table = reader(name)
        assert table.column_names == ["z0", "z1", "z2", "z3", "label"]
        assert table.column("label").to_pylist() == data.labels.tolist()
        found = np.stack([column.to_numpy() for column in table.columns[:4]], 1).astype(np.float32)
        np.testing.assert_array_equal(found, np.load("latents.npy"))
    assert run("embed", trained, "--output", "a.csv") == 2
    assert "'a.csv' exists already: choose another output" in capsys.readouterr().err
    assert run("embed", trained, "--codes", "--output", "c.npy") == 2
    assert "--codes: BetaVAEModel has no codes; only models with a quantizer do" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["spatial", "flat"])
def test_codes_and_latent_maps(tmp_path, monkeypatch, layout):
    monkeypatch.chdir(tmp_path)
    model = CODES.build(encoder_config="conv", decoder_config="conv", latent_layout=layout).eval()
    model.save_pretrained("model")
    x = images(12)
    np.save("x.npy", x.numpy())
    flags = ["embed", "model", "--dataset", "x.npy", "--split", "train", "--batch_size", 5]
    for words in (["--output", "z.npy"], ["--codes", "--output", "c.npy"], ["--codes", "--output", "c.parquet"]):
        assert run(*flags, *words) == 0
    train = load_images("x.npy", "train")[:]["pixel_values"]
    codes = model.encode_codes(train)
    np.testing.assert_allclose(np.load("z.npy"), model.embed(train), atol=1e-6)
    assert np.load("c.npy").dtype == np.int64
    np.testing.assert_array_equal(np.load("c.npy"), codes)
    table = pyarrow.parquet.read_table("c.parquet")  # without labels
    flat = codes.reshape(len(codes), -1)
    assert table.column_names == [f"c{index}" for index in range(flat.shape[1])]
    assert torch.equal(torch.tensor([column.to_pylist() for column in table.columns]).T, flat)


def test_usage_errors_are_found_before_the_model_is_loaded(capsys):
    assert run("embed", "no-such-model", "--output", "a.png") == 2
    message = "gae-hub embed: --output: expected a file that ends in .npy, .npz, .csv or .parquet, got 'a.png'"
    assert capsys.readouterr().err.startswith(message)


def test_a_model_without_a_run_needs_data(tmp_path, capsys):
    VAE.build().save_pretrained(tmp_path / "model")
    assert run("embed", tmp_path / "model", "--output", tmp_path / "a.npy") == 2
    assert "has no run.yaml that names its training data; pass --dataset" in capsys.readouterr().err
