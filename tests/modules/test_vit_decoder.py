"""The transformer that decodes latent maps."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from gae_hub import AutoGAE, VQVAEConfig, VQVAEModel
from gae_hub.modules.vit_decoder import ViTDecoder, ViTDecoderConfig, ViTLayer, grid_positions

TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}


def build(output_shape, latent_shape, **fields):
    return ViTDecoder(ViTDecoderConfig(**{**TINY, **fields}), output_shape, latent_shape)


@pytest.mark.parametrize(
    ("output_shape", "latent_shape"),
    [((3, 16, 16), (5, 4, 4)), ((1, 6, 20), (5, 3, 2)), ((2, 4, 4), (7, 1, 1)), ((1, 3, 3), (4, 3, 3))],
)
def test_shapes(output_shape, latent_shape):
    decoder = build(output_shape, latent_shape)
    images = decoder(torch.randn(2, *latent_shape))
    assert images.shape == (2, *output_shape)
    images.square().sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_a_token_is_the_patch_at_its_position():
    """Without attention, a pixel depends on the latents at its place only: rows and columns are in order."""
    decoder = build((2, 6, 8), (3, 3, 2)).double()  # patches of 2 x 4 pixels
    for layer in decoder.layers:
        nn.init.zeros_(layer.attention_output.weight)
    depends = jacobian(lambda z: decoder(z[None])[0], torch.randn(3, 3, 2).double()).abs().sum((0, 3)) > 0
    for y in range(6):
        for x in range(8):
            expected = torch.zeros(3, 2, dtype=torch.bool)
            expected[y // 2, x // 4] = True
            assert torch.equal(depends[y, x], expected)


def test_attention_is_that_of_torch():
    layer = ViTLayer(ViTDecoderConfig(**TINY)).double()
    oracle = nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True).double()
    names = {
        "norm1": "attention_norm",
        "norm2": "feed_forward_norm",
        "self_attn.out_proj": "attention_output",
        "linear1": "feed_forward.0",
        "linear2": "feed_forward.2",
    }
    for name, own in names.items():
        oracle.get_submodule(name).load_state_dict(layer.get_submodule(own).state_dict())
    oracle.self_attn.in_proj_weight.data = layer.query_key_value.weight.data
    oracle.self_attn.in_proj_bias.data = layer.query_key_value.bias.data
    tokens = torch.randn(3, 5, 8).double()
    torch.testing.assert_close(layer(tokens), oracle(tokens))


def test_positions():
    """Row and column by sines and cosines; tokens at different places differ."""
    found = grid_positions(3, 4, torch.zeros(1, 16).double()).view(3, 4, 16)
    frequency = torch.tensor([1, 0.1, 0.01, 0.001])
    for row in range(3):
        for column in range(4):
            parts = [(row * frequency).sin(), (row * frequency).cos()]
            parts += [(column * frequency).sin(), (column * frequency).cos()]
            torch.testing.assert_close(found[row, column], torch.cat(parts).double(), rtol=0, atol=1e-6)
    constant = build((1, 4, 4), (3, 2, 2))(torch.ones(1, 3, 2, 2))
    patches = constant.unfold(2, 2, 2).unfold(3, 2, 2).reshape(4, 4)
    assert torch.pdist(patches).min() > 0.01


def test_other_methods_decode_maps_with_it(tmp_path):
    config = VQVAEConfig(
        input_shape=(1, 8, 8), latent_dim=3, encoder_config="conv", decoder_config=dict(TINY, model_type="vit")
    )
    model = VQVAEModel(config)
    x = torch.rand(40, 1, 8, 8)
    model(x).loss.backward()
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).reconstruct(x), model.reconstruct(x))


@pytest.mark.parametrize(
    ("output_shape", "latent_shape", "message"),
    [
        ((1, 8, 8), (4,), r"got latents of shape \(4,\) and input_shape \(1, 8, 8\): choose 'mlp', 'conv' or"),
        ((1, 8), (4, 2), "decodes latent maps"),
        ((1, 8, 9), (4, 2, 2), r"multiples of the latent map's \(2, 2\), got input_shape \(1, 8, 9\): resize"),
    ],
)
def test_shapes_that_do_not_fit(output_shape, latent_shape, message):
    with pytest.raises(ValueError, match=message):
        build(output_shape, latent_shape)


@pytest.mark.parametrize("fields", [{"hidden_size": 10}, {"num_attention_heads": 3}, {"num_hidden_layers": 0}])
def test_sizes_that_do_not_fit(fields):
    with pytest.raises(Exception, match="hidden_size must be a multiple of 4 and|must be above 0"):
        ViTDecoderConfig(**{**TINY, **fields})
