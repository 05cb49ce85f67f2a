"""A checkpoint of a custom method or network holds its source, which runs with `trust_remote_code=True` only.

Such a checkpoint loads with the library installed and without it.
"""

import subprocess
import sys
import textwrap

import pytest

METHOD = '''
    """A custom method."""

    from huggingface_hub.dataclasses import strict
    from torch import nn

    from gae_hub import (
        BetaVAEConfig,
        BetaVAEModel as Base,
    )
    from gae_hub.modules.backbones import Backbone, BackboneConfig, register_backbone
    from gae_hub.models.base import register_model


    @strict
    class MyTrunkConfig(BackboneConfig):
        model_type = "gae_mine_encoder"
        base_config_key = "encoder_config"
        width: int = 5


    class MyTrunk(Backbone):
        config_class = MyTrunkConfig

        def __init__(self, config, input_shape):
            super().__init__(config)
            self.net, self.feature_shape = nn.Linear(64, config.width), (config.width,)
            self.post_init()

        def forward(self, pixel_values):
            return self.net(pixel_values.flatten(1)).tanh()


    register_backbone(MyTrunkConfig, MyTrunk)


    @strict
    class MineConfig(BetaVAEConfig):
        model_type = "gae_mine"
        power: int = 2


    class MineModel(Base):
        config_class = MineConfig

        def loss_weights(self):
            return {"kl": self.config.beta**self.config.power}


    register_model(MineConfig, MineModel)
'''
SAVE = """
    import torch
    from my_method import MineConfig, MineModel, MyTrunk
    from gae_hub import VAEConfig, VAEModel

    MyTrunk.register_for_auto_class("AutoModel")
    torch.manual_seed(0)
    VAEModel(VAEConfig(input_shape=(1, 8, 8), latent_dim=3, encoder_config="mine")).save_pretrained("vae")
    MineConfig.register_for_auto_class("AutoConfig")
    MineModel.register_for_auto_class("AutoModel")
    MineModel(MineConfig(input_shape=(1, 8, 8), latent_dim=3, encoder_config="mine")).save_pretrained("mine")
"""
LOAD = """
    import sys, torch
    from transformers import AutoModel
    without = sys.argv[1] == "without"
    if without:
        sys.modules["gae_hub"] = None  # as if it were not installed
    x = torch.full((2, 1, 8, 8), 0.5)
    found = AutoModel.from_pretrained("mine", trust_remote_code=True)
    package = type(found).__module__.split(".")[0]
    print(type(found).__name__, package, found.loss_weights(), found.embed(x).sum().item())
    found.save_pretrained("again")
    assert AutoModel.from_pretrained("again", trust_remote_code=True).embed(x).equal(found.embed(x))
    if without:
        assert not any(name.startswith("gae_hub.") for name in sys.modules)
        raise SystemExit
    from gae_hub import AutoGAE
    for name in ("mine", "vae"):
        try:
            AutoGAE.from_pretrained(name)
        except ValueError as error:
            print(str(error).replace(chr(10), " "))
    for name in ("mine", "vae"):
        loaded = AutoGAE.from_pretrained(name, trust_remote_code=True)
        print(type(loaded).__name__, type(loaded.encoder).__name__, loaded.embed(x).sum().item())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints of a custom method (mine/) and of a VAE with a custom encoder (vae/)."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "code").mkdir()
    (folder / "code" / "my_method.py").write_text(textwrap.dedent(METHOD).strip() + "\n")
    (folder / "load.py").write_text(textwrap.dedent(LOAD))
    save = f"import sys\nsys.path.insert(0, 'code')\n{textwrap.dedent(SAVE)}"
    process = subprocess.run([sys.executable, "-c", save], cwd=folder, capture_output=True, text=True, timeout=140)
    assert process.returncode == 0, process.stderr
    return folder


def test_files_of_the_checkpoints(folder):
    files = {path.name for path in (folder / "mine").iterdir()}
    assert {
        "my_method.py",
        "beta_vae.py",
        "vae.py",
        "base.py",
        "backbones.py",
        "hub_model.py",
        "hub_errors.py",
    } <= files
    assert not any(name.endswith((".pkl", ".bin", ".pt")) for name in files)
    source = (folder / "mine" / "my_method.py").read_text()
    assert "from .beta_vae import BetaVAEConfig, BetaVAEModel as Base\n" in source and "gae_hub." not in source
    assert {"my_method.py", "config.json"} <= {path.name for path in (folder / "vae").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["with", "without"])
def test_loading_with_and_without_the_library(folder, library):
    process = subprocess.run(
        [sys.executable, "load.py", library], cwd=folder, capture_output=True, text=True, timeout=140
    )
    assert process.returncode == 0, process.stderr
    first, *others = process.stdout.splitlines()
    assert first.startswith("MineModel transformers_modules {'kl': ")
    if library == "without":
        assert not others
        return
    error_of_method, error_of_network, method, network = others
    assert "was saved by MineModel ('gae_mine'), which is not imported" in error_of_method
    assert "trust_remote_code=True" in error_of_method
    assert "trust_remote_code=True" in error_of_network
    assert method.split()[:2] == ["MineModel", "MyTrunk"] and network.split()[:2] == ["VAEModel", "MyTrunk"]
    assert method.split()[2] == first.split()[-1]
