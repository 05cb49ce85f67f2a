"""Short names of networks, and custom networks."""

from copy import deepcopy

import pytest
import torch
from cases import images
from huggingface_hub.dataclasses import strict
from torch import nn

from gae_hub import AutoGAE, BetaVAEConfig, BetaVAEModel, VAEConfig, VAEModel
from gae_hub.modules.backbones import _SHORT_NAMES, Backbone, BackboneConfig, backbone_names, register_backbone

FIELDS = {"input_shape": (1, 8, 8), "latent_dim": 3}


# Short names


def test_names():
    names = ["conv", "mlp", "paper_conv", "paper_resnet", "resnet"]
    assert backbone_names("encoder") == backbone_names("decoder") == names
    config = VAEConfig(encoder_config={"model_type": "gae_mlp_encoder", "hidden_sizes": [40, 20]})
    assert VAEModel(config).encoder.feature_shape == (20,)


@pytest.mark.parametrize("spec", ["resnt", {"model_type": "resnt"}])
def test_misspelled_name(spec):
    with pytest.raises(ValueError, match="must name a registered encoder, got 'resnt'; did you mean 'resnet'?"):
        VAEConfig(encoder_config=spec)


def test_unknown_name():
    with pytest.raises(
        ValueError, match="got 'zzz'; registered are conv, .*call register_backbone or pass .* decoder="
    ):
        VAEConfig(decoder_config="zzz")


def test_misspelled_field():
    with pytest.raises(ValueError, match="MLPEncoderConfig has no field 'hidden_size'; did you mean 'hidden_sizes'?"):
        VAEConfig(encoder_config={"hidden_size": [3]})


# Custom networks without a config


class CustomEncoder(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.BatchNorm2d(width), nn.Dropout(), nn.ReLU())

    def forward(self, pixel_values):
        return self.net(pixel_values)


class CustomDecoder(nn.Module):
    def __init__(self, out=64):
        super().__init__()
        self.net = nn.Linear(3, out)

    def forward(self, latents):
        return self.net(latents).unflatten(1, (1, -1, 8))


def test_custom_modules_are_used_unchanged_and_reload(tmp_path):
    encoder, decoder = CustomEncoder(), CustomDecoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=encoder, decoder=decoder)
    assert model.encoder is encoder and encoder.feature_shape == (12, 3, 3)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    model(images()).loss.backward()

    model.eval().save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path, encoder=CustomEncoder(), decoder=CustomDecoder())
    assert torch.equal(again.eval().reconstruct(images()), model.reconstruct(images()))
    with pytest.raises(ValueError, match=r"a custom encoder, CustomEncoder; pass encoder=CustomEncoder\(\.\.\.\)"):
        AutoGAE.from_pretrained(tmp_path)


def test_custom_modules_leave_the_config_unchanged():
    config = BetaVAEConfig(**FIELDS)
    BetaVAEModel(config, encoder=CustomEncoder(), decoder=CustomDecoder())
    assert config.encoder_config.model_type == "gae_mlp_encoder"
    assert config.decoder_config.model_type == "gae_mlp_decoder"


def test_custom_decoder_must_fit_the_images():
    message = r"input_shape \(1, 8, 8\), but it maps latents of shape \(3,\) to \(1, 4, 8\)"
    with pytest.raises(ValueError, match=f"decoder CustomDecoder must return images of {message}"):
        BetaVAEModel(BetaVAEConfig(**FIELDS), decoder=CustomDecoder(32))


# Registered custom networks


@strict
class TinyEncoderConfig(BackboneConfig):
    model_type = "gae_tiny_encoder"
    base_config_key = "encoder_config"

    width: int = 5


class TinyEncoder(Backbone):
    config_class = TinyEncoderConfig

    def __init__(self, config, input_shape):
        super().__init__(config)
        self.linear = nn.Linear(input_shape[-1], config.width)
        self.feature_shape = (*input_shape[:-1], config.width)
        self.post_init()

    def forward(self, pixel_values):
        return self.linear(pixel_values)


@pytest.fixture
def tiny(monkeypatch):
    """Register the tiny encoder, for one test."""
    monkeypatch.setattr("gae_hub.modules.backbones._SHORT_NAMES", deepcopy(_SHORT_NAMES))
    register_backbone(TinyEncoderConfig, TinyEncoder)


def test_registered_networks_reload(tiny, tmp_path):
    for config in ("tiny", {"model_type": "tiny", "width": 5}, TinyEncoderConfig(width=5)):
        model = BetaVAEModel(BetaVAEConfig(**FIELDS, encoder_config=config))
        assert isinstance(model.encoder, TinyEncoder)
    passed = BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=TinyEncoder(TinyEncoderConfig(width=7), (1, 8, 8)))
    passed.eval().save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path)
    assert again.config.encoder_config.width == 7
    assert torch.equal(again.reconstruct(images()), passed.reconstruct(images()))


def test_registration_needs_a_role():
    class NoRoleConfig(BackboneConfig):
        model_type = "gae_no_role"

    class NoRole(Backbone):
        config_class = NoRoleConfig

    with pytest.raises(ValueError, match="must be 'encoder_config' or 'decoder_config', got ''"):
        register_backbone(NoRoleConfig, NoRole)
