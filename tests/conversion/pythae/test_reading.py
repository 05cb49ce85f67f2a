"""Reading checkpoints: what is rejected before code runs or memory is allocated, and reading from the Hub."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from fuzzing import broken_texts, check_reading, json_variants, sample
from localhub import LocalHub, point_clients_at
from pythae_checkpoints import CASES, images

from gae_hub import AutoGAE, VAEIAFModel
from gae_hub.conversion.pythae import reading
from gae_hub.conversion.pythae.methods import METHODS
from gae_hub.conversion.pythae.reading import read_checkpoint

NUM_VARIANTS = 35  # of the settings of each method; there are about 100


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
        ("VAE", {"latent_dim": "4"}, "needs an integer latent_dim above 0, got '4'"),
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


def test_odd_settings(checkpoints, monkeypatch):
    """Each value of each case's settings is replaced or removed: an error of one sentence, or a conversion."""
    read_weights, outcomes = reading._read_weights, Counter()
    cases = {method: case for case, (method, _, _) in CASES.items() if "input_dim" not in CASES[case][1]}
    assert cases.keys() == METHODS.keys()
    for case in cases.values():
        file = checkpoints / case / "model_config.json"
        weights = read_weights(checkpoints / case / "model.pt")
        monkeypatch.setattr(reading, "_read_weights", lambda path, weights=weights: dict(weights))

        def convert(case=case):
            checkpoint = read_checkpoint(checkpoints / case, METHODS)
            METHODS[checkpoint.method][1](checkpoint)

        variants = [*broken_texts(file.read_text()), *json_variants(json.loads(file.read_text()), NUM_VARIANTS)]
        outcomes += check_reading(file, variants, convert)
        outcomes += check_reading(file, sample(variants, 1), lambda case=case: AutoGAE.from_pythae(checkpoints / case))
    assert outcomes["rejected"] > 500 and outcomes["read"] > 50, outcomes


def test_missing_and_odd_settings_are_named(altered):
    folder = altered("WAE_MMD")
    settings = json.loads((folder / "model_config.json").read_text())
    for content, message in (
        (
            {key: settings[key] for key in settings if key != "kernel_choice"},
            "has no 'kernel_choice', expected a string",
        ),
        ({**settings, "reg_weight": "5"}, "has reg_weight = '5', expected a number"),
        (
            {**settings, "reconstruction_loss_scale": 0},
            "has reconstruction_loss_scale = 0.0, expected a number above 0",
        ),
        ({**settings, "reg_weight": -1.0}, "has a value that a wae_mmd cannot have: mmd_weight must be 0 or more"),
    ):
        (folder / "model_config.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            AutoGAE.from_pythae(folder)
