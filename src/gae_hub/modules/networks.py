"""Encoders and decoders: fully connected ("mlp") for any shape, convolutional ("conv") and residual ("resnet") for
signals (channels, length), images (channels, height, width) and volumes (channels, depth, height, width)."""

__all__ = [
    "NETWORKS",
    "ConvDecoder",
    "ConvDecoderConfig",
    "ConvEncoder",
    "ConvEncoderConfig",
    "MLPDecoder",
    "MLPDecoderConfig",
    "MLPEncoder",
    "MLPEncoderConfig",
    "ResNetDecoder",
    "ResNetDecoderConfig",
    "ResNetEncoder",
    "ResNetEncoderConfig",
]

from math import prod
from typing import Literal

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from .backbones import Backbone, BackboneConfig, Modulations, Sizes
from .network_blocks import LatentProjection, ResBlock, build_mlp, optional_batch_norm, plan_levels
from .spatial_layers import Conv, TransposedConv

# Fully connected networks


@strict
class MLPEncoderConfig(BackboneConfig):
    """Fields of the fully connected encoder.

    Args:
        hidden_sizes: sizes of the hidden layers, from the image inwards, each followed by the activation. An empty
            list makes the encoder linear.
        activation: "relu", or "tanh" as in the experiments of IWAE.
    """

    model_type = "gae_mlp_encoder"
    base_config_key = "encoder_config"

    hidden_sizes: list[int] | tuple[int, ...] = (512,)
    activation: Literal["relu", "tanh"] = "relu"

    def validate_sizes(self):
        self.require_positive("hidden_sizes")


@strict
class MLPDecoderConfig(MLPEncoderConfig):
    """Fields of the fully connected decoder.

    Args:
        hidden_sizes: sizes of the hidden layers, from the latents to the image, each followed by the activation. An
            empty list makes the decoder linear.
        activation: "relu" or "tanh".
    """

    model_type = "gae_mlp_decoder"
    base_config_key = "decoder_config"


