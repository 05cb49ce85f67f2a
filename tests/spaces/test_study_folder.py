"""The folder of a study's Space: what is written, and what is left out."""

import re
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image
from spaces.study_cases import METHODS, decode

from gae_hub.cli.main import main
from gae_hub.hub.cards.front_matter import read_metadata
from gae_hub.spaces.comparison import Comparison
from gae_hub.spaces.study_folder import write_study_space
from gae_hub.spaces.study_record import read_record
from gae_hub.study import StudyResults, load_results


def test_folder_is_small_complete_and_pinned(study_space, study):
    metadata = read_metadata((study_space / "README.md").read_text(encoding="utf-8"))
    requirements = dict(
        re.split("==", line) for line in (study_space / "requirements.txt").read_text().splitlines() if "==" in line
    )
    assert metadata["sdk"] == "gradio" and metadata["sdk_version"] == requirements["gradio"]
    assert metadata["app_file"] == "app.py" and metadata["suggested_hardware"] == "cpu-basic"
    assert len(metadata["short_description"]) <= 60 and "models" not in metadata
    assert sum(file.stat().st_size for file in study_space.rglob("*") if file.is_file()) < 1e6
    assert "launch_study_app" in (study_space / "app.py").read_text()
    for cell in read_record(study_space).results.cells:
        assert cell.folder is None or (cell.folder / "model.safetensors").is_file()


def test_thumbnail_shows_each_method(study_space, views):
    picture = Image.open(study_space / "thumbnail.png")
    assert picture.size == (1200, 630)
    edge = (630 - 160 - 40 - 24) // 3
    for index, method in enumerate(METHODS):
        row = views.reconstruct([index], methods=[method])[0]
        tile = Image.fromarray(decode(row["images"][0])).convert("RGB").resize((edge, edge), Image.Resampling.NEAREST)
        left = 60 + index * (edge + 12)
        assert np.array_equal(np.asarray(picture.convert("RGB").crop((left, 160, left + edge, 160 + edge))), tile)


def test_a_published_space_names_its_thumbnail(study, tmp_path):
    root = write_study_space(study, tmp_path / "space", repo_id="user/demo")
    metadata = read_metadata((root / "README.md").read_text(encoding="utf-8"))
    assert metadata["thumbnail"] == "https://huggingface.co/spaces/user/demo/resolve/main/thumbnail.png"


def test_record_has_every_number_and_passport(study_space, study):
    stored, results = read_record(study_space).results, load_results(study)
    assert [replace(cell, folder=None) for cell in stored.cells] == [
        replace(cell, folder=None) for cell in results.cells
    ]
    for part in fields(StudyResults):
        assert part.name == "cells" or getattr(stored, part.name) == getattr(results, part.name)


def test_writing_again_gives_the_same_files(study_space, study, tmp_path):
    again = tmp_path / "again"
    for _ in range(2):
        write_study_space(study, again)
    first, second = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (study_space, again)
    )
    assert first == second


def test_published_models_are_named_and_not_copied(study, tmp_path):
    root = write_study_space(study, tmp_path / "space", published="user/tiny")
    metadata = read_metadata((root / "README.md").read_text(encoding="utf-8"))
    assert metadata["models"] == metadata["preload_from_hub"] and "user/tiny-ae-01" in metadata["models"]
    assert metadata["datasets"] == ["user/tiny-results"] and not list(root.rglob("*.safetensors"))
    model = next(model for model in read_record(root).models.values() if model.source == "user/tiny-ae-01")
    assert model.is_published and sorted(model.samplers) == ["gmm", "normal"]
    assert "sampler" in model.samplers.values()


def test_errors_say_what_to_do(study, study_space, tmp_path):
    with pytest.raises(ValueError, match="publish them with gae-hub study publish, and name them with --published"):
        write_study_space(study, tmp_path / "space", max_model_bytes=1000)
    with pytest.raises(ValueError, match="holds no study's Space: write it with gae-hub space STUDY_FOLDER"):
        read_record(tmp_path)
    (tmp_path / "results.json.gz").write_bytes((study_space / "results.json.gz").read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read: .*; write the Space again"):
        read_record(tmp_path)


def test_models_that_are_no_longer_chosen_are_removed(study, study_space, tmp_path):
    """Files that were added to the folder stay."""
    folder = tmp_path / "space"
    shutil.copytree(study_space, folder)
    (folder / "notes.txt").write_text("mine")
    write_study_space(study, folder, published="user/tiny")
    assert not list(folder.rglob("*.safetensors")) and list(folder.glob("models/*/pictures/*.png"))
    assert (folder / "notes.txt").read_text() == "mine"


def test_other_folders_are_not_written_to(study, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.safetensors").write_text("mine")
    with pytest.raises(ValueError, match=r"was not created by gae-hub space; choose another --output_dir"):
        write_study_space(study, tmp_path)
    with pytest.raises(ValueError, match=r"overlaps with '.*', which it shows: choose another --output_dir"):
        write_study_space(study, study.root / "space")
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "mine.safetensors"]


def test_images_with_other_values_are_left_out_with_a_warning(study, tmp_path, monkeypatch, caplog):
    def check(processor, pixel_values, origin):
        raise ValueError(f"its examples ({origin}) have values from 0 to 4000")

    monkeypatch.setattr("gae_hub.spaces.study_folder.check_pixels", check)
    root = write_study_space(study, tmp_path / "space", repo_id="user/demo")
    assert Comparison(root).setups == [] and not (root / "thumbnail.png").exists()
    assert "the Space shows no images of the data set 'digits': its examples (test split of digits)" in caplog.text


def test_flags_of_models_are_rejected(study, capsys):
    """A study has its own data."""
    for flags in (["--dataset", "digits"], ["--split", "test"]):
        assert main(["space", str(study.root), *flags]) == 2
        assert "--dataset and --split need a model: the Space of a study shows test images" in capsys.readouterr().err
