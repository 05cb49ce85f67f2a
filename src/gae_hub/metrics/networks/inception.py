"""Inception-v3: Rethinking the Inception Architecture for Computer Vision (Szegedy, Vanhoucke, Ioffe, Shlens & Wojna,
2016), arXiv:1512.00567, as in TensorFlow's graph of 2015-12-05, which defines FID and the Inception Score.

It differs from the paper's network in three ways: it has 1008 classes, its average pools exclude padding, and the last
block has a maximum pool. Modules have the names of the published PyTorch port.
"""

__all__ = ["PUBLISHED_SHA256", "PUBLISHED_URL", "RESIZES", "InceptionV3", "preprocess"]

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PUBLISHED_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)
PUBLISHED_SHA256 = "6726825d"
SIZE = 299

RESIZES = {
    "tensorflow": "8-bit, TensorFlow 1 bilinear to 299 x 299, (x - 128) / 128",
    "pytorch": "8-bit, torch bilinear to 299 x 299 without antialias, 2 x - 1",
}
"""Preprocessing by name: "tensorflow" as in TTUR's graph and torch-fidelity, "pytorch" as in pytorch-fid."""

Kernel = int | tuple[int, int]
Layer = tuple[int, Kernel] | list[tuple[int, Kernel]]


class _Conv(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, in_channels: int, channels: int, kernel: Kernel, stride: int = 1, padding: int | tuple[int, int] = 0
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _same_padding(kernel: Kernel) -> tuple[int, int]:
    """Padding that keeps height and width."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height // 2, width // 2


class _Block(nn.Module):
    """Parallel chains of convolutions, and a pool.

    Args:
        in_channels: channels of the input.
        branches: name of a chain to its layers, each (channels, kernel). A last layer that is a list holds parallel
            convolutions.
        pool_channels: channels of the convolution after the pool. With 0, the block halves height and width: the last
            convolutions and the pool have stride 2 and no padding.
        pool: "average", which excludes padding, or "max".
    """

    branch_pool: _Conv

    def __init__(
        self, in_channels: int, branches: Mapping[str, Sequence[Layer]], pool_channels: int = 0, pool: str = "average"
    ):
        super().__init__()
        self.halves, self.pool = not pool_channels, pool
        self.chains: list[list[list[str]]] = []  # names of the parallel convolutions, for each layer of each chain
        for branch, layers in branches.items():
            width, chain = in_channels, []
            for number, layer in enumerate(layers, 1):
                last, stem = number == len(layers), branch if len(layers) == 1 else f"{branch}_{number}"
                if isinstance(layer, list):
                    convolutions = {f"{stem}{'ab'[i]}": side for i, side in enumerate(layer)}
                else:
                    convolutions = {stem: layer}
                halve = self.halves and last
                for name, (channels, kernel) in convolutions.items():
                    padding = 0 if halve else _same_padding(kernel)
                    self.add_module(name, _Conv(width, channels, kernel, 2 if halve else 1, padding))
                chain.append(list(convolutions))
                width = sum(channels for channels, _ in convolutions.values())
            self.chains.append(chain)
        if pool_channels:
            self.branch_pool = _Conv(in_channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain in self.chains:
            value = x
            for names in chain:
                value = torch.cat([self.get_submodule(name)(value) for name in names], 1)
            outputs.append(value)
        if self.halves:
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        pooled = F.max_pool2d(x, 3, 1, 1) if self.pool == "max" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def _block_35(in_channels: int, pool_channels: int) -> _Block:
    """Block of the 35 x 35 grid."""
    branches = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }
    return _Block(in_channels, branches, pool_channels)


def _block_17(channels: int) -> _Block:
    """Block of the 17 x 17 grid, with 7 x 7 convolutions split into 1 x 7 and 7 x 1."""
    wide, tall = (1, 7), (7, 1)
    branches = {
        "branch1x1": [(192, 1)],
        "branch7x7": [(channels, 1), (channels, wide), (192, tall)],
        "branch7x7dbl": [(channels, 1), (channels, tall), (channels, wide), (channels, tall), (192, wide)],
    }
    return _Block(768, branches, 192)


def _block_8(in_channels: int, pool: str) -> _Block:
    """Block of the 8 x 8 grid."""
    sides: list[tuple[int, Kernel]] = [(384, (1, 3)), (384, (3, 1))]
    branches = {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), sides],
        "branch3x3dbl": [(448, 1), (384, 3), sides],
    }
    return _Block(in_channels, branches, 192, pool)


class InceptionV3(nn.Module):
    """The network, for (batch, 3, 299, 299) from [`preprocess`]. Use it in eval mode."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _block_35(192, 32)
        self.Mixed_5c = _block_35(256, 64)
        self.Mixed_5d = _block_35(288, 64)
        self.Mixed_6a = _Block(288, {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]})
        self.Mixed_6b = _block_17(128)
        self.Mixed_6c = _block_17(160)
        self.Mixed_6d = _block_17(160)
        self.Mixed_6e = _block_17(192)
        self.Mixed_7a = _Block(
            768,
            {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]},
        )
        self.Mixed_7b = _block_8(1280, "average")
        self.Mixed_7c = _block_8(2048, "max")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2048) features: averages over the last grid."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))


def preprocess(images: Tensor, resize: str = "tensorflow") -> Tensor:
    """(batch, 3, 299, 299) input of the network.

    Args:
        images: (batch, 3, height, width) in [0, 1].
        resize: a name in `RESIZES`.

    Raises:
        ValueError: for another name.
    """
    if resize == "tensorflow":
        return (_resize_as_tensorflow(images * 255, SIZE) - 128) / 128
    if resize == "pytorch":
        return 2 * F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False) - 1
    raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got '{resize}'")


def _resize_as_tensorflow(images: Tensor, size: int) -> Tensor:
    """(..., size, size) images, resized as TensorFlow 1's resize_bilinear does.

    Pixel i of the result is at i * old / new of the input, without the half-pixel offset of other libraries.
    """
    for axis in (-2, -1):
        length = images.shape[axis]
        position = torch.arange(size, dtype=images.dtype, device=images.device) * (length / size)
        low = position.long()
        high = (low + 1).clamp(max=length - 1)
        weight = position - low
        weight = weight.unsqueeze(1) if axis == -2 else weight
        images = torch.lerp(images.index_select(axis, low), images.index_select(axis, high), weight)
    return images
