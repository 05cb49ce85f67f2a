"""Files are written completely or not at all: on a full disk, after an error, and in a killed process."""

import ast
import builtins
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from stat import S_IMODE

import numpy as np
import pytest
import torch
from cases import VAE, images
from fuzzing import check_reading, safetensors_variants
from shell import run

import gae_hub
from gae_hub import GaussianMixtureSampler, GenerationPipeline, embed_dataset
from gae_hub.cli.run_record import write_run_record
from gae_hub.core.files import (
    TEMPORARY_PREFIX,
    load_cached_tensors,
    remove_leftovers,
    save_tensors,
    temporary_prefix,
    write_atomically,
    write_json,
    write_text,
)
from gae_hub.core.hub_errors import HubError
from gae_hub.hub.cards.merging import BEGIN, END, write_merged
from gae_hub.hub.cards.results import record_results
from gae_hub.images.curves import save_loss_curves
from gae_hub.images.grids import image_grid, save_picture
from gae_hub.images.processing import GAEImageProcessor
from gae_hub.training.checkpointing import save_tree

RESULTS = {"dataset": "digits", "split": "test", "metrics": {"mse": 0.1}}


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), write_atomically(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".txt"
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1} and list(path.parent.iterdir()) == [path]


def test_links_and_devices(tmp_path):
    """A link is replaced, so that a blob of the Hub's cache keeps its content; a device is written."""
    (tmp_path / "blob").write_text("blob")
    (tmp_path / "link").symlink_to("blob")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "blob").read_text() == "blob" and (tmp_path / "link").read_text() == "text"
    write_text("/dev/null", "text")
    assert not Path("/dev/null").is_file()


# A full disk


class FullFile:
    """A file on a disk that is full after a few bytes."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        self.file.write(content[:5])
        self.file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def fill_disk(monkeypatch):
    """A function after whose call every file that Python opens for writing is a `FullFile`."""
    real = builtins.open

    def open_full(file, mode="r", *args, **kwargs):
        opened = real(file, mode, *args, **kwargs)
        return FullFile(opened) if set(mode) & set("wxa") else opened

    def fill():
        monkeypatch.setattr(builtins, "open", open_full)
        monkeypatch.setattr(io, "open", open_full)

    return fill


def write_samples(path: Path):
    save_picture(image_grid(images(4)), path)


def write_npz(path: Path):
    GenerationPipeline(VAE.build()).write(path, 4, seed=0, format="npz", progress=False)


WRITERS = {
    "README.md": lambda path: write_merged(path, f"---\ntags: [a]\n---\n{BEGIN}\nnew\n{END}\n"),
    "results.json": lambda path: record_results(VAE.build(), path.parent, RESULTS),
    "run.yaml": lambda path: write_run_record(path.parent, {"model": "vae"}),
    "preprocessor_config.json": lambda path: GAEImageProcessor((1, 8, 8)).save_pretrained(path.parent),
    "samples.png": write_samples,
    "loss.png": lambda path: save_loss_curves([{"loss": 1.0, "epoch": 1}], path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(name, tmp_path, fill_disk):
    path = tmp_path / name
    path.write_text(f"---\nlicense: mit\n---\n{BEGIN}\n{END}\nA user's text.")
    before = path.read_bytes()
    fill_disk()
    with pytest.raises(HubError, match=rf"^cannot write '.*{name}': the disk is full; existing files are unchanged"):
        WRITERS[name](path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_part_of_an_npz_file(tmp_path, fill_disk):
    fill_disk()
    with pytest.raises(HubError, match="the disk is full"):
        write_npz(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


# Permissions


@pytest.fixture
def umask():
    """A umask that gives new files 0640 and new folders 0750."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_permissions_follow_the_umask(tmp_path, umask):
    model, sampler = VAE.build(), GaussianMixtureSampler(num_components=2)
    model.facts = {"log": [{"loss": 1.0, "epoch": 1, "step": 1}]}
    GenerationPipeline(model, sampler.fit(torch.randn(50, *model.latent_shape))).save_pretrained(tmp_path / "model")
    record_results(model, tmp_path / "model", RESULTS)
    write_run_record(tmp_path / "model", {"model": "vae"})
    save_tree({"a": torch.ones(1)}, tmp_path / "optimizer.safetensors")
    embed_dataset(model, images(4), progress=False, cache=tmp_path / "cache")
    for name, format in (("a.npz", "npz"), ("pictures", "folder"), ("data", "dataset")):
        GenerationPipeline(model).write(tmp_path / name, 2, seed=0, format=format, progress=False)
    modes = {str(path.relative_to(tmp_path)): S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    expected = {name: 0o750 if (tmp_path / name).is_dir() else 0o640 for name in modes}
    assert modes == expected
    assert {"model/model.safetensors", "model/sampler/model.safetensors", "model/README.md"} <= modes.keys()


# Caches


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other tensors"])
def test_a_damaged_cache_is_computed_again(damage, tmp_path, caplog):
    data = images(6)
    expected = embed_dataset(VAE.build(), data, progress=False, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    if damage == "other tensors":
        save_tensors(file, {"other": torch.ones(1)})
    else:
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"{}" * 50}[damage])
    assert torch.equal(embed_dataset(VAE.build(), data, progress=False, cache=tmp_path), expected)
    assert f"ignoring the cache file '{file}'" in caplog.text and file.read_bytes() == content
    assert load_cached_tensors(tmp_path / "missing") is None


