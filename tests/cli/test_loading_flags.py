"""The flags that load images: --image_size with one or two values, --on_error, and hints in the shell's spelling."""

import pytest
from builders import pixels
from PIL import Image
from shell import run

from gae_hub import AutoGAE
from gae_hub.cli.flags import IMAGE_SIZE
from gae_hub.cli.main import make_parser
from gae_hub.cli.run_record import RUN_FILE, find_data
from gae_hub.core.yaml_files import load_yaml

QUICK = ["--model", "ae", "--latent_dim", 2, "--num_train_epochs", 1, "--disable_tqdm", "true"]


@pytest.fixture
def folder(tmp_path):
    """20 PNG files, one of which is damaged and one is of another size."""
    data = tmp_path / "data"
    data.mkdir()
    for index, array in enumerate(pixels(20)):
        Image.fromarray(array).save(data / f"{index:02d}.png")
    Image.fromarray(pixels(1, (9, 9))[0]).save(data / "05.png")
    (data / "03.png").write_text("not an image")
    return data


def test_height_and_width_and_skipped_files(folder, tmp_path, caplog):
    out = tmp_path / "out"
    words = ["--image_size", 4, 6, "--on_error", "skip"]
    assert run("train", "--dataset", folder, "--output_dir", out, *QUICK, *words) == 0
    assert AutoGAE.from_pretrained(out).config.input_shape == (1, 4, 6)
    assert sum("skipped 1 of" in record.message for record in caplog.records) == 1
    flags = load_yaml((out / RUN_FILE).read_text())
    assert flags["image_size"] == [4, 6] and flags["on_error"] == "skip"
    _, loading = find_data(str(out), None)
    assert loading["image_size"] == [4, 6] and loading["on_error"] == "skip"
    again = ["train", "--config", out / RUN_FILE, "--output_dir", tmp_path / "again"]
    assert run(*again) == 0 and AutoGAE.from_pretrained(tmp_path / "again").config.input_shape == (1, 4, 6)


def test_hints_are_spelled_as_flags(folder, tmp_path, capsys):
    train = ["train", "--dataset", folder, "--output_dir", tmp_path / "out", *QUICK]
    assert run(*train) == 2
    assert "or skip such examples with --on_error skip" in capsys.readouterr().err
    assert run(*train, "--on_error", "skip") == 2
    assert "; pass --image_size to resize them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"), [(["28"], 28), (["28", "32"], [28, 32]), ([], None)], ids=["one", "two", "none"]
)
def test_image_size(words, expected):
    args = make_parser("train-extractor").read(["--image_size", *words] if words else [])
    assert args.image_size == expected
    if words:
        assert IMAGE_SIZE.read([int(word) for word in words]) == expected  # a list in a YAML file


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["28", "32", "3"], "--image_size: expected 2 values at most, got 3"),
        (["0", "4"], "--image_size: expected 1 or more, got 0"),
        (["wide"], "--image_size: expected an integer, got 'wide'"),
    ],
)
def test_wrong_image_size(words, message, capsys):
    assert run("train-extractor", "--image_size", *words) == 2
    assert message in capsys.readouterr().err
