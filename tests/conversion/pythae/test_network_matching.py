"""Recognising the networks of a checkpoint, and passing custom ones."""

import pytest
import torch
from pythae_checkpoints import images
from safetensors.torch import load_file
from torch import nn

from gae_hub import AutoGAE
from gae_hub.cli.main import main


class Encoder(nn.Module):
    """Pythae's default encoder without its heads, with Pythae's names of its layers."""

    def __init__(self, width: int = 512):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(64, width), nn.ReLU())])

    def forward(self, pixel_values):
        return self.layers[0](pixel_values.flatten(1))


def test_a_custom_network(checkpoints):
    model = AutoGAE.from_pythae(checkpoints / "VAE", encoder=Encoder())
    expected = load_file(checkpoints / "VAE.safetensors")
    assert torch.allclose(model.embed(images("VAE")), expected["encoder.embedding"])
    with pytest.raises(ValueError, match=r"(?s)do not fit Encoder, .*Only in the checkpoint:\n  layers.0.0.weight"):
        AutoGAE.from_pythae(checkpoints / "VAE", encoder=Encoder(100))


def test_parameters_of_an_unknown_network_are_listed(altered, tmp_path, capsys):
    folder = altered("VAE", weights={"encoder.layers.1.0.weight": torch.ones(3, 3)})
    with pytest.raises(ValueError, match=r"(?s)the encoder of .* is none of Pythae's own.*layers.1.0.weight \(3, 3\)"):
        AutoGAE.from_pythae(folder)
    assert main(["convert", "--from_pythae", str(folder), "--output_dir", str(tmp_path / "out")]) == 2
    assert "--encoder_class module:Class" in capsys.readouterr().err and not (tmp_path / "out").exists()
    folder = altered("VAE", weights={"encoder.embedding.weight": None})
    with pytest.raises(ValueError, match=r"(?s)none of Pythae's own networks.*encoder.embedding.bias"):
        AutoGAE.from_pythae(folder)


def test_a_custom_network_on_the_command_line(checkpoints, tmp_path, monkeypatch):
    (tmp_path / "my_encoder.py").write_text(
        "from torch import nn\n\n\nclass Encoder(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 512), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["convert", "--from_pythae", str(checkpoints / "VAE"), "--output_dir", str(tmp_path / "vae")]
    assert main([*arguments, "--encoder_class", "my_encoder:Encoder"]) == 0
    assert (tmp_path / "vae" / "model.safetensors").is_file()
    for invalid in ("my_encoder", "my_encoder:None"):
        assert main([*arguments, "--encoder_class", invalid]) == 2


def test_weights_without_a_decoder(checkpoints, altered):
    names = torch.load(checkpoints / "VAE" / "model.pt", weights_only=True)["model_state_dict"]
    removed = {name: None for name in names if name.startswith("decoder.")}
    with pytest.raises(ValueError, match="the decoder of .* is none of Pythae's own networks"):
        AutoGAE.from_pythae(altered("VAE", weights=removed))
