"""The networks of the paper's experiments: Tables 5 and 6 of Pythae (Chadebec, Vincent & Allassonnière, 2022),
arXiv:2206.08309, for images of 28, 32 and 64 pixels.

The paper gives no paddings; those used here are of the authors' released code, and reproduce its parameter counts.
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

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from .backbones import Backbone, BackboneConfig, Sizes
from .convolutions import MatmulConv2d, MatmulConvTranspose2d
from .networks import ResBlock, Unflatten


@strict
class PaperConvEncoderConfig(BackboneConfig):
    """Table 5 of the paper: no choices."""

    model_type = "gae_paper_conv_encoder"
    base_config_key = "encoder_config"


@strict
class PaperConvDecoderConfig(BackboneConfig):
    """Table 5 of the paper: no choices."""

    model_type = "gae_paper_conv_decoder"
    base_config_key = "decoder_config"


@strict
class PaperResNetEncoderConfig(BackboneConfig):
    """Table 6 of the paper: no choices."""

    model_type = "gae_paper_resnet_encoder"
    base_config_key = "encoder_config"


@strict
class PaperResNetDecoderConfig(BackboneConfig):
    """Table 6 of the paper: no choices."""

    model_type = "gae_paper_resnet_decoder"
    base_config_key = "decoder_config"


def paper_size(shape: Sizes) -> int:
    """28, 32 or 64: the sizes that the paper has networks for."""
    if len(shape) != 3 or tuple(shape[1:]) not in {(28, 28), (32, 32), (64, 64)}:
        raise ValueError(
            "the paper's networks are for input_shape (channels, 28, 28), (channels, 32, 32) and (channels, 64, 64), "
            f"got {tuple(shape)}; 'conv' and 'resnet' take any size"
        )
    return shape[1]


class PaperConvEncoder(Backbone):
    config_class = PaperConvEncoderConfig

    def __init__(self, config, input_shape):
        super().__init__(config)
        size, widths = paper_size(input_shape), (input_shape[0], 128, 256, 512, 1024)
        self.net = nn.Sequential(
            *[
                m
                for i, o in zip(widths, widths[1:], strict=False)
                for m in (MatmulConv2d(i, o, 4, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
            ]
        )
        self.feature_shape = (1024, size // 16, size // 16)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.net(pixel_values)


class PaperConvDecoder(Backbone):
    config_class = PaperConvDecoderConfig

    # (channels out, kernel, stride, padding, output padding); at 32 pixels the map is 33 x 33 before the last layer
    layers = {
        28: ((512, 3, 2, 1, 0), (256, 3, 2, 1, 1), (None, 3, 2, 1, 1)),
        32: ((512, 4, 2, 1, 0), (256, 4, 2, 1, 1), (None, 4, 1, 2, 0)),
        64: ((512, 5, 2, 2, 0), (256, 5, 2, 1, 0), (128, 5, 2, 2, 1), (None, 5, 1, 1, 0)),
    }

    def __init__(self, config, output_shape, latent_shape):
        super().__init__(config)
        size = paper_size(output_shape)
        width, net = 1024, [Unflatten(latent_shape, (1024, 4, 4) if size == 28 else (1024, 8, 8))]
        for out, *arguments in self.layers[size]:
            net.append(MatmulConvTranspose2d(width, out or output_shape[0], *arguments))
            net += [nn.BatchNorm2d(out), nn.ReLU()] if out else []
            width = out
        self.net = nn.Sequential(*net)
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        return self.net(latents)


class PaperResNetEncoder(Backbone):
    """There is no activation between the strided convolutions, as in the authors' code."""

    config_class = PaperResNetEncoderConfig

    # (channels out, kernel, stride), padding 1
    layers = {
        28: ((64, 4, 2), (128, 4, 2), (128, 3, 2)),
        32: ((64, 4, 2), (128, 4, 2), (128, 3, 1)),
        64: ((64, 4, 2), (128, 4, 2), (128, 3, 2), (128, 3, 2)),
    }

    def __init__(self, config, input_shape):
        super().__init__(config)
        size, width, net = paper_size(input_shape), input_shape[0], []
        for out, kernel, stride in self.layers[size]:
            net.append(nn.Conv2d(width, out, kernel, stride, 1))
            width = out
        self.net = nn.Sequential(*net, ResBlock(), ResBlock())
        self.feature_shape = (128, 8, 8) if size == 32 else (128, 4, 4)
        self.post_init()

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.net(pixel_values)


class PaperResNetDecoder(Backbone):
    """At 64 pixels a sigmoid stands in the middle: a leftover, it seems, but the paper's results were made with it."""

    config_class = PaperResNetDecoderConfig

    def __init__(self, config, output_shape, latent_shape):
        super().__init__(config)
        size, out = paper_size(output_shape), output_shape[0]
        up = nn.ConvTranspose2d
        self.net = nn.Sequential(
            Unflatten(latent_shape, (128, 8, 8) if size == 32 else (128, 4, 4)),
            *{
                28: lambda: (
                    up(128, 128, 3, 2, 1),
                    *(ResBlock(), ResBlock(), nn.ReLU()),
                    *(up(128, 64, 3, 2, 1, 1), nn.ReLU()),
                    up(64, out, 3, 2, 1, 1),
                ),
                32: lambda: (ResBlock(), ResBlock(), up(128, 64, 4, 2, 1), up(64, out, 4, 2, 1)),
                64: lambda: (
                    up(128, 128, 3, 2, 1),
                    *(ResBlock(), ResBlock()),
                    *(up(128, 128, 5, 2, 1), nn.Sigmoid()),
                    up(128, 64, 5, 2, 1, 1),
                    up(64, out, 4, 2, 1),
                ),
            }[size](),
        )
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        return self.net(latents)


PAPER_NETWORKS = (
    (PaperConvEncoderConfig, PaperConvEncoder),
    (PaperConvDecoderConfig, PaperConvDecoder),
    (PaperResNetEncoderConfig, PaperResNetEncoder),
    (PaperResNetDecoderConfig, PaperResNetDecoder),
)
"""(config class, network class) for each."""
