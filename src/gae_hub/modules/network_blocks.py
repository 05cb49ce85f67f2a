"""Blocks that several networks are built from: hidden layers, strided convolutions, residual blocks."""

__all__ = [
    "LatentProjection",
    "MapHead",
    "ResBlock",
    "ResamplingLevel",
    "build_mlp",
    "optional_batch_norm",
    "plan_levels",
]

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from .backbones import Sizes
from .spatial_layers import BATCH_NORMS, CONVS, TRANSPOSED_CONVS, Conv, TransposedConv, has_spatial_axes

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def build_mlp(sizes: Sizes, activation: str = "relu") -> nn.Sequential:
    """Linear layers between consecutive sizes, each followed by the activation, "relu" or "tanh"."""
    return nn.Sequential(*[m for pair in pairwise(sizes) for m in (nn.Linear(*pair), _ACTIVATIONS[activation]())])


@dataclass(frozen=True)
class ResamplingLevel:
    """One level of a convolutional network: it maps between two shapes (channels, *sizes) with one to three axes.

    An axis is halved by a kernel of 4 and a stride of 2, which leaves no checkerboard pattern in the transposed
    convolution, or kept by a kernel of 3 and a stride of 1.

    Args:
        larger: shape towards the image.
        smaller: shape towards the latents.
        stride: 1 or 2 for each axis.
    """

    larger: tuple[int, ...]
    smaller: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return tuple(stride + 2 for stride in self.stride)

    def build_conv(self) -> Conv:
        """The convolution from the larger to the smaller shape."""
        build = CONVS[len(self.stride)]
        return build(self.larger[0], self.smaller[0], self.kernel_size, self.stride, padding=1)

    def build_transposed_conv(self) -> TransposedConv:
        """The transposed convolution from the smaller to exactly the larger shape."""
        axes = zip(self.larger[1:], self.smaller[1:], self.stride, strict=True)
        remainder = tuple(large - small * stride for large, small, stride in axes)
        build = TRANSPOSED_CONVS[len(self.stride)]
        return build(self.smaller[0], self.larger[0], self.kernel_size, self.stride, 1, remainder)


def plan_levels(shape: Sizes, channels: Sizes) -> list[ResamplingLevel]:
    """Levels from an image inwards, one per number of channels. An axis is halved while it has at least 4 pixels.

    Args:
        shape: (channels, length) of a signal, (channels, height, width) of an image, or (channels, depth, height,
            width) of a volume.
        channels: channels of the levels, from the image inwards.

    Raises:
        ValueError: if `shape` has fewer or more axes.
    """
    if not has_spatial_axes(shape):
        raise ValueError(
            "a convolutional network needs input_shape (channels, length), (channels, height, width) or (channels, "
            f"depth, height, width), got {tuple(shape)}; use 'mlp' for other shapes"
        )
    levels = []
    larger = tuple(shape)
    for width in channels:
        stride = tuple(2 if size >= 4 else 1 for size in larger[1:])
        smaller = (width, *(size // step for size, step in zip(larger[1:], stride, strict=True)))
        levels.append(ResamplingLevel(larger, smaller, stride))
        larger = smaller
    return levels


def optional_batch_norm(channels: int, enabled: bool, num_axes: int = 2) -> list[nn.Module]:
    """A list with a batch normalisation of maps with `num_axes` spatial axes, or an empty list."""
    return [BATCH_NORMS[num_axes](channels)] if enabled else []


class ResBlock(nn.Module):
    """x + [ReLU, Conv 3x3, ReLU, Conv 1x1](x), as in van den Oord et al., 2017, arXiv:1711.00937.

    Args:
        channels: channels of the input and the output.
        hidden_channels: channels between the two convolutions.
        batch_norm: whether batch normalisation follows each convolution.
        num_axes: number of spatial axes.
    """

    def __init__(self, channels: int = 128, hidden_channels: int = 32, batch_norm: bool = False, num_axes: int = 2):
        super().__init__()
        build_conv = CONVS[num_axes]
        self.net = nn.Sequential(
            nn.ReLU(),
            build_conv(channels, hidden_channels, 3, padding=1),
            *optional_batch_norm(hidden_channels, batch_norm, num_axes),
            nn.ReLU(),
            build_conv(hidden_channels, channels, 1),
            *optional_batch_norm(channels, batch_norm, num_axes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class LatentProjection(nn.Module):
    """Latents (batch, *latent_shape) to a feature map (batch, *shape), by one linear layer.

    Latents that are maps of the same sizes are projected position by position.

    Args:
        latent_shape: (latent_dim,), or (latent_dim, *sizes) for maps.
        shape: (channels, *sizes), with one to three axes.
    """

    linear: nn.Linear | Conv

    def __init__(self, latent_shape: Sizes, shape: Sizes):
        super().__init__()
        self.shape = tuple(shape)
        self.is_spatial = tuple(latent_shape[1:]) == self.shape[1:]
        if self.is_spatial:
            self.linear = CONVS[len(self.shape) - 1](latent_shape[0], shape[0], 1)
        else:
            self.linear = nn.Linear(prod(latent_shape), prod(shape))

    def forward(self, latents: Tensor) -> Tensor:
        if self.is_spatial:
            return self.linear(latents)
        return self.linear(latents.flatten(1)).unflatten(1, self.shape)


class MapHead(nn.Module):
    """A convolution of size 1 on feature maps, for use in place of a linear layer: inputs and outputs are flattened.

    Args:
        shape: (channels, *sizes) of the features, with one to three sizes.
        num_outputs: size of the flattened outputs, a multiple of the product of the sizes.
    """

    conv: Conv

    def __init__(self, shape: Sizes, num_outputs: int):
        super().__init__()
        self.shape = tuple(shape)
        self.conv = CONVS[len(shape) - 1](shape[0], num_outputs // prod(shape[1:]), 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features.unflatten(1, self.shape)).flatten(1)