class MLPEncoder(Backbone):
    """Fully connected layers on the flattened input; the features are the last hidden layer."""

    config_class = MLPEncoderConfig

    def __init__(self, config: MLPEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        sizes = (prod(input_shape), *config.hidden_sizes)
        self.net = build_mlp(sizes, config.activation)
        self.feature_shape = (sizes[-1],)
        self.post_init()

    def forward(self, pixel_values: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(pixel_values.flatten(1), modulations)


class MLPDecoder(Backbone):
    """Fully connected layers from the flattened latents to the pixels."""

    config_class = MLPDecoderConfig

    def __init__(self, config: MLPDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        sizes = (prod(latent_shape), *config.hidden_sizes)
        self.net = nn.Sequential(*build_mlp(sizes, config.activation), nn.Linear(sizes[-1], prod(output_shape)))
        self.output_shape = tuple(output_shape)
        self.post_init()

    def forward(self, latents: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(latents.flatten(1), modulations).unflatten(1, self.output_shape)


# Convolutional networks


@strict
class ConvEncoderConfig(BackboneConfig):
    """Fields of the convolutional encoder.

    Args:
        channels: channels of the convolutions, from the image inwards. Each halves the axes that have at least 4
            pixels.
        batch_norm: whether batch normalisation follows each convolution.
    """

    model_type = "gae_conv_encoder"
    base_config_key = "encoder_config"

    channels: list[int] | tuple[int, ...] = (32, 64, 128)
    batch_norm: bool = True

    def validate_sizes(self):
        self.require_positive("channels")
        if not self.channels:
            raise ValueError("channels must have at least one entry, got none")


@strict
class ConvDecoderConfig(ConvEncoderConfig):
    """Fields of the convolutional decoder.

    Args:
        channels: channels in the encoder's order, from the image inwards. The transposed convolutions mirror the
            convolutions of an encoder with these channels.
        batch_norm: whether batch normalisation follows each transposed convolution except the last.
    """

    model_type = "gae_conv_decoder"
    base_config_key = "decoder_config"


class ConvEncoder(Backbone):
    """Strided convolutions, each followed by batch normalisation and ReLU; the features are a map."""

    config_class = ConvEncoderConfig

    def __init__(self, config: ConvEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        levels = plan_levels(input_shape, config.channels)
        num_axes = len(input_shape) - 1
        layers = []
        for level in levels:
            batch_norm = optional_batch_norm(level.smaller[0], config.batch_norm, num_axes)
            layers += [level.build_conv(), *batch_norm, nn.ReLU()]
        self.net = nn.Sequential(*layers)
        self.feature_shape = levels[-1].smaller
        self.post_init()

    def forward(self, pixel_values: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(pixel_values, modulations)


class ConvDecoder(Backbone):
    """A linear projection to a map, then transposed convolutions with batch normalisation and ReLU between them."""

    config_class = ConvDecoderConfig

    def __init__(self, config: ConvDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        first, *others = plan_levels(output_shape, config.channels)
        num_axes = len(output_shape) - 1
        smallest = (others[-1] if others else first).smaller
        layers = [LatentProjection(latent_shape, smallest), nn.ReLU()]
        for level in reversed(others):
            batch_norm = optional_batch_norm(level.larger[0], config.batch_norm, num_axes)
            layers += [level.build_transposed_conv(), *batch_norm, nn.ReLU()]
        self.net = nn.Sequential(*layers, first.build_transposed_conv())
        self.post_init()

    def forward(self, latents: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(latents, modulations)


# Residual networks


@strict
class ResNetEncoderConfig(BackboneConfig):
    """Fields of the residual encoder.

    Args:
        channels: channels of the strided convolutions, from the image inwards. Each halves the axes that have at least
            4 pixels.
        num_residual_blocks: number of residual blocks after the strided convolutions.
        residual_channels: channels between the two convolutions of a residual block.
        batch_norm: whether batch normalisation follows each convolution.
    """

    model_type = "gae_resnet_encoder"
    base_config_key = "encoder_config"

    channels: list[int] | tuple[int, ...] = (64, 128, 128)
    num_residual_blocks: int = 2
    residual_channels: int = 32
    batch_norm: bool = True

    def validate_sizes(self):
        self.require_positive("channels", "residual_channels")
        if not self.channels:
            raise ValueError("channels must have at least one entry, got none")
        if self.num_residual_blocks < 0:
            raise ValueError(f"num_residual_blocks must be 0 or more, got {self.num_residual_blocks}")


@strict
class ResNetDecoderConfig(ResNetEncoderConfig):
    """Fields of the residual decoder.

    Args:
        channels: channels in the encoder's order, from the image inwards. The transposed convolutions mirror the
            convolutions of an encoder with these channels.
        num_residual_blocks: number of residual blocks before the transposed convolutions.
        residual_channels: channels between the two convolutions of a residual block.
        batch_norm: whether batch normalisation follows each convolution except the last.
    """

    model_type = "gae_resnet_decoder"
    base_config_key = "decoder_config"


class _ResNetBackbone(Backbone):
    """Base of the residual networks: weights that keep the variance of activations through layers with ReLU.

    The initialisation follows He et al., 2015, arXiv:1502.01852, with biases of zero. PyTorch's default shrinks the
    variance from layer to layer: all latents would start with almost the same output, and a sigmoid would saturate
    before they differ.
    """

    def _init_weights(self, module: nn.Module):
        if not isinstance(module, nn.Linear | Conv | TransposedConv):
            return super()._init_weights(module)
        fan_in = module.weight[0].numel()
        if isinstance(module, TransposedConv):  # an output pixel sees one in prod(stride) of the kernel's weights
            fan_in = module.in_channels * prod(module.kernel_size) / prod(module.stride)
        init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
        if module.bias is not None:
            init.zeros_(module.bias)


def _build_residual_blocks(config: ResNetEncoderConfig, shape: Sizes) -> list[nn.Module]:
    sizes = (shape[0], config.residual_channels, config.batch_norm, len(shape) - 1)
    return [ResBlock(*sizes) for _ in range(config.num_residual_blocks)]


class ResNetEncoder(_ResNetBackbone):
    """Strided convolutions, then residual blocks; the features are a map."""

    config_class = ResNetEncoderConfig

    def __init__(self, config: ResNetEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        *others, last = plan_levels(input_shape, config.channels)
        num_axes = len(input_shape) - 1
        layers = []
        for level in others:
            batch_norm = optional_batch_norm(level.smaller[0], config.batch_norm, num_axes)
            layers += [level.build_conv(), *batch_norm, nn.ReLU()]
        layers += [last.build_conv(), *optional_batch_norm(last.smaller[0], config.batch_norm, num_axes)]
        layers += _build_residual_blocks(config, last.smaller)
        self.net = nn.Sequential(*layers, nn.ReLU())
        self.feature_shape = last.smaller
        self.post_init()

    def forward(self, pixel_values: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(pixel_values, modulations)


class ResNetDecoder(_ResNetBackbone):
    """A linear projection to a map, then residual blocks and transposed convolutions."""

    config_class = ResNetDecoderConfig

    def __init__(self, config: ResNetDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        first, *others = plan_levels(output_shape, config.channels)
        num_axes = len(output_shape) - 1
        smallest = (others[-1] if others else first).smaller
        layers = [LatentProjection(latent_shape, smallest), *_build_residual_blocks(config, smallest)]
        for level in reversed(others):
            batch_norm = optional_batch_norm(level.larger[0], config.batch_norm, num_axes)
            layers += [nn.ReLU(), level.build_transposed_conv(), *batch_norm]
        self.net = nn.Sequential(*layers, nn.ReLU(), first.build_transposed_conv())
        self.post_init()

    def forward(self, latents: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(latents, modulations)


NETWORKS = (
    (MLPEncoderConfig, MLPEncoder),
    (MLPDecoderConfig, MLPDecoder),
    (ConvEncoderConfig, ConvEncoder),
    (ConvDecoderConfig, ConvDecoder),
    (ResNetEncoderConfig, ResNetEncoder),
    (ResNetDecoderConfig, ResNetDecoder),
)
"""(config class, network class) pairs, which models/base.py registers."""
