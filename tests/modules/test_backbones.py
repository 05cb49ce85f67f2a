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
    names = ["conv", "diffusers_kl", "mlp", "paper_conv", "paper_resnet", "resnet"]
    assert backbone_names("encoder") == sorted([*names, "vision"])
    assert backbone_names("decoder") == sorted([*names, "vit"])
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


class Returns(nn.Module):
    """A network whose output is a function of its input; `shared` layers are one layer under two names."""

    def __init__(self, output, **modules):
        super().__init__()
        self.linear, self.output = nn.Linear(2, 2), output
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.output(x)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: (x, x), r"encoder Returns must return one tensor \(batch, \*shape\), got a tuple"),
        (lambda x: {"features": x}, r"encoder Returns must return one tensor \(batch, \*shape\), got a dict"),
        (lambda x: x.sum(), r"must return floats \(batch, \*shape\), but it maps .* \(2, 1, 8, 8\) to shape \(\)"),
        (lambda x: x.flatten(), r"maps a batch of shape \(2, 1, 8, 8\) to shape \(128,\) and dtype torch.float32"),
        (lambda x: x.flatten(1).argmax(1, keepdim=True), r"to shape \(2, 1\) and dtype torch.int64"),
        (
            lambda x: nn.Linear(5, 2)(x),
            r"must accept a batch of shape \(2, 1, 8, 8\), but it raised RuntimeErr",
        ),
        (lambda x: nn.Conv2d(3, 2, 1)(x), r"but it raised RuntimeError: .*to have 3 channels, but got 1 channels"),
    ],
)
def test_custom_encoder_must_return_features(output, message):
    with pytest.raises(ValueError, match=message) as error:
        BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=Returns(output))
    assert "\n" not in str(error.value)


def test_custom_encoder_must_have_the_shape_that_it_declares():
    encoder = CustomEncoder()
    encoder.feature_shape = (10,)
    message = r"CustomEncoder has feature_shape \(10,\), but .* \(1, 8, 8\) to features of shape \(12, 3, 3\)"
    with pytest.raises(ValueError, match=message):
        BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=encoder)
    encoder.feature_shape = 108
    with pytest.raises(ValueError, match="must set feature_shape, the shape of one example's features, as a tuple"):
        BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=encoder)


def test_custom_code_that_reads_values_is_run_on_the_cpu():
    """It does not run on the meta device. Random numbers and statistics stay as they were."""
    encoder = Returns(lambda x: (x + torch.rand(())).flatten(1) if float(x.sum()) >= 0 else x)
    state = torch.get_rng_state()
    BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=encoder, decoder=CustomDecoder())
    assert encoder.feature_shape == (64,)
    torch.set_rng_state(state)


def test_lazy_layers_need_weights():
    encoder = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    message = r"encoder Sequential has lazy layers without weights yet \('1.weight'\): call it once on a batch"
    with pytest.raises(ValueError, match=message):
        BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=encoder)
    encoder(images())
    assert BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=encoder).feature_shape == (5,)


def test_shared_layers_are_rejected():
    """A checkpoint stores each tensor once; the first checkpoint of a run would fail."""
    linear = nn.Linear(64, 64)
    shared = nn.Sequential(nn.Flatten(), linear, nn.ReLU(), linear)
    with pytest.raises(ValueError, match="has the same weights under two names, 'encoder.1.weight' and 'encoder.3"):
        BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=shared)
    tied = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64))
    tied[2].weight = nn.Parameter(tied[1].weight.T)  # other parameters, the same memory
    with pytest.raises(ValueError, match="'encoder.1.weight' and 'encoder.2.weight'"):
        BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=tied)


def test_a_layer_may_be_called_twice(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 64)

        def forward(self, x):
            return self.linear(self.linear(x.flatten(1)).relu())

    model = BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=Twice()).eval()
    model.save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path, encoder=Twice())
    assert torch.equal(again.reconstruct(images()), model.reconstruct(images()))


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


def test_registered_networks_must_have_the_shape_that_they_declare(tiny, monkeypatch):
    monkeypatch.setattr(TinyEncoder, "forward", lambda self, x: self.linear(x)[..., 1:])
    with pytest.raises(ValueError, match=r"has feature_shape \(1, 8, 5\), but .* to features of shape \(1, 8, 4\)"):
        BetaVAEModel(BetaVAEConfig(**FIELDS, encoder_config="tiny"))


def test_registration_needs_a_role():
    class NoRoleConfig(BackboneConfig):
        model_type = "gae_no_role"

    class NoRole(Backbone):
        config_class = NoRoleConfig

    with pytest.raises(ValueError, match="must be 'encoder_config' or 'decoder_config', got ''"):
        register_backbone(NoRoleConfig, NoRole)
