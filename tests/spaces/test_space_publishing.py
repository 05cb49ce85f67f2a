"""Publishing a Space on a stand-in for the Hub: what is sent, and which Spaces are left alone."""

import json
import shutil

import pytest
import torch
from localhub import LocalHub, point_clients_at, read_card

from gae_hub import AutoGAE, BetaVAEConfig, BetaVAEModel, GenerationPipeline
from gae_hub.cli.main import main
from gae_hub.core.hub_errors import HubError
from gae_hub.spaces.example_sets import EXAMPLES_FILE
from gae_hub.spaces.explorer_loading import load_explorer, model_folder
from gae_hub.spaces.space_folder import write_space
from gae_hub.spaces.space_manifest import MANIFEST_FILE, read_manifest
from gae_hub.spaces.space_publishing import publish_space


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # retries at once
    with LocalHub(users={"alice": {"token": "hf_alice"}, "bob": "hf_bob"}) as server:
        yield server


@pytest.fixture
def alice(hub, tmp_path):
    with point_clients_at(hub, tmp_path / "home", token="hf_alice"):
        yield hub


def test_publishing(alice, space, trained):
    """One commit, and none if nothing changed. The repository is private if that is asked."""
    assert publish_space(space, "alice/demo", private=True)
    files = set(alice.files("alice/demo", "space"))
    assert files >= {
        "app.py",
        "README.md",
        "requirements.txt",
        "examples.npz",
        "model/model.safetensors",
        MANIFEST_FILE,
    }
    assert len(alice.log("alice/demo", "space")) == 2  # the Hub's own first commit, and ours
    assert alice.repos["space", "alice/demo"].private
    assert read_card(alice.read("alice/demo", "README.md", "space").decode())["sdk"] == "gradio"
    assert json.loads(alice.read("alice/demo", MANIFEST_FILE, "space"))["space"] == read_manifest(space).shows
    assert not publish_space(space, "alice/demo", private=True)
    assert len(alice.log("alice/demo", "space")) == 2


def test_a_change_is_published_and_added_text_is_kept(alice, space, tmp_path):
    folder = tmp_path / "space"
    shutil.copytree(space, folder)
    publish_space(folder, "alice/demo")
    card = alice.read("alice/demo", "README.md", "space") + b"\nWords of mine.\n"
    alice.commit("alice/demo", {"README.md": card}, repo_type="space")
    (folder / EXAMPLES_FILE).unlink()
    assert publish_space(folder, "alice/demo")
    assert EXAMPLES_FILE not in alice.files("alice/demo", "space")
    assert b"Words of mine." in alice.read("alice/demo", "README.md", "space")


def test_nothing_foreign_is_overwritten(alice, space):
    alice.create_repo("alice/mine", "space", sdk="gradio")
    alice.commit("alice/mine", {"app.py": b"print('mine')"}, repo_type="space")
    with pytest.raises(ValueError, match="the space 'alice/mine' exists and was not made by gae-hub space: choose"):
        publish_space(space, "alice/mine")
    publish_space(space, "alice/demo")
    with pytest.raises(ValueError, match="is public: make it private in its settings"):
        publish_space(space, "alice/demo", private=True)
    assert alice.read("alice/mine", "app.py", "space") == b"print('mine')"


def test_errors_of_the_hub_are_explained(alice, space):
    with pytest.raises(HubError, match=r"cannot publish to 'bob/demo': the token lacks this permission"):
        publish_space(space, "bob/demo")
    alice.fail_next(9, status=503, match="/commit/")
    with pytest.raises(HubError, match=r"cannot publish to 'alice/demo': the Hub is unavailable"):
        publish_space(space, "alice/demo")


