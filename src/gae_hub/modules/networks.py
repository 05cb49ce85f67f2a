"""TODO docstring."""

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
    "ResBlock",
    "ResNetBackbone",
    "ResNetDecoder",
    "ResNetDecoderConfig",
    "ResNetEncoder",
    "ResNetEncoderConfig",
    "Unflatten",
    "down",
    "mlp",
    "norm",
    "pyramid",
    "residual_blocks",
    "up",
]

from math import prod
from typing import Literal

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from .backbones import Backbone, BackboneConfig, Sizes


@strict
class MLPEncoderConfig(BackboneConfig):
    """
    Args:
        hidden_sizes: widths of the hidden layers, each followed by the activation. None at all makes the model linear.
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
    """
    Args:
        hidden_sizes: widths of the hidden layers, from the latents to the image.
        activation: "relu" or "tanh".
    """

    model_type = "gae_mlp_decoder"
    base_config_key = "decoder_config"


def mlp(sizes: Sizes, activation: str = "relu") -> nn.Sequential:
    """A linear layer and the activation, once for each pair of neighbouring sizes."""
    act = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    return nn.Sequential(*[m for pair in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(*pair), act())])


class MLPEncoder(Backbone):
    config_class = MLPEncoderConfig

    def __init__(self, config, input_shape):
        super().__init__(config)
        sizes = (prod(input_shape), *config.hidden_sizes)
        self.net = mlp(sizes, config.activation)
        self.feature_shape = (sizes[-1],)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.net(pixel_values.flatten(1))


class MLPDecoder(Backbone):
    config_class = MLPDecoderConfig

    def __init__(self, config, output_shape, latent_shape):
        super().__init__(config)
        sizes = (prod(latent_shape), *config.hidden_sizes)
        self.net = nn.Sequential(*mlp(sizes, config.activation), nn.Linear(sizes[-1], prod(output_shape)))
        self.output_shape = tuple(output_shape)
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        return self.net(latents.flatten(1)).unflatten(1, self.output_shape)


def pyramid(shape: Sizes, channels: Sizes) -> list[tuple[tuple[int, ...], tuple[int, ...], dict]]:
    """Shapes before and after each layer of a downsampling stack, with the convolution's arguments.

    Each axis is halved (kernel 4, stride 2, which leaves no checkerboard on the way back) while it has 4 pixels or
    more, and kept after that (kernel 3, stride 1).
    """
    if len(shape) != 3:
        raise ValueError(
            f"a convolutional network needs input_shape (channels, height, width), got {tuple(shape)}; "
            "use 'mlp' for vectors"
        )
    layers = []
    for width in channels:
        stride = tuple(2 if size >= 4 else 1 for size in shape[1:])
        smaller = (width, *(size // s for size, s in zip(shape[1:], stride, strict=True)))
        layers.append(
            (tuple(shape), smaller, {"kernel_size": tuple(s + 2 for s in stride), "stride": stride, "padding": 1})
        )
        shape = smaller
    return layers


def down(layer) -> nn.Conv2d:
    """The convolution of one level of the pyramid."""
    before, after, arguments = layer
    return nn.Conv2d(before[0], after[0], **arguments)


def up(layer) -> nn.ConvTranspose2d:
    """The transposed convolution that goes back up one level, to the pixel."""
    before, after, arguments = layer
    left_over = tuple(b - a * s for b, a, s in zip(before[1:], after[1:], arguments["stride"], strict=True))
    return nn.ConvTranspose2d(after[0], before[0], **arguments, output_padding=left_over)


def norm(channels: int, batch_norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if batch_norm else []


class ResBlock(nn.Module):
    """x + [ReLU, Conv 3x3, ReLU, Conv 1x1](x), as in van den Oord et al., 2017, arXiv:1711.00937."""

    def __init__(self, channels: int = 128, hidden: int = 32, batch_norm: bool = False):
        super().__init__()
        self.net = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(channels, hidden, 3, padding=1), *norm(hidden, batch_norm)),
            *(nn.ReLU(), nn.Conv2d(hidden, channels, 1), *norm(channels, batch_norm)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class Unflatten(nn.Module):
    """latents (batch, *latent_shape) to a map (batch, *shape) by one linear layer.

    A map of latents of the same height and width keeps its places: the layer is then one for each position.
    """

    def __init__(self, latent_shape: Sizes, shape: Sizes):
        super().__init__()
        self.shape = tuple(shape)
        self.spatial = len(latent_shape) == 3 and tuple(latent_shape[1:]) == self.shape[1:]
        if self.spatial:
            self.linear = nn.Conv2d(latent_shape[0], shape[0], 1)
        else:
            self.linear = nn.Linear(prod(latent_shape), prod(shape))

    def forward(self, latents: Tensor) -> Tensor:
        return self.linear(latents) if self.spatial else self.linear(latents.flatten(1)).unflatten(1, self.shape)


@strict
class ConvEncoderConfig(BackboneConfig):
    """
    Args:
        channels: channels of the layers, from the image inwards; the decoder lists them in the same order.
        batch_norm: whether batch normalisation follows each convolution.
    """

    model_type = "gae_conv_encoder"
    base_config_key = "encoder_config"

    channels: list[int] | tuple[int, ...] = (32, 64, 128)
    batch_norm: bool = True

    def validate_sizes(self):
        self.require_positive("channels")
        if not self.channels:
            raise ValueError("channels must name at least one layer, got none")


@strict
class ConvDecoderConfig(ConvEncoderConfig):
    """
    Args:
        channels: channels of the layers in the encoder's order, from the image inwards.
        batch_norm: whether batch normalisation follows each convolution but the last.
    """

    model_type = "gae_conv_decoder"
    base_config_key = "decoder_config"


class ConvEncoder(Backbone):
    config_class = ConvEncoderConfig

    def __init__(self, config, input_shape):
        super().__init__(config)
        layers = pyramid(input_shape, config.channels)
        self.net = nn.Sequential(
            *[m for layer in layers for m in (down(layer), *norm(layer[1][0], config.batch_norm), nn.ReLU())]
        )
        self.feature_shape = layers[-1][1]
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.net(pixel_values)


class ConvDecoder(Backbone):
    config_class = ConvDecoderConfig

    def __init__(self, config, output_shape, latent_shape):
        super().__init__(config)
        first, *others = pyramid(output_shape, config.channels)
        self.net = nn.Sequential(
            Unflatten(latent_shape, (others[-1] if others else first)[1]),
            nn.ReLU(),
            *[m for layer in others[::-1] for m in (up(layer), *norm(layer[0][0], config.batch_norm), nn.ReLU())],
            up(first),
        )
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        return self.net(latents)


@strict
class ResNetEncoderConfig(BackboneConfig):
    """
    Args:
        channels: channels of the downsampling layers, from the image inwards; the decoder lists them in the same
            order.
        num_residual_blocks: residual blocks at the smallest size.
        residual_channels: channels inside a residual block.
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
            raise ValueError("channels must name at least one layer, got none")
        if self.num_residual_blocks < 0:
            raise ValueError(f"num_residual_blocks must be 0 or more, got {self.num_residual_blocks}")


