"""Encoder and decoder of diffusers' `AutoencoderKL` and `VQModel` ("diffusers_kl"), as in High-Resolution Image
Synthesis with Latent Diffusion Models (Rombach, Blattmann, Lorenz, Esser & Ommer, 2022), arXiv:2112.10752.

A model with both can be exported as one of these classes, with the same outputs, if its `output_activation` is
"identity". They need the extra `diffusers`.
"""

__all__ = [
    "DIFFUSERS_NETWORKS",
    "DiffusersKLConfig",
    "DiffusersKLDecoder",
    "DiffusersKLDecoderConfig",
    "DiffusersKLEncoder",
    "DiffusersKLEncoderConfig",
]

from math import prod
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.core.argument_checks import require_extra

from .backbones import Backbone, BackboneConfig, Sizes


@strict
class DiffusersKLConfig(BackboneConfig):
    """Fields of encoder and decoder, with the names of diffusers.

    Args:
        block_out_channels: channels of the blocks, from the image inwards. Height and width are halved between blocks.
        layers_per_block: residual layers in a block of the encoder; a block of the decoder has one more.
        norm_num_groups: groups of the group normalisation, a divisor of all channels.
        act_fn: the activation function.
        mid_block_add_attention: whether the smallest map has a layer of self-attention.
    """

    block_out_channels: list[int] | tuple[int, ...] = (64, 128, 128)
    layers_per_block: int = 1
    norm_num_groups: int = 32
    act_fn: Literal["silu", "mish", "gelu", "relu"] = "silu"
    mid_block_add_attention: bool = True

    def validate_sizes(self):
        self.require_positive("block_out_channels", "layers_per_block", "norm_num_groups")
        if not self.block_out_channels or any(size % self.norm_num_groups for size in self.block_out_channels):
            raise ValueError(
                f"block_out_channels must be multiples of norm_num_groups = {self.norm_num_groups}, got "
                f"{tuple(self.block_out_channels)}"
            )


@strict
class DiffusersKLEncoderConfig(DiffusersKLConfig):
    """Fields of [`DiffusersKLConfig`], and of the encoder alone.

    Args:
        conv_out_channels: channels of a last convolution of size 3, as in published repositories, whose quant_conv is
            the model's head. None for no such convolution: the head takes its place.
    """

    model_type = "gae_diffusers_kl_encoder"
    base_config_key = "encoder_config"

    conv_out_channels: int | None = None

    def validate_conv_out(self):
        if self.conv_out_channels is not None:
            self.require_positive("conv_out_channels")


@strict
class DiffusersKLDecoderConfig(DiffusersKLConfig):
    """Fields of [`DiffusersKLConfig`], which are those of the encoder that it mirrors, and of the decoder alone.

    Args:
        post_quant_channels: channels of a first convolution of size 1, the post_quant_conv of published repositories.
            None for no such convolution.
    """

    model_type = "gae_diffusers_kl_decoder"
    base_config_key = "decoder_config"

    post_quant_channels: int | None = None

    def validate_post_quant(self):
        if self.post_quant_channels is not None:
            self.require_positive("post_quant_channels")


SHARED_FIELDS = tuple(DiffusersKLConfig.own_fields())


class _DiffusersBackbone(Backbone):
    config: DiffusersKLConfig

    def settings(self) -> dict[str, Any]:
        """Arguments of diffusers' classes that have the names of the config's fields."""
        settings = {name: getattr(self.config, name) for name in SHARED_FIELDS}
        return {**settings, "block_out_channels": tuple(self.config.block_out_channels)}


class DiffusersKLEncoder(_DiffusersBackbone):
    """The encoder up to its last convolution, which is the model's head by default; the features are a map."""

    config: DiffusersKLEncoderConfig

    config_class = DiffusersKLEncoderConfig

    def __init__(self, config: DiffusersKLEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        sizes = _map_sizes(config, input_shape)
        from diffusers.models.autoencoders.vae import Encoder

        block_types = ("DownEncoderBlock2D",) * len(config.block_out_channels)
        channels = config.conv_out_channels
        self.net = Encoder(
            in_channels=input_shape[0],
            out_channels=channels or 3,
            down_block_types=block_types,
            double_z=channels is None,  # twice as many channels, in the convolution that is replaced below
            **self.settings(),
        )
        if channels is None:
            self.net.conv_out = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue] (typed as a convolution)
        self.feature_shape = (channels or config.block_out_channels[-1], *sizes)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.net(2 * pixel_values - 1)  # diffusers' range of pixels is [-1, 1]


class DiffusersKLDecoder(_DiffusersBackbone):
    """The decoder of maps. A latent vector is a flattened map, so its size is a multiple of the map's pixels."""

    config: DiffusersKLDecoderConfig
    config_class = DiffusersKLDecoderConfig

    def __init__(self, config: DiffusersKLDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        sizes = _map_sizes(config, output_shape)
        if len(latent_shape) == 1 and latent_shape[0] % prod(sizes):
            raise ValueError(
                f"decoder_config 'diffusers_kl' decodes maps of {sizes[0]} x {sizes[1]} pixels, so that latent_dim "
                f"must be a multiple of {prod(sizes)}, got {latent_shape[0]}"
            )
        if len(latent_shape) != 1 and tuple(latent_shape[1:]) != sizes:
            raise ValueError(
                f"decoder_config 'diffusers_kl' decodes maps of {sizes[0]} x {sizes[1]} pixels, got latents of shape "
                f"{tuple(latent_shape)}: choose encoder_config 'diffusers_kl' with as many block_out_channels"
            )
        self.map_shape = (prod(latent_shape) // prod(sizes), *sizes)
        from diffusers.models.autoencoders.vae import Decoder

        block_types = ("UpDecoderBlock2D",) * len(config.block_out_channels)
        channels = config.post_quant_channels
        self.post_quant_conv = nn.Identity() if channels is None else nn.Conv2d(self.map_shape[0], channels, 1)
        self.net = Decoder(
            in_channels=channels or self.map_shape[0],
            out_channels=output_shape[0],
            up_block_types=block_types,
            **self.settings(),
        )
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        return (self.net(self.post_quant_conv(latents.reshape(-1, *self.map_shape))) + 1) / 2


def _map_sizes(config: DiffusersKLConfig, shape: Sizes) -> tuple[int, int]:
    """Height and width of the smallest map for images of a shape.

    Raises:
        ValueError: if the shape is not that of images, or their sides cannot be halved between all blocks.
        ImportError: if diffusers is not installed.
    """
    require_extra("diffusers", "a network 'diffusers_kl'")
    factor = 2 ** (len(config.block_out_channels) - 1)
    if len(shape) != 3 or any(side % factor for side in shape[1:]):
        raise ValueError(
            f"'diffusers_kl' with {len(config.block_out_channels)} block_out_channels needs images (channels, height, "
            f"width) whose sides are multiples of {factor}, got input_shape {tuple(shape)}"
        )
    return shape[1] // factor, shape[2] // factor


DIFFUSERS_NETWORKS = (
    (DiffusersKLEncoderConfig, DiffusersKLEncoder),
    (DiffusersKLDecoderConfig, DiffusersKLDecoder),
)
"""(config class, network class) pairs, which models/base.py registers."""