def test_a_model_on_the_hub_is_named_and_pinned(alice, trained, tmp_path, capsys):
    """The Space downloads the model's commit when it is built, and reads it from the cache without a connection."""
    GenerationPipeline.from_pretrained(trained).push_to_hub("alice/betavae")
    arguments = ["space", "alice/betavae", "--dataset", "digits", "--push", "alice/demo", "--private"]
    assert main(arguments) == 0
    assert "published to https://huggingface.co/spaces/alice/demo" in capsys.readouterr().out
    commit = model_folder("alice/betavae").name
    card = read_card(alice.read("alice/demo", "README.md", "space").decode())
    assert card["models"] == ["alice/betavae"]
    name, files, pinned = card["preload_from_hub"][0].split()
    assert name == "alice/betavae" and pinned == commit and "sampler/model.safetensors" in files.split(",")
    assert card["thumbnail"] == "https://huggingface.co/spaces/alice/demo/resolve/main/thumbnail.png"
    assert f'launch_app("alice/betavae", revision="{commit}"' in alice.read("alice/demo", "app.py", "space").decode()
    assert not [file for file in alice.files("alice/demo", "space") if file.startswith("model/")]
    alice.fail_next(99, status=503)
    assert load_explorer(model_folder("alice/betavae", commit)).samplers.keys() == {"sampler", "prior"}


def save_model(folder, beta):
    BetaVAEModel(BetaVAEConfig(input_shape=(1, 8, 8), latent_dim=2, beta=beta)).save_pretrained(folder)
    return folder


def test_another_model_of_the_same_name_is_not_replaced(alice, tmp_path):
    """A model is recognised by its folder's name and its config, so that further training keeps its Space."""
    first, second = (save_model(tmp_path / name / "model", beta) for name, beta in (("a", 1.0), ("b", 4.0)))
    for model in (first, second):
        write_space(model, model.parent / "space")
    assert publish_space(tmp_path / "a" / "space", "alice/demo")
    with pytest.raises(ValueError, match=r"holds another space, 'model model, config \w{12}': choose another name"):
        publish_space(tmp_path / "b" / "space", "alice/demo")
    trained = AutoGAE.from_pretrained(first)
    with torch.no_grad():
        next(trained.parameters()).add_(1)
    trained.save_pretrained(first)
    config = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps({**config, "transformers_version": "99.0"}))
    write_space(first, tmp_path / "a" / "space")
    assert publish_space(tmp_path / "a" / "space", "alice/demo")
    assert len(alice.log("alice/demo", "space")) == 3


def test_models_on_the_hub_are_recognised_by_their_whole_name(alice, trained, tmp_path):
    for name in ("alice/model", "alice/other-model"):
        GenerationPipeline.from_pretrained(trained).push_to_hub(name)
        write_space(name, tmp_path / name)
    publish_space(tmp_path / "alice" / "model", "alice/demo")
    assert json.loads(alice.read("alice/demo", MANIFEST_FILE, "space"))["space"] == "model alice/model"
    with pytest.raises(ValueError, match="holds another space, 'model alice/model': choose another name"):
        publish_space(tmp_path / "alice" / "other-model", "alice/demo")


def test_a_study_does_not_replace_a_model_of_its_name(alice, study_space, tmp_path):
    write_space(save_model(tmp_path / "tiny", 1.0), tmp_path / "space")
    publish_space(tmp_path / "space", "alice/demo")
    with pytest.raises(ValueError, match="holds another space, 'model tiny, config"):
        publish_space(study_space, "alice/demo")


def test_only_files_of_the_space_are_published(alice, space, tmp_path):
    folder = tmp_path / "space"
    shutil.copytree(space, folder)
    (folder / ".env").write_text("HF_TOKEN=hf_secret")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.pyc").write_bytes(b"code")
    (folder / "model" / "notes.txt").write_text("mine")
    publish_space(folder, "alice/demo")
    published = set(alice.files("alice/demo", "space")) - {".gitattributes"}
    assert published == {*read_manifest(space).files, MANIFEST_FILE}
    with pytest.raises(ValueError, match="was not created by gae-hub space"):
        publish_space(tmp_path, "alice/other")
