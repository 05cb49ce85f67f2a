"""Reading checkpoints: what is rejected before code runs or memory is allocated, and reading from the Hub."""

import zipfile
from pathlib import Path

import pytest
import torch
from localhub import LocalHub, point_clients_at
from pythae_checkpoints import images

from gae_hub import AutoGAE, VAEIAFModel


class Bomb:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_pickled_objects_are_not_loaded(altered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = altered("VAE")
    torch.save({"model_state_dict": Bomb()}, bomb / "model.pt")
    (bomb / "encoder.pkl").write_bytes(b"never read")
    with pytest.raises(ValueError, match="holds objects other than tensors, which could run code"):
        AutoGAE.from_pythae(bomb)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [[1], {"model_state_dict": [1]}, {"model_state_dict": {3: torch.ones(1)}}])
def test_weights_must_be_tensors_by_name(altered, content):
    folder = altered("VAE")
    torch.save(content, folder / "model.pt")
    with pytest.raises(ValueError, match="must hold tensors by name in 'model_state_dict'"):
        AutoGAE.from_pythae(folder)


@pytest.mark.parametrize(
    ("case", "settings", "message"),
    [
        ("VAE", {"latent_dim": 10**12}, r"do not match: latent_dim = 1,000,000,000,000"),
        ("VAE", {"input_dim": [10**9, 10**9]}, r"do not match: input_dim = 1,000,000,000"),
        ("VAE", {"input_dim": [1, 300_000, 300_000]}, "do not match: input_dim = 300,000"),
        ("VAE", {"input_dim": [1, 600, 600]}, r"needs an input_dim that fits its weights, got \[1, 600, 600\]"),
        ("VAE", {"input_dim": None}, "needs an input_dim that fits its weights, got None"),
        ("VAE", {"latent_dim": "4"}, "needs an integer latent_dim, got '4'"),
        ("VAMP", {"number_components": 10**15}, "number_components = 1,000,000,000,000,000"),
        ("VAE", {"name": "BertConfig"}, "expected the config of one of Pythae's methods"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_settings_that_do_not_fit(altered, case, settings, message):
    with pytest.raises(ValueError, match=message):
        AutoGAE.from_pythae(altered(case, settings))


def test_invalid_files(altered, tmp_path):
    folder = altered("VAE")
    (folder / "model_config.json").write_text("[" * 100)
    with pytest.raises(ValueError, match="is not valid JSON"):
        AutoGAE.from_pythae(folder)
    (folder / "model_config.json").write_text(" " * (1 << 21))
    with pytest.raises(ValueError, match="has 2,097,152 bytes, expected at most 1,048,576"):
        AutoGAE.from_pythae(folder)
    with pytest.raises(OSError, match="has no model_config.json, so it is not a Pythae checkpoint"):
        AutoGAE.from_pythae(tmp_path)


def test_small_files_with_large_tensors(altered):
    """Views without storage, one storage under many names, and a compressed archive."""
    view = {"encoder.layers.0.0.weight": torch.zeros(1).expand(40_000, 512)}
    with pytest.raises(
        ValueError, match=r"encoder.layers.0.0.weight of .* has shape \(40000, 512\), but fewer numbers"
    ):
        AutoGAE.from_pythae(altered("VAE", weights=view))
    one = torch.zeros(100_000)
    with pytest.raises(ValueError, match="the tensors of .* have .* bytes in total, but the file has"):
        AutoGAE.from_pythae(altered("VAE", weights={str(i): one for i in range(20)}))
    packed = altered("VAE", weights={"zeros": torch.zeros(10**6)}) / "model.pt"
    with zipfile.ZipFile(packed) as source:
        records = {record.filename: source.read(record) for record in source.infolist()}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in records.items():
            target.writestr(name, content)
    with pytest.raises(ValueError, match="bytes unpack to"):
        AutoGAE.from_pythae(packed.parent)


def test_shapes_are_compared_before_memory_is_allocated(altered, monkeypatch):
    wide, devices = altered("VAE_IAF", {"hidden_size": 5000}), set()
    setup = VAEIAFModel.setup
    monkeypatch.setattr(
        VAEIAFModel, "setup", lambda self, config: (devices.add(torch.empty(0).device.type), setup(self, config))
    )
    with pytest.raises(ValueError, match="do not fit a VAEIAFModel: flows.0.made.first.bias has shape"):
        AutoGAE.from_pythae(wide)
    assert devices == {"meta"}


def test_from_the_hub(checkpoints, tmp_path, monkeypatch):
    with LocalHub(users={"alice": {"token": "hf_alice"}}) as hub:
        for repo_id, files in (
            ("alice/vae", ("model_config.json", "model.pt")),
            ("alice/none", ("model_config.json",)),
            ("alice/broken", ("model_config.json", "model.pt")),
        ):
            hub.create_repo(repo_id)
            hub.commit(repo_id, {name: (checkpoints / "VAE" / name).read_bytes() for name in files})
        with point_clients_at(hub, tmp_path / "home", token=False):
            model = AutoGAE.from_pythae("alice/vae")
            with pytest.raises(OSError, match="'alice/none' has no model.pt"):
                AutoGAE.from_pythae("alice/none")
            monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
            for repo_id, file in (("alice/none", "model_config.json"), ("alice/broken", "model.pt")):
                hub.fail_next(None, status=503, match=file)
                with pytest.raises(OSError, match=rf"cannot load '{repo_id}': the Hub is unavailable \(503\)"):
                    with point_clients_at(hub, tmp_path / repo_id, token=False):
                        AutoGAE.from_pythae(repo_id)
                hub.clear_faults()
    x = images("VAE")
    assert torch.equal(model.reconstruct(x), AutoGAE.from_pythae(checkpoints / "VAE").reconstruct(x))
