"""Import of Pythae's checkpoints: the same numbers as Pythae 0.1.2 on the same input and noise, where it is right."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from pythae_checkpoints import BATCH, CASES, LATENT, SEED, images
from safetensors.torch import load_file
from torch import nn

from gae_hub import AutoGAE, VAEIAFModel
from gae_hub.cli.main import main

WHOLE_LOSS = {  # the methods whose loss is right in Pythae, with our names of its terms
    "AE": {},
    "VAE": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VAE-bce": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "BetaVAE": {"recon_loss": "reconstruction"},
    "DisentangledBetaVAE": {"recon_loss": "reconstruction"},
    "BetaTCVAE": {"recon_loss": "reconstruction"},
    "INFOVAE_MMD": {"recon_loss": "reconstruction", "reg_loss": "kl", "mmd_loss": "mmd"},
    "WAE_MMD": {"mmd_loss": "mmd"},
    "IWAE-1": {},
    "CIWAE": {},
    "VAMP": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VAE_LinNF": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VAE_IAF": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VAE_IAF-narrow": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "Adversarial_AE": {"discriminator_loss": "discriminator"},
    "Adversarial_AE-point": {"discriminator_loss": "discriminator"},
    "VQVAE": {"recon_loss": "reconstruction"},
    "VQVAE-ema": {"recon_loss": "reconstruction"},
    "PoincareVAE": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VAE-conv": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VAE-resnet": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "VQVAE-resnet": {"recon_loss": "reconstruction"},
}
TERMS = {  # those of which a part is right: our names of Pythae's terms
    "BetaTCVAE-mss": {"recon_loss": "reconstruction"},
    "IWAE": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "MIWAE": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "PIWAE": {"recon_loss": "reconstruction", "reg_loss": "kl"},
    "MSSSIM_VAE": {},
    "SVAE": {"reg_loss": "kl"},
    "SVAE-resnet": {"reg_loss": "kl"},
    "RAE_L2": {"recon_loss": "reconstruction", "embedding_loss": "embedding"},
    "RAE_GP": {"recon_loss": "reconstruction", "embedding_loss": "embedding"},
}
OTHER_DRAWS = {"SVAE", "SVAE-resnet", "PoincareVAE-riemannian", "HVAE", "RHVAE", "VAE_IAF-odd", "FactorVAE"} | {
    "VAE_LinNF-singular"
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pythae")
    script = Path(__file__).parents[1] / "pythae_checkpoints.py"
    subprocess.run([sys.executable, "-W", "ignore", script, folder], check=True, capture_output=True)
    return folder


def differences(folder: Path, case: str) -> dict[str, float]:
    """The largest difference of each part that must be equal, relative to its size where that is above 1."""
    x, expected = images(case), load_file(folder / f"{case}.safetensors")
    model = AutoGAE.from_pythae(folder / case)
    if "dataset_size" in CASES[case][2]:
        model.config.dataset_size = CASES[case][2]["dataset_size"]
    found: dict[str, float] = {}

    def compare(name: str, ours, theirs):
        theirs = theirs.mean() if torch.as_tensor(ours).dim() == 0 else theirs
        difference = (torch.as_tensor(ours).detach() - theirs).abs() / theirs.abs().clamp(min=1)
        found[name] = difference.max().item()

    posterior = model.encode(x)
    posterior = getattr(posterior, "base", posterior)
    mean, theirs = posterior.mean, expected["encoder.embedding"]
    if case.startswith("SVAE"):
        theirs = theirs / theirs.norm(dim=-1, keepdim=True)
        compare(
            "concentration", posterior.concentration, nn.functional.softplus(expected["encoder.log_concentration"]) + 1
        )
    elif case.startswith("PoincareVAE"):
        mean = model.to_ball(mean)
    elif case == "VAE_IAF-odd":
        theirs = theirs.flip(1)
    compare("mean", mean, theirs)
    if "encoder.log_covariance" in expected and case not in ("Adversarial_AE-point", "VAE_IAF-odd"):
        compare("log variance", posterior.log_var, expected["encoder.log_covariance"])
    at = posterior.mean if case.startswith("PoincareVAE") else expected["at"]
    compare("decoded", model.decode(at), expected["decoded"])
    if "discriminator" in expected:
        answer, theirs = model.discriminator(expected["at"]), expected["discriminator"]
        odds = theirs[:, 0] - theirs[:, 1] if theirs.shape[1] == 2 else theirs.squeeze(1)
        compare("discriminator", answer if theirs.shape[1] == 2 else answer.sigmoid(), odds)
    if "inverse_metric" in expected:
        compare("inverse metric", model.metric().inverse(expected["at"]), expected["inverse_metric"])
    if case in OTHER_DRAWS:
        if case.startswith("SVAE"):
            compare("reg_loss", posterior.kl().mean(), expected["reg_loss"])
        return found
    torch.manual_seed(SEED)
    if case == "Adversarial_AE-point":
        torch.randn(BATCH, LATENT)  # which Pythae draws, and does not use
    output = model(x)
    terms = {**output.losses, **(output.metrics or {})}
    compare("reconstruction", output.reconstruction, expected["recon_x"])
    if not case.startswith("PoincareVAE"):
        compare("latents", output.latents, expected["z"])
    for theirs, ours in {**WHOLE_LOSS, **TERMS}.get(case, {}).items():
        compare(theirs, terms[ours], expected[theirs])
    if case in WHOLE_LOSS:
        compare("loss", output.loss, expected["loss"])
    if case == "VAEGAN":
        compare("encoder_loss", terms["kl"] + terms["feature"], expected["encoder_loss"])
    if case == "MSSSIM_VAE":
        compare("reg_loss", terms["kl"], expected["reg_loss"])
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_pythae(case, checkpoints):
    found = differences(checkpoints, case)
    assert {"mean", "decoded"} <= found.keys() and (case not in WHOLE_LOSS or "loss" in found)
    # planar steps: Pythae adds 1e-4 inside of the logarithm; distances in the ball are clamped there
    least = 3e-4 if case in ("VAE_LinNF", "PoincareVAE") else 2e-5
    assert max(found.values()) < least, found


def test_every_method_is_tried():
    from gae_hub.conversion.pythae.methods import METHODS

    assert METHODS.keys() == {method for method, _, _ in CASES.values()} and len(METHODS) == 25


def test_factor_vae_on_the_half_of_the_batch_that_pythae_uses(checkpoints):
    model, expected = AutoGAE.from_pythae(checkpoints / "FactorVAE"), load_file(checkpoints / "FactorVAE.safetensors")
    torch.manual_seed(SEED)
    order = torch.randperm(BATCH)
    half = images("FactorVAE")[order[BATCH // 2 :]]
    output = model(half)
    loss = sum(output.losses[name] for name in ("reconstruction", "kl")) + 3.0 * output.losses["total_correlation"]
    assert torch.allclose(loss, expected["autoencoder_loss"], rtol=1e-5)
    assert torch.allclose(output.reconstruction, expected["recon_x"], atol=1e-6)


def test_a_flow_without_an_inverse_is_said(checkpoints):
    notes = AutoGAE.from_pythae(checkpoints / "VAE_LinNF-singular").facts["imported"]["notes"]
    assert any("had no inverse" in note for note in notes)


def test_the_model_can_be_saved_and_trained_on(checkpoints, tmp_path):
    assert main(["convert", "--from_pythae", str(checkpoints / "VAMP"), "--output_dir", str(tmp_path / "vamp")]) == 0
    again, first = AutoGAE.from_pretrained(tmp_path / "vamp"), AutoGAE.from_pythae(checkpoints / "VAMP")
    x = images("VAMP")
    assert torch.equal(again.reconstruct(x), first.reconstruct(x))
    assert "Pythae's VAMP" in (tmp_path / "vamp" / "README.md").read_text()
    again.train()(x).loss.backward()
    assert all(parameter.grad is not None for parameter in again.parameters())


class Trunk(nn.Module):
    """The default encoder without its heads, by the names that Pythae has for its layers."""

    def __init__(self, width: int = 512):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(64, width), nn.ReLU())])

    def forward(self, pixel_values):
        return self.layers[0](pixel_values.flatten(1))


def altered(source: Path, folder: Path, settings: dict | None = None, weights: dict | None = None) -> Path:
    """A copy of a checkpoint with other settings or tensors; a tensor of None is left out."""
    folder.mkdir()
    content = torch.load(source / "model.pt", weights_only=True)
    content["model_state_dict"].update(weights or {})
    content["model_state_dict"] = {k: v for k, v in content["model_state_dict"].items() if v is not None}
    torch.save(content, folder / "model.pt")
    config = json.loads((source / "model_config.json").read_text())
    (folder / "model_config.json").write_text(json.dumps({**config, **(settings or {})}))
    return folder


def test_a_network_of_ones_own(checkpoints):
    model = AutoGAE.from_pythae(checkpoints / "VAE", encoder=Trunk())
    expected = load_file(checkpoints / "VAE.safetensors")
    assert torch.allclose(model.embed(images("VAE")), expected["encoder.embedding"])
    with pytest.raises(ValueError, match=r"(?s)does not map onto Trunk.*Only in the checkpoint:\n  layers.0.0.weight"):
        AutoGAE.from_pythae(checkpoints / "VAE", encoder=Trunk(100))


def test_an_unknown_network_is_listed(checkpoints, tmp_path, capsys):
    folder = altered(checkpoints / "VAE", tmp_path / "own", weights={"encoder.layers.1.0.weight": torch.ones(3, 3)})
    with pytest.raises(ValueError, match=r"(?s)the encoder of .* is none of Pythae's own.*layers.1.0.weight \(3, 3\)"):
        AutoGAE.from_pythae(folder)
    assert main(["convert", "--from_pythae", str(folder), "--output_dir", str(tmp_path / "out")]) == 2
    assert "--encoder_class module:Class" in capsys.readouterr().err and not (tmp_path / "out").exists()
    folder = altered(checkpoints / "VAE", tmp_path / "headless", weights={"encoder.embedding.weight": None})
    with pytest.raises(ValueError, match=r"(?s)none of Pythae's own networks.*encoder.embedding.bias"):
        AutoGAE.from_pythae(folder)


def test_a_network_named_in_a_shell(checkpoints, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_trunk.py").write_text(
        "from torch import nn\n\n\nclass Trunk(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 512), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["convert", "--from_pythae", str(checkpoints / "VAE"), "--output_dir", str(tmp_path / "vae")]
    assert main([*arguments, "--encoder_class", "my_trunk:Trunk"]) == 0
    assert (tmp_path / "vae" / "model.safetensors").is_file()
    for name in ("my_trunk", "my_trunk:None", "no_such_module:Trunk"):
        assert main([*arguments, "--encoder_class", name]) == 2
        assert f"--encoder_class: expected a class that needs no arguments, as module:Class, got '{name}'" in (
            capsys.readouterr().err
        )


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_hostile_checkpoints(checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = altered(checkpoints / "VAE", tmp_path / "bomb")
    torch.save({"model_state_dict": Bomb()}, bomb / "model.pt")
    (bomb / "encoder.pkl").write_bytes(b"never read")
    with pytest.raises(ValueError, match="holds more than tensors, which could run code"):
        AutoGAE.from_pythae(bomb)
    assert not (tmp_path / "exploded").exists()
    for settings in ({"latent_dim": 10**12}, {"input_dim": [10**9, 10**9]}, {"input_dim": [1, 300_000, 300_000]}):
        folder = altered(checkpoints / "VAE", tmp_path / str(settings), settings=settings)
        with pytest.raises(ValueError, match="do not belong together|fits its weights"):
            AutoGAE.from_pythae(folder)
    folder = altered(checkpoints / "VAMP", tmp_path / "components", settings={"number_components": 10**15})
    with pytest.raises(ValueError, match="number_components = 1,000,000,000,000,000"):
        AutoGAE.from_pythae(folder)
    for settings, message in (
        ({"name": "BertConfig"}, "none of Pythae's methods"),
        ({"input_dim": None}, "input_dim"),
    ):
        with pytest.raises(ValueError, match=message):
            AutoGAE.from_pythae(altered(checkpoints / "VAE", tmp_path / message, settings=settings))
    (bomb / "model_config.json").write_text("[" * 100)
    with pytest.raises(ValueError, match="is no JSON"):
        AutoGAE.from_pythae(bomb)
    (bomb / "model_config.json").write_text(" " * (1 << 21))
    with pytest.raises(ValueError, match="2,097,152 bytes"):
        AutoGAE.from_pythae(bomb)
    with pytest.raises(OSError, match="there is no model_config.json"):
        AutoGAE.from_pythae(tmp_path)


def test_a_file_that_is_larger_than_it_is(checkpoints, tmp_path, monkeypatch):
    """8 KB that would take hundreds of megabytes: views without storage, storage by many names, zeros in a zip."""
    view = {"encoder.layers.0.0.weight": torch.zeros(1).expand(40_000, 512)}
    with pytest.raises(
        ValueError, match=r"encoder.layers.0.0.weight of .*, of shape \(40000, 512\), has more numbers"
    ):
        AutoGAE.from_pythae(altered(checkpoints / "VAE", tmp_path / "view", weights=view))
    one = torch.zeros(100_000)
    with pytest.raises(ValueError, match="the tensors of .* have .* bytes in all, and the file"):
        AutoGAE.from_pythae(altered(checkpoints / "VAE", tmp_path / "many", weights={str(i): one for i in range(20)}))
    packed = altered(checkpoints / "VAE", tmp_path / "packed", weights={"zeros": torch.zeros(10**6)}) / "model.pt"
    with zipfile.ZipFile(packed) as source:
        records = {record.filename: source.read(record) for record in source.infolist()}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in records.items():
            target.writestr(name, content)
    with pytest.raises(ValueError, match="bytes unpack to"):
        AutoGAE.from_pythae(packed.parent)
    wide, devices = altered(checkpoints / "VAE_IAF", tmp_path / "wide", settings={"hidden_size": 5000}), set()
    setup = VAEIAFModel.setup
    monkeypatch.setattr(
        VAEIAFModel, "setup", lambda self, config: (devices.add(torch.empty(0).device.type), setup(self, config))
    )
    with pytest.raises(ValueError, match="do not fit a VAEIAFModel: flows.0.made.first.bias has shape"):
        AutoGAE.from_pythae(wide)
    assert devices == {"meta"}


def test_from_the_hub(checkpoints, tmp_path, monkeypatch):
    from localhub import LocalHub, point_clients_at

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
            with pytest.raises(OSError, match="there is no model.pt in 'alice/none'"):
                AutoGAE.from_pythae("alice/none")
            monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
            for repo_id, file in (("alice/none", "model_config.json"), ("alice/broken", "model.pt")):
                hub.fail_next(None, status=503, match=file)
                with pytest.raises(
                    OSError, match=rf"cannot load '{repo_id}': the Hub is out of order for now \(503\)"
                ):
                    with point_clients_at(hub, tmp_path / repo_id, token=False):
                        AutoGAE.from_pythae(repo_id)
                hub.clear_faults()
    x = images("VAE")
    assert torch.equal(model.reconstruct(x), AutoGAE.from_pythae(checkpoints / "VAE").reconstruct(x))
