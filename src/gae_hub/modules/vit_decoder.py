"""Vision transformer as a decoder of latent maps ("vit"): one token for each position, one patch of pixels for each
token, as the decoder of ViT-MAE (He et al., 2022, arXiv:2111.06377)."""

__all__ = ["VIT_DECODER", "ViTDecoder", "ViTDecoderConfig"]

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from .backbones import Backbone, BackboneConfig, Sizes


@strict
class ViTDecoderConfig(BackboneConfig):
    """Fields of the transformer.

    Args:
        hidden_size: size of a token, a multiple of 4 and of num_attention_heads.
        num_hidden_layers: number of layers.
        num_attention_heads: heads of the self-attention.
        intermediate_size: size of the hidden layer of the feed-forward networks.
    """

    model_type = "gae_vit_decoder"
    base_config_key = "decoder_config"

    hidden_size: int = 384
    num_hidden_layers: int = 8
    num_attention_heads: int = 6
    intermediate_size: int = 1536

    def validate_sizes(self):
        self.require_positive("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        if self.hidden_size % 4 or self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size must be a multiple of 4 and of num_attention_heads = {self.num_attention_heads}, got "
                f"{self.hidden_size}"
            )


class ViTLayer(nn.Module):
    """Self-attention and a feed-forward network, each after layer normalisation and added to its input."""

    def __init__(self, config: ViTDecoderConfig):
        super().__init__()
        size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query_key_value, self.attention_output = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.feed_forward = nn.Sequential(
            nn.Linear(size, config.intermediate_size), nn.GELU(), nn.Linear(config.intermediate_size, size)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        heads = self.query_key_value(self.attention_norm(tokens)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (batch, heads, tokens, size) each
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.attention_output(attended)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens))


class ViTDecoder(Backbone):
    """Tokens of a latent map with fixed positions, transformer layers, and a linear layer to the pixels of a patch.

    Raises:
        ValueError: if the latents are no map, or the sides of the images no multiples of its sides.
    """

    config_class = ViTDecoderConfig

    def __init__(self, config: ViTDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        self.patch_shape = _patch_shape(tuple(output_shape), tuple(latent_shape))
        self.sizes = tuple(latent_shape[1:])
        channels, height, width = self.patch_shape
        self.embedding = nn.Linear(latent_shape[0], config.hidden_size)
        self.layers = nn.ModuleList(ViTLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, channels * height * width)
        self.post_init()

    def _init_weights(self, module: nn.Module):
        if not isinstance(module, nn.Linear):
            return super()._init_weights(module)
        init.xavier_uniform_(module.weight)
        init.zeros_(module.bias)

    def forward(self, latents: Tensor) -> Tensor:
        tokens = self.embedding(latents.flatten(2).transpose(1, 2))
        rows, columns = self.sizes
        tokens = tokens + grid_positions(rows, columns, tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        patches = self.head(self.norm(tokens)).unflatten(2, self.patch_shape).unflatten(1, self.sizes)
        # (batch, rows, columns, channels, height, width) to (batch, channels, rows, height, columns, width)
        return patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def grid_positions(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows * columns, size): sines and cosines of the positions of a grid, for tokens `like` (..., size).

    A quarter of the size each is the sine and cosine of the row, and those of the column, at wavelengths that increase
    from 2 pi to 20,000 pi.
    """
    quarter = like.shape[-1] // 4
    options = {"device": like.device, "dtype": torch.float32}
    frequencies = 10_000 ** -(torch.arange(quarter, **options) / quarter)
    row, column = (torch.outer(torch.arange(num, **options), frequencies) for num in (rows, columns))
    row, column = row[:, None].expand(-1, columns, -1), column.expand(rows, -1, -1)
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], -1).flatten(0, 1).to(like.dtype)


def _patch_shape(output_shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of the patch of pixels that a position of the latent map becomes."""
    if len(latent_shape) != 3 or len(output_shape) != 3:
        raise ValueError(
            "decoder_config 'vit' decodes latent maps (channels, height, width) to images, got latents of shape "
            f"{latent_shape} and input_shape {output_shape}: choose 'mlp', 'conv' or 'resnet'"
        )
    (channels, *image), sizes = output_shape, latent_shape[1:]
    if any(side % size for side, size in zip(image, sizes, strict=True)):
        raise ValueError(
            f"decoder_config 'vit' needs images whose sides are multiples of the latent map's {sizes}, got "
            f"input_shape {output_shape}: resize the images, choose another image_size of the encoder, or 'conv' or "
            "'resnet'"
        )
    return channels, image[0] // sizes[0], image[1] // sizes[1]


VIT_DECODER = (ViTDecoderConfig, ViTDecoder)
"""(config class, network class), which models/base.py registers."""
