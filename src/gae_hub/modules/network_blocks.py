"""Blocks that several networks are built from: hidden layers, strided convolutions, residual blocks."""

__all__ = ["LatentProjection", "ResBlock", "ResamplingLevel", "build_mlp", "optional_batch_norm", "plan_levels"]

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from .backbones import Sizes

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def build_mlp(sizes: Sizes, activation: str = "relu") -> nn.Sequential:
    """Linear layers between consecutive sizes, each followed by the activation, "relu" or "tanh"."""
    return nn.Sequential(*[m for pair in pairwise(sizes) for m in (nn.Linear(*pair), _ACTIVATIONS[activation]())])


@dataclass(frozen=True)
class ResamplingLevel:
    """One level of a convolutional network: it maps between two shapes (channels, height, width).

    An axis is halved by a kernel of 4 and a stride of 2, which leaves no checkerboard pattern in the transposed
    convolution, or kept by a kernel of 3 and a stride of 1.

    Args:
        larger: shape towards the image.
        smaller: shape towards the latents.
        stride: 1 or 2 for each axis.
    """

    larger: tuple[int, int, int]
    smaller: tuple[int, int, int]
    stride: tuple[int, int]

    @property
    def kernel_size(self) -> tuple[int, int]:
        return (self.stride[0] + 2, self.stride[1] + 2)

    def build_conv(self) -> nn.Conv2d:
        """The convolution from the larger to the smaller shape."""
        return nn.Conv2d(self.larger[0], self.smaller[0], self.kernel_size, self.stride, padding=1)

    def build_transposed_conv(self) -> nn.ConvTranspose2d:
        """The transposed convolution from the smaller to exactly the larger shape."""
        remainder = (
            self.larger[1] - self.smaller[1] * self.stride[0],
            self.larger[2] - self.smaller[2] * self.stride[1],
        )
        return nn.ConvTranspose2d(self.smaller[0], self.larger[0], self.kernel_size, self.stride, 1, remainder)


def plan_levels(shape: Sizes, channels: Sizes) -> list[ResamplingLevel]:
    """Levels from an image inwards, one per number of channels. An axis is halved while it has at least 4 pixels.

    Args:
        shape: (channels, height, width) of the image.
        channels: channels of the levels, from the image inwards.

    Raises:
        ValueError: if `shape` does not have three entries.
    """
    if len(shape) != 3:
        raise ValueError(
            f"a convolutional network needs input_shape (channels, height, width), got {tuple(shape)}; "
            "use 'mlp' for vectors"
        )
    levels = []
    larger = (shape[0], shape[1], shape[2])
    for width in channels:
        stride = (2 if larger[1] >= 4 else 1, 2 if larger[2] >= 4 else 1)
        smaller = (width, larger[1] // stride[0], larger[2] // stride[1])
        levels.append(ResamplingLevel(larger, smaller, stride))
        larger = smaller
    return levels


def optional_batch_norm(channels: int, enabled: bool) -> list[nn.Module]:
    """A list with a batch normalisation, or an empty list."""
    return [nn.BatchNorm2d(channels)] if enabled else []


class ResBlock(nn.Module):
    """x + [ReLU, Conv 3x3, ReLU, Conv 1x1](x), as in van den Oord et al., 2017, arXiv:1711.00937.

    Args:
        channels: channels of the input and the output.
        hidden_channels: channels between the two convolutions.
        batch_norm: whether batch normalisation follows each convolution.
    """

    def __init__(self, channels: int = 128, hidden_channels: int = 32, batch_norm: bool = False):
        super().__init__()
        self.net = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, hidden_channels, 3, padding=1),
            *optional_batch_norm(hidden_channels, batch_norm),
            nn.ReLU(),
            nn.Conv2d(hidden_channels, channels, 1),
            *optional_batch_norm(channels, batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class LatentProjection(nn.Module):
    """Latents (batch, *latent_shape) to a feature map (batch, *shape), by one linear layer.

    Latents that are maps of the same height and width are projected position by position.

    Args:
        latent_shape: (latent_dim,), or (latent_dim, height, width).
        shape: (channels, height, width).
    """

    linear: nn.Linear | nn.Conv2d

    def __init__(self, latent_shape: Sizes, shape: Sizes):
        super().__init__()
        self.shape = tuple(shape)
        self.is_spatial = len(latent_shape) == 3 and tuple(latent_shape[1:]) == self.shape[1:]
        if self.is_spatial:
            self.linear = nn.Conv2d(latent_shape[0], shape[0], 1)
        else:
            self.linear = nn.Linear(prod(latent_shape), prod(shape))

    def forward(self, latents: Tensor) -> Tensor:
        if self.is_spatial:
            return self.linear(latents)
        return self.linear(latents.flatten(1)).unflatten(1, self.shape)