@strict
class ResNetDecoderConfig(ResNetEncoderConfig):
    """
    Args:
        channels: channels of the layers in the encoder's order, from the image inwards.
        num_residual_blocks: residual blocks at the smallest size.
        residual_channels: channels inside a residual block.
        batch_norm: whether batch normalisation follows each convolution but the last.
    """

    model_type = "gae_resnet_decoder"
    base_config_key = "decoder_config"


def residual_blocks(config, channels: int) -> list[nn.Module]:
    return [ResBlock(channels, config.residual_channels, config.batch_norm) for _ in range(config.num_residual_blocks)]


class ResNetBackbone(Backbone):
    """Base of the residual networks: weights that keep the variance of activations through layers with ReLU.

    That is He et al., 2015, arXiv:1502.01852, with biases of zero. PyTorch's own initialisation shrinks the variance
    from layer to layer, so that all latents begin with nearly one output, and a sigmoid saturates before they differ.
    """

    def _init_weights(self, module):
        if not isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            return super()._init_weights(module)
        fan_in = module.weight[0].numel()
        if isinstance(
            module, nn.ConvTranspose2d
        ):  # one in prod(stride) of the kernel's weights reaches an output pixel
            fan_in = module.in_channels * prod(module.kernel_size) / prod(module.stride)
        init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
        init.zeros_(module.bias)


class ResNetEncoder(ResNetBackbone):
    config_class = ResNetEncoderConfig

    def __init__(self, config, input_shape):
        super().__init__(config)
        *others, last = pyramid(input_shape, config.channels)
        self.net = nn.Sequential(
            *[m for layer in others for m in (down(layer), *norm(layer[1][0], config.batch_norm), nn.ReLU())],
            *(down(last), *norm(last[1][0], config.batch_norm)),
            *residual_blocks(config, last[1][0]),
            nn.ReLU(),
        )
        self.feature_shape = last[1]
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.net(pixel_values)


class ResNetDecoder(ResNetBackbone):
    config_class = ResNetDecoderConfig

    def __init__(self, config, output_shape, latent_shape):
        super().__init__(config)
        first, *others = pyramid(output_shape, config.channels)
        smallest = (others[-1] if others else first)[1]
        self.net = nn.Sequential(
            Unflatten(latent_shape, smallest),
            *residual_blocks(config, smallest[0]),
            *[m for layer in others[::-1] for m in (nn.ReLU(), up(layer), *norm(layer[0][0], config.batch_norm))],
            *(nn.ReLU(), up(first)),
        )
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        return self.net(latents)


NETWORKS = (
    (MLPEncoderConfig, MLPEncoder),
    (MLPDecoderConfig, MLPDecoder),
    (ConvEncoderConfig, ConvEncoder),
    (ConvDecoderConfig, ConvDecoder),
    (ResNetEncoderConfig, ResNetEncoder),
    (ResNetDecoderConfig, ResNetDecoder),
)
"""(config class, network class) for each."""
