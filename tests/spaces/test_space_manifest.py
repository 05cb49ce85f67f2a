"""Writing a Space into a folder: what is replaced, what stays, and which folders are left alone."""

import json
import os

import pytest

from gae_hub.core.files import write_text
from gae_hub.spaces.space_manifest import MANIFEST_FILE, read_manifest, replace_space, write_manifest


def write(folder, source, *files, text="new"):
    """Write a Space of these files into a folder."""
    with replace_space(folder, source) as staged:
        for name in files:
            write_text(staged / name, text)
        write_manifest(staged, "model a")


def read(folder):
    """Path to text of all files but the manifest."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in paths.items() if name != MANIFEST_FILE}


@pytest.fixture
def source(tmp_path):
    """A folder with a model."""
    folder = tmp_path / "source"
    write_text(folder / "config.json", "original")
    return folder


def test_files_of_an_earlier_space_are_replaced_and_others_stay(tmp_path, source):
    folder = tmp_path / "space"
    write(folder, source, "app.py", "model/a.json", "model/deep/b.json", "models/c.json", text="old")
    for name in (".env", "model/mine.txt"):
        write_text(folder / name, "mine")
    write(folder, source, "app.py", "model/a.json")
    assert read(folder) == {"app.py": "new", "model/a.json": "new", ".env": "mine", "model/mine.txt": "mine"}
    assert sorted(path.name for path in folder.rglob("*") if path.is_dir()) == ["model"]
    assert read_manifest(folder).files == ("app.py", "model/a.json") and read_manifest(folder).shows == "model a"


def test_the_card_of_the_earlier_space_can_be_merged(tmp_path, source):
    folder = tmp_path / "space"
    write(folder, source, "README.md", text="my words")
    with replace_space(folder, source) as staged:
        assert (staged / "README.md").read_text() == "my words"
        write_manifest(staged, "model a")


def test_an_error_leaves_the_earlier_space(tmp_path, source):
    folder, new = tmp_path / "space", tmp_path / "new"
    write(folder, source, "app.py", "model/a.json", text="old")
    for place in (folder, new):
        with pytest.raises(RuntimeError, match="stopped"), replace_space(place, source) as staged:
            write_text(staged / "app.py", "new")
            raise RuntimeError("stopped")
    assert read(folder) == {"app.py": "old", "model/a.json": "old"} and not new.exists()


def test_a_folder_that_is_no_space_is_left_alone(tmp_path, source):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", source, "app.py")  # an empty folder is accepted
    mine = {"model/weights.safetensors": "mine", "examples/a.npz": "mine", "figures/b.png": "mine"}
    for manifest in (None, "{}", "[]", '{"space": 1, "files": []}', '{"name": "my own space.json"}'):
        project = tmp_path / f"project-{manifest and len(manifest)}"
        for name in mine:
            write_text(project / name, "mine")
        if manifest is not None:
            (project / MANIFEST_FILE).write_text(manifest)
        with pytest.raises(ValueError, match="was not created by gae-hub space; choose another --output_dir"):
            write(project, source, "app.py", "model/a.json")
        assert read(project) == mine
    with pytest.raises(ValueError, match="is not a folder; choose another --output_dir"):
        write(tmp_path / "project-None" / "model" / "weights.safetensors", source, "app.py")


@pytest.mark.parametrize("place", [".", "..", "space", "../source/deep/space"])
def test_the_folder_of_the_model_is_left_alone(source, place):
    """Also a folder that contains it, or lies in it."""
    with pytest.raises(ValueError, match=r"overlaps with '.*', which it shows: choose another --output_dir"):
        write(source / place, source, "config.json")
    assert read(source) == {"config.json": "original"} and [path.name for path in source.iterdir()] == ["config.json"]


def test_links_to_other_folders_are_not_followed(tmp_path, source):
    folder = tmp_path / "space"
    write(folder, source, "app.py", text="old")
    (folder / "model").symlink_to(source)
    with pytest.raises(ValueError, match="lies outside '.*': remove the link, or choose another --output_dir"):
        write(folder, source, "app.py", "model/config.json")
    assert read(source) == {"config.json": "original"} and (folder / "app.py").read_text() == "old"


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "link.txt"])
def test_a_manifest_cannot_name_other_files(tmp_path, source, name):
    """It may be downloaded, and its files are published."""
    folder = tmp_path / "space"
    write(folder, source, "app.py")
    write_text(tmp_path / "secret.txt", "secret")
    os.symlink(tmp_path / "secret.txt", folder / "link.txt")
    (folder / MANIFEST_FILE).write_text(json.dumps({"space": "model a", "files": ["app.py", name]}))
    with pytest.raises(ValueError, match="lies outside"):
        read_manifest(folder)
    with pytest.raises(ValueError, match="lies outside"):
        write(folder, source, "app.py")
    assert (tmp_path / "secret.txt").read_text() == "secret"
