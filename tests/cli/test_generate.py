"""`gae-hub generate`: outputs, samplers and seeds."""

import json
import subprocess
import sys

import numpy as np
import pytest
from cases import VAE
from child_processes import TESTS, child_environment
from PIL import Image
from shell import run

from gae_hub import GAEImageProcessor, GenerationPipeline, load_data
from gae_hub.images.normalization import Normalization


def test_the_same_seed_gives_the_same_picture(trained, tmp_path, capsys):
    for output in ("a.png", "b.png"):
        assert run("generate", trained, "--num_samples", 9, "--output", tmp_path / output) == 0
    assert "9 images from GaussianMixtureSampler, saved to" in capsys.readouterr().out
    assert run("generate", trained, "--num_samples", 9, "--seed", 1, "--output", tmp_path / "c.png") == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c


def test_a_folder_of_images_from_the_prior(trained, tmp_path, capsys):
    flags = ["--num_samples", 3, "--output_dir", tmp_path / "each", "--sampler_name", "prior"]
    assert run("generate", trained, *flags) == 0
    with Image.open(tmp_path / "each" / "000002.png") as image:
        assert image.size == (8, 8) and len(list((tmp_path / "each").iterdir())) == 3
    assert "3 images from the model's prior" in capsys.readouterr().out


def test_the_default_output_is_a_picture(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("generate", trained, "--num_samples", 4) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]


@pytest.fixture
def table(tmp_path):
    """The folder of a model of tables with two columns."""
    model = VAE.build(input_shape=(2,))
    processor = GAEImageProcessor((2,), normalization=Normalization("unit", (5, 0), (1, 10)), column_names=["a", "b"])
    GenerationPipeline(model, processor=processor).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_table_is_generated_in_its_units(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for output in ("samples.npy", "a.csv", "a.parquet", "a.npz", "a.png"):
        assert (
            run("generate", table, "--num_samples", 9, *([] if output == "samples.npy" else ["--output", output])) == 0
        )
        assert f"9 rows from the model's prior, saved to {output}" in capsys.readouterr().out
    expected = GenerationPipeline.from_pretrained(table)(9, seed=0)
    assert 5 <= expected[:, 0].min() and expected[:, 0].max() <= 6 and expected[:, 1].max() > 1
    np.testing.assert_array_equal(np.load("samples.npy"), expected)
    np.testing.assert_array_equal(np.load("a.npz")["arr_0"], expected)
    for file in (load_data("a.csv"), load_data("a.parquet")):
        assert file.column_names == ("a", "b")
        np.testing.assert_array_equal(file.pixel_values, expected.astype(np.float32))
    with Image.open("a.png") as picture:
        assert min(picture.size) > 200
    assert run("generate", table, "--output", "a.csv") == 2
    assert "'a.csv' exists already: choose another output" in capsys.readouterr().err
    assert run("generate", table, "--output_dir", "b") == 2
    assert "examples of shape (2,) are not images" in capsys.readouterr().err


def test_the_default_picture_has_a_limit(trained, capsys):
    assert run("generate", trained, "--num_samples", 10_001) == 2
    assert "10001 examples do not fit into one picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--output a.png --output_dir b", "--output names a file and --output_dir a folder; pass one of them"),
        (
            "--output a",
            "--output: expected a picture such as samples.png, or a file that ends in .npy, .npz, .csv or .parquet, "
            "got 'a'; for a folder pass --output_dir",
        ),
        ("--output a.xyz", "--output: expected a picture such as samples.png, or a file that ends in .npy, .npz"),
        ("--format dataset", "--format dataset needs --output_dir"),
        ("--output_dir a --format npz", "--format: expected one of folder, dataset, got 'npz'"),
        (
            "--num_samples 1000000 --output a.png",
            "--num_samples: 1000000 examples do not fit into one picture (at most 10,000); pass --output_dir, or an "
            "--output that ends in .npy",
        ),
        ("--sampler maf", "unknown flag --sampler; did you mean --sampler_name?"),
    ],
)
def test_usage_errors_are_found_before_the_model_is_loaded(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("generate", "no-such-model", *words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"gae-hub generate: {message}") and err.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_is_completed_by_the_next_one(trained, tmp_path):
    """It leaves no file that is not complete, and the files of both runs are those of an undisturbed one."""
    process = subprocess.run(
        [sys.executable, str(TESTS / "killed_generate.py"), str(trained), str(tmp_path)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.strip().splitlines()[-1])
    assert {format: (result["statuses"], result["same"]) for format, result in found.items()} == dict.fromkeys(
        ("npz", "folder", "dataset"), ([0, -9, 0], True)
    )
    assert found["npz"]["left"] == [] and found["folder"]["left"] == [f"a/{index:06d}.png" for index in range(7)]
    assert found["dataset"]["left"] == ["a/data/train-00000-of-00003.parquet"]
