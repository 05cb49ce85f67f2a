"""`gae-hub reconstruct`: pictures and files, in the units of the data."""

import numpy as np
import pytest
import torch
from cases import VAE, generator
from PIL import Image
from shell import run

from gae_hub import AutoGAE, GAEImageProcessor, GenerationPipeline, load_data, load_images
from gae_hub.images.examples import draw_reconstructions
from gae_hub.images.normalization import Normalization


def picture_bytes(path):
    with Image.open(path) as picture:
        return picture.tobytes()


def test_images(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, x = AutoGAE.from_pretrained(trained), load_images("digits", "test")[:]["pixel_values"]
    assert run("reconstruct", trained, "--batch_size", 7) == 0
    assert "24 images of digits, test, reconstructed and saved to reconstructions.png" in capsys.readouterr().out
    expected = draw_reconstructions(x[:24], model.reconstruct(x[:24]))
    assert picture_bytes("reconstructions.png") == expected.tobytes()
    assert run("reconstruct", trained, "--num_samples", 5, "--output", "a.npz") == 0
    found = np.load("a.npz")["arr_0"]
    assert found.shape == (5, 8, 8) and found.dtype == np.uint8
    assert run("reconstruct", trained, "--split", "train", "--output", "a.npy", "--num_samples", 100_000) == 0
    train = load_images("digits", "train")[:]["pixel_values"]
    found = np.load("a.npy")
    np.testing.assert_allclose(found, model.reconstruct(train), atol=1e-6)
    assert f"{len(train)} images of digits, train" in capsys.readouterr().out


@pytest.fixture
def signals(tmp_path, monkeypatch):
    """A folder with a file of signals and a model of them."""
    monkeypatch.chdir(tmp_path)
    x = 100 * torch.rand(40, 2, 16, generator=generator())
    np.save("x.npy", x.numpy())
    processor = GAEImageProcessor((2, 16), normalization=Normalization("unit", (0, 0), (100, 100)))
    GenerationPipeline(VAE.build(input_shape=(2, 16)), processor=processor).save_pretrained("model")
    return x


def test_signals_in_their_units(signals, capsys):
    model = AutoGAE.from_pretrained("model")
    flags = ["reconstruct", "model", "--dataset", "x.npy"]
    assert run(*flags, "--split", "train", "--output", "a.npy") == 0
    data = load_data("x.npy", "train", normalize=Normalization("unit", (0, 0), (100, 100)))
    expected = 100 * model.reconstruct(data[:]["pixel_values"]).double()
    np.testing.assert_allclose(np.load("a.npy"), expected, rtol=1e-6)
    assert np.load("a.npy").shape == (36, 2, 16)
    assert run(*flags, "--output", "a.png") == 0
    out = capsys.readouterr().out
    assert "has no split 'test': using the validation split" in out and "4 signals of x.npy, validation" in out
    validation = load_data("x.npy", "validation", normalize=data.normalization)[:]["pixel_values"]
    pair = (100 * validation.double(), 100 * model.reconstruct(validation).double())
    assert picture_bytes("a.png") == draw_reconstructions(*pair).tobytes()
    assert run(*flags, "--output", "a.csv") == 2
    assert "have shape (2, 16): write .npy or .npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--output a", "--output: expected a picture such as samples.png, or a file that ends in .npy, .npz, .csv"),
        ("--num_samples 20000", "--num_samples: 20000 examples do not fit into one picture (at most 10,000); pass an"),
        ("--num_samples 0", "--num_samples: expected 1 or more, got 0"),
    ],
)
def test_usage_errors_are_found_before_the_model_is_loaded(words, message, capsys):
    assert run("reconstruct", "no-such-model", *words.split()) == 2
    assert capsys.readouterr().err.startswith(f"gae-hub reconstruct: {message}")
