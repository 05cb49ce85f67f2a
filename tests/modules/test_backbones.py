"""Networks: the paper's parameter counts, any shape, names, and a person's own modules."""

import pytest
import torch
from cases import images
from huggingface_hub.dataclasses import strict
from torch import nn

from gae_hub import AEConfig, AEModel, AutoGAE, BetaVAEConfig, BetaVAEModel, VAEConfig, VAEModel
from gae_hub.modules.backbones import Backbone, BackboneConfig, backbone_names, register_backbone

# size, channels, latent_dim: AE encoder, VAE encoder, decoder, as counted from the authors' released networks
PAPER_CONV = {
    (28, 1, 16): (11_034_256, 11_050_656, 6_181_377),
    (28, 1, 64): (11_083_456, 11_149_056, 6_967_809),
    (32, 3, 16): (11_087_504, 11_153_056, 11_614_467),
    (32, 3, 256): (12_070_784, 13_119_616, 27_343_107),
    (64, 3, 64): (12_070_592, 13_119_232, 21_475_331),
    (64, 3, 256): (15_216_512, 19_411_072, 34_058_243),
}
PAPER_RESNET = {
    (28, 1, 16): (394_896, 427_680, 339_009),
    (28, 1, 256): (886_656, 1_411_200, 830_529),
    (32, 3, 64): (888_512, 1_412_864, 748_931),
    (32, 3, 256): (2_461_568, 4_558_976, 2_321_795),
    (64, 3, 16): (544_528, 577_312, 882_307),
    (64, 3, 64): (642_880, 774_016, 980_611),
}


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        (name, *row)
        for name, table in (("paper_conv", PAPER_CONV), ("paper_resnet", PAPER_RESNET))
        for row in table.items()
    ],
)
def test_parameter_counts_of_the_paper(name, setting, expected):
    size, channels, latent_dim = setting
    fields = {"input_shape": (channels, size, size), "latent_dim": latent_dim}
    with torch.device("meta"):
        ae = AEModel(AEConfig(**fields, encoder_config=name, decoder_config=name))
        vae = VAEModel(VAEConfig(**fields, encoder_config=name, decoder_config=name))
    assert (count(ae.encoder, ae.head), count(vae.encoder, vae.head), count(ae.decoder)) == expected


@pytest.mark.parametrize("name", ["paper_conv", "paper_resnet"])
@pytest.mark.parametrize("size", [28, 32, 64])
def test_shapes_of_the_paper(name, size):
    model = AEModel(AEConfig(input_shape=(3, size, size), latent_dim=4, encoder_config=name, decoder_config=name))
    features = model.encoder(images(2, (3, size, size)))
    assert tuple(features.shape[1:]) == model.encoder.feature_shape
    assert model.decode(torch.randn(2, 4)).shape == (2, 3, size, size)


def test_where_the_paper_has_activations():
    """As in its tables and released code: no batch norm in the ResNet, one sigmoid amid its 64 pixel decoder."""
    names = {"encoder_config": "paper_resnet", "decoder_config": "paper_resnet"}
    nets = {size: AEModel(AEConfig(input_shape=(3, size, size), **names)) for size in (28, 32, 64)}
    assert not any(isinstance(m, nn.BatchNorm2d) for net in nets.values() for m in net.modules())
    assert [sum(isinstance(m, nn.Sigmoid) for m in nets[size].decoder.modules()) for size in (28, 32, 64)] == [0, 0, 1]
    conv = AEModel(AEConfig(input_shape=(1, 28, 28), encoder_config="paper_conv", decoder_config="paper_conv"))
    assert [sum(isinstance(m, nn.BatchNorm2d) for m in part.modules()) for part in (conv.encoder, conv.decoder)] == [
        4,
        2,
    ]


