"""Convolutional layers by the number of spatial axes: 1 for signals, 2 for images, 3 for volumes."""

__all__ = ["BATCH_NORMS", "CONVS", "TRANSPOSED_CONVS", "BatchNorm", "Conv", "TransposedConv", "has_spatial_axes"]

from collections.abc import Callable

from torch import nn

from .backbones import Sizes

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedConv = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

CONVS: dict[int, Callable[..., Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVS: dict[int, Callable[..., TransposedConv]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORMS: dict[int, Callable[..., BatchNorm]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def has_spatial_axes(shape: Sizes) -> bool:
    """Whether a shape is (channels, length), (channels, height, width) or (channels, depth, height, width)."""
    return len(shape) - 1 in CONVS
