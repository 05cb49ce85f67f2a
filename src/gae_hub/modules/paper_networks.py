"""The networks of the paper's experiments: Tables 5 and 6 of Pythae (Chadebec, Vincent & Allassonnière, 2022),
arXiv:2206.08309, for images with sides of 28, 32 and 64 pixels.

The paper gives no paddings. These are from the authors' code, and reproduce its parameter counts.
"""

__all__ = [
    "PAPER_NETWORKS",
    "PaperConvDecoder",
    "PaperConvDecoderConfig",
    "PaperConvEncoder",
    "PaperConvEncoderConfig",
    "PaperResNetDecoder",
    "PaperResNetDecoderConfig",
    "PaperResNetEncoder",
    "PaperResNetEncoderConfig",
]

from itertools import pairwise

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from .backbones import Backbone, BackboneConfig, Modulations, Sizes
from .convolutions import MatmulConv2d, MatmulConvTranspose2d
from .network_blocks import LatentProjection, ResBlock


@strict
class PaperConvEncoderConfig(BackboneConfig):
    """The encoder of Table 5. It has no fields."""

    model_type = "gae_paper_conv_encoder"
    base_config_key = "encoder_config"


@strict
class PaperConvDecoderConfig(BackboneConfig):
    """The decoder of Table 5. It has no fields."""

    model_type = "gae_paper_conv_decoder"
    base_config_key = "decoder_config"


@strict
class PaperResNetEncoderConfig(BackboneConfig):
    """The encoder of Table 6. It has no fields."""

    model_type = "gae_paper_resnet_encoder"
    base_config_key = "encoder_config"


@strict
class PaperResNetDecoderConfig(BackboneConfig):
    """The decoder of Table 6. It has no fields."""

    model_type = "gae_paper_resnet_decoder"
    base_config_key = "decoder_config"


def _image_side(shape: Sizes) -> int:
    """Side of the image: 28, 32 or 64 pixels.

    Raises:
        ValueError: for other shapes.
    """
    if len(shape) != 3 or tuple(shape[1:]) not in {(28, 28), (32, 32), (64, 64)}:
        raise ValueError(
            "the paper's networks need input_shape (channels, 28, 28), (channels, 32, 32) or (channels, 64, 64), got "
            f"{tuple(shape)}; 'conv' and 'resnet' accept images of any size, signals and volumes"
        )
    return shape[1]


class PaperConvEncoder(Backbone):
    """Four strided convolutions, each followed by batch normalisation and ReLU."""

    config_class = PaperConvEncoderConfig

    def __init__(self, config: PaperConvEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        side = _image_side(input_shape)
        layers = []
        for before, after in pairwise((input_shape[0], 128, 256, 512, 1024)):
            layers += [MatmulConv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.net = nn.Sequential(*layers)
        self.feature_shape = (1024, side // 16, side // 16)
        self.post_init()

    def forward(self, pixel_values: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(pixel_values, modulations)


class PaperConvDecoder(Backbone):
    """A linear projection to a map, then transposed convolutions with batch normalisation and ReLU between them."""

    config_class = PaperConvDecoderConfig

    # (kernel, stride, padding, output padding) by side; at 32 pixels the map before the last layer is 33 x 33
    layer_arguments = {
        28: ((3, 2, 1, 0), (3, 2, 1, 1), (3, 2, 1, 1)),
        32: ((4, 2, 1, 0), (4, 2, 1, 1), (4, 1, 2, 0)),
        64: ((5, 2, 2, 0), (5, 2, 1, 0), (5, 2, 2, 1), (5, 1, 1, 0)),
    }

    def __init__(self, config: PaperConvDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        side = _image_side(output_shape)
        arguments = self.layer_arguments[side]
        channels = (1024, 512, 256, 128)[: len(arguments)]
        layers: list[nn.Module] = [LatentProjection(latent_shape, (1024, 4, 4) if side == 28 else (1024, 8, 8))]
        for (before, after), layer in zip(pairwise(channels), arguments[:-1], strict=True):
            layers += [MatmulConvTranspose2d(before, after, *layer), nn.BatchNorm2d(after), nn.ReLU()]
        self.net = nn.Sequential(*layers, MatmulConvTranspose2d(channels[-1], output_shape[0], *arguments[-1]))
        self.post_init()

    def forward(self, latents: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(latents, modulations)


class PaperResNetEncoder(Backbone):
    """Strided convolutions without activations between them, as in the authors' code, then two residual blocks."""

    config_class = PaperResNetEncoderConfig

    # (channels, kernel, stride) by side, all with a padding of 1
    layer_arguments = {
        28: ((64, 4, 2), (128, 4, 2), (128, 3, 2)),
        32: ((64, 4, 2), (128, 4, 2), (128, 3, 1)),
        64: ((64, 4, 2), (128, 4, 2), (128, 3, 2), (128, 3, 2)),
    }

    def __init__(self, config: PaperResNetEncoderConfig, input_shape: Sizes):
        super().__init__(config)
        side, before = _image_side(input_shape), input_shape[0]
        layers = []
        for after, kernel, stride in self.layer_arguments[side]:
            layers.append(nn.Conv2d(before, after, kernel, stride, 1))
            before = after
        self.net = nn.Sequential(*layers, ResBlock(), ResBlock())
        self.feature_shape = (128, 8, 8) if side == 32 else (128, 4, 4)
        self.post_init()

    def forward(self, pixel_values: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(pixel_values, modulations)


class PaperResNetDecoder(Backbone):
    """A linear projection to a map, two residual blocks and transposed convolutions.

    The sigmoid in the middle at 64 pixels looks like an oversight, but the paper's results were computed with it.
    """

    config_class = PaperResNetDecoderConfig

    def __init__(self, config: PaperResNetDecoderConfig, output_shape: Sizes, latent_shape: Sizes):
        super().__init__(config)
        side, out = _image_side(output_shape), output_shape[0]
        layers: list[nn.Module] = [LatentProjection(latent_shape, (128, 8, 8) if side == 32 else (128, 4, 4))]
        if side == 28:
            layers += [nn.ConvTranspose2d(128, 128, 3, 2, 1), ResBlock(), ResBlock(), nn.ReLU()]
            layers += [nn.ConvTranspose2d(128, 64, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, out, 3, 2, 1, 1)]
        elif side == 32:
            layers += [ResBlock(), ResBlock()]
            layers += [nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ConvTranspose2d(64, out, 4, 2, 1)]
        else:
            layers += [nn.ConvTranspose2d(128, 128, 3, 2, 1), ResBlock(), ResBlock()]
            layers += [nn.ConvTranspose2d(128, 128, 5, 2, 1), nn.Sigmoid()]
            layers += [nn.ConvTranspose2d(128, 64, 5, 2, 1, 1), nn.ConvTranspose2d(64, out, 4, 2, 1)]
        self.net = nn.Sequential(*layers)
        self.post_init()

    def forward(self, latents: Tensor, modulations: Modulations | None = None) -> Tensor:
        return self.run_layers(latents, modulations)


PAPER_NETWORKS = (
    (PaperConvEncoderConfig, PaperConvEncoder),
    (PaperConvDecoderConfig, PaperConvDecoder),
    (PaperResNetEncoderConfig, PaperResNetEncoder),
    (PaperResNetDecoderConfig, PaperResNetDecoder),
)
"""(config class, network class) pairs, which models/base.py registers."""