def test_the_paper_has_no_network_for_other_sizes():
    with pytest.raises(ValueError, match=r"got \(1, 29, 28\); 'conv' and 'resnet' take any size"):
        AEModel(AEConfig(input_shape=(1, 29, 28), encoder_config="paper_conv"))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 33, 47), (2, 5, 64), (4, 7, 3), (1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize("name", ["conv", "resnet", "mlp"])
def test_any_shape(name, shape):
    model = VAEModel(VAEConfig(input_shape=shape, latent_dim=2, encoder_config=name, decoder_config=name))
    x = images(3, shape)
    assert tuple(model.encoder(x).shape[1:]) == model.encoder.feature_shape
    out = model(x)
    assert out.reconstruction.shape == x.shape
    out.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_every_pixel_reaches_the_features_and_every_output_is_made_from_the_latents():
    for name in ("conv", "resnet"):
        model = AEModel(
            AEConfig(input_shape=(1, 13, 9), latent_dim=2, encoder_config=name, decoder_config=name)
        ).eval()
        x = images(2, (1, 13, 9)).requires_grad_()
        model.encoder(x).square().sum().backward()
        assert (x.grad != 0).all()
        z = torch.randn(8, 2)
        assert (model.decode(z).var(0) > 0).all()


def test_conv_needs_an_image():
    with pytest.raises(ValueError, match=r"needs input_shape \(channels, height, width\), got \(5,\); use 'mlp'"):
        AEModel(AEConfig(input_shape=(5,), encoder_config="conv"))


def test_names_and_their_errors():
    assert (
        backbone_names("encoder")
        == backbone_names("decoder")
        == ["conv", "mlp", "paper_conv", "paper_resnet", "resnet"]
    )
    for spec in ("resnt", {"model_type": "resnt"}):
        with pytest.raises(ValueError, match="no known encoder: 'resnt'; did you mean 'resnet'?"):
            VAEConfig(encoder_config=spec)
    with pytest.raises(ValueError, match="MLPEncoderConfig has no field 'hidden_size'; did you mean 'hidden_sizes'?"):
        VAEConfig(encoder_config={"hidden_size": [3]})
    config = VAEConfig(encoder_config={"model_type": "gae_mlp_encoder", "hidden_sizes": [40, 20]})
    assert VAEModel(config).encoder.feature_shape == (20,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "mlp", "hidden_sizes": [0]}, "hidden_sizes must be above 0"),
        ({"model_type": "conv", "channels": []}, "at least one layer"),
        ({"model_type": "resnet", "channels": []}, "at least one layer"),
        ({"model_type": "resnet", "num_residual_blocks": -1}, "num_residual_blocks must be 0 or more, got -1"),
    ],
)
def test_bad_networks_are_named(fields, message):
    with pytest.raises(Exception, match=message):
        VAEConfig(encoder_config=fields)


class MyTrunk(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.BatchNorm2d(width), nn.Dropout(), nn.ReLU())

    def forward(self, pixel_values):
        return self.net(pixel_values)


class MyDecoder(nn.Module):
    def __init__(self, out=64):
        super().__init__()
        self.net = nn.Linear(3, out)

    def forward(self, latents):
        return self.net(latents).unflatten(1, (1, -1, 8))


FIELDS = {"input_shape": (1, 8, 8), "latent_dim": 3}


def test_own_modules_are_used_as_they_are_and_reload(tmp_path):
    trunk, decoder = MyTrunk(), MyDecoder()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    model = BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=trunk, decoder=decoder)
    assert model.encoder is trunk and trunk.feature_shape == (12, 3, 3)
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    model(images()).loss.backward()

    model.eval().save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path, encoder=MyTrunk(), decoder=MyDecoder())
    assert torch.equal(again.eval().reconstruct(images()), model.reconstruct(images()))
    with pytest.raises(ValueError, match=r"with its own encoder, MyTrunk: pass encoder=MyTrunk\(\.\.\.\)"):
        AutoGAE.from_pretrained(tmp_path)


def test_a_persons_config_is_left_as_it_was():
    config = BetaVAEConfig(**FIELDS)
    BetaVAEModel(config, encoder=MyTrunk(), decoder=MyDecoder())
    assert (
        config.encoder_config.model_type == "gae_mlp_encoder" and config.decoder_config.model_type == "gae_mlp_decoder"
    )


def test_residual_networks_keep_the_variance_of_activations():
    """Each layer gives unit variance for rectified noise, which has second moment 1/2, away from the border."""
    config = {"model_type": "resnet", "channels": [64, 64]}
    model = AEModel(AEConfig(input_shape=(64, 32, 32), encoder_config=config, decoder_config=config))
    noise = torch.randn(20, 64, 16, 16).relu()
    for layer in (model.encoder.net[0], model.decoder.net[-1]):
        assert layer(noise)[..., 2:-2, 2:-2].var().item() == pytest.approx(1.0, rel=0.15)
        assert not layer.bias.any()


def test_an_own_decoder_must_fit_the_images():
    with pytest.raises(
        ValueError, match=r"MyDecoder maps latents of shape \(3,\) to \(1, 4, 8\), but input_shape is \(1, 8, 8\)"
    ):
        BetaVAEModel(BetaVAEConfig(**FIELDS), decoder=MyDecoder(32))


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


def test_own_registered_networks_reload_by_themselves(tmp_path):
    register_backbone(TinyEncoderConfig, TinyEncoder)
    for config in ("tiny", {"model_type": "tiny", "width": 5}, TinyEncoderConfig(width=5)):
        model = BetaVAEModel(BetaVAEConfig(**FIELDS, encoder_config=config))
        assert isinstance(model.encoder, TinyEncoder)
    passed = BetaVAEModel(BetaVAEConfig(**FIELDS), encoder=TinyEncoder(TinyEncoderConfig(width=7), (1, 8, 8)))
    passed.eval().save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path)
    assert again.config.encoder_config.width == 7
    assert torch.equal(again.reconstruct(images()), passed.reconstruct(images()))


def test_a_backbone_must_say_its_role():
    class NoRoleConfig(BackboneConfig):
        model_type = "gae_no_role"

    class NoRole(Backbone):
        config_class = NoRoleConfig

    with pytest.raises(ValueError, match="must be 'encoder_config' or 'decoder_config', got ''"):
        register_backbone(NoRoleConfig, NoRole)