def test_odd_caches(tmp_path):
    data = images(6)
    expected = embed_dataset(VAE.build(), data, progress=False, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    # the values in a cache are trusted
    variants = [pair for pair in safetensors_variants(file.read_bytes()) if "full of" not in pair[0]]

    def read():
        torch.testing.assert_close(embed_dataset(VAE.build(), data, progress=False, cache=tmp_path), expected)

    outcomes = check_reading(file, variants, read, allowed=())
    assert outcomes == {"read": len(variants)} and len(variants) > 30


# Killed processes


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    """Saving a model removes files and folders of dead processes; those of running ones and of other machines stay."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    prefix = temporary_prefix()
    of_dead = tmp_path / prefix.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    of_dead.with_name(f"{of_dead.name}a.npz").write_text("half")
    of_dead.with_name(f"{of_dead.name}b").mkdir()
    (of_dead.with_name(f"{of_dead.name}b") / "model.safetensors").write_text("half")
    other_machine = tmp_path / f"{TEMPORARY_PREFIX}01234567-{dead.pid}-a"
    other_machine.write_text("half")
    with write_atomically(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        VAE.build().save_pretrained(tmp_path)
        assert set(tmp_path.glob(f"{TEMPORARY_PREFIX}*")) == {temporary, other_machine}
    remove_leftovers(tmp_path)
    assert other_machine.exists()


# The kind


# calls of other libraries that write a file
WRITES = re.compile(r"(.*\.)?(save|savefig|savez|to_parquet|write_bytes)|.+\.write_text|save_file|zipfile\.ZipFile")
CALLERS = {
    "hub/code_export.py": "works in the temporary folder of save_pretrained",
    "training/checkpoint_mixin.py": "saves an average by save_tree",
}


def test_every_writer_gets_a_temporary_path():
    """Calls in src/ that write a file have a path from `write_atomically`, which is called temporary."""
    source, faults = Path(gae_hub.__file__).parent, []
    for path in source.rglob("*.py"):
        place = str(path.relative_to(source))
        for node in ast.walk(ast.parse(path.read_text())) if place not in CALLERS else ():
            if isinstance(node, ast.Call) and WRITES.fullmatch(ast.unparse(node.func)):
                names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
                reads = ast.unparse(node) == "zipfile.ZipFile(path)"
                if not reads and not names & {"temporary", "buffer"}:
                    faults.append(f"{place}: {ast.unparse(node)[:60]}")
    assert not faults, "\n".join(faults)


def test_commands_write_no_file_in_place(trained, tmp_path, monkeypatch):
    """No file in a finished model's folder is opened for writing."""
    folder, written, real = tmp_path / "model", [], builtins.open
    shutil.copytree(trained, folder)

    def watched_open(file, mode="r", *args, **kwargs):
        if set(mode) & set("wxa") and str(file).startswith(str(folder)):
            written.append(str(file))
        return real(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", watched_open)
    monkeypatch.setattr(io, "open", watched_open)
    assert run("fit-sampler", folder, "--num_components", 2) == 0
    assert run("evaluate", folder, "--metrics", "mse", "--output", folder / "more.json") == 0
    for flags in (["--output", folder / "a.png"], ["--output", folder / "a.npz"], ["--output_dir", folder / "png"]):
        assert run("generate", folder, "--num_samples", 2, *flags) == 0
    assert len(written) > 10 and [path for path in written if f"/{TEMPORARY_PREFIX}" not in path] == []
    assert np.load(folder / "a.npz")["arr_0"].shape == (2, 8, 8)
