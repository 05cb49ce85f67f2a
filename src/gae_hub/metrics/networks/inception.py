"""Inception-v3: Rethinking the Inception Architecture for Computer Vision (Szegedy, Vanhoucke, Ioffe, Shlens & Wojna,
2016), arXiv:1512.00567, in the variant of TensorFlow's graph of 2015-12-05, which FID and Inception Score are defined
by.

What differs from the network of the paper: 1008 classes, averages that leave padding out, and a maximum in the pool of
the last block. The names of the modules are those of the published PyTorch port.
"""

__all__ = ["PUBLISHED_SHA256", "PUBLISHED_URL", "InceptionV3", "preprocess"]

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
"""Names of how images are brought to the network: as TTUR's graph and torch-fidelity do it, or as pytorch-fid."""


class Conv(nn.Module):
    """Convolution, batch normalisation, rectifier."""

    def __init__(self, in_channels: int, channels: int, kernel, stride: int = 1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def same(kernel) -> tuple[int, int]:
    """Padding that keeps the size."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height // 2, width // 2


class Block(nn.Module):
    """Chains of convolutions side by side, and a pool.

    Args:
        in_channels: of the input.
        branches: name to the (channels, kernel) of its chain; a last entry that is a list holds convolutions side by
            side.
        pool_channels: of the convolution after the pool. 0 makes the block halve the image: the last convolutions
            and the pool then have stride 2, and nothing is padded there.
        pool: "average", which leaves padding out of its mean, or "max".
    """

    def __init__(self, in_channels: int, branches: dict[str, list], pool_channels: int = 0, pool: str = "average"):
        super().__init__()
        self.chains, self.halves, self.pool = [], not pool_channels, pool
        self.channels = pool_channels or in_channels
        for branch, layers in branches.items():
            width, chain = in_channels, []
            for number, layer in enumerate(layers, 1):
                last, stem = number == len(layers), branch if len(layers) == 1 else f"{branch}_{number}"
                sides = {f"{stem}{'ab'[i]}": side for i, side in enumerate(layer)} if isinstance(layer, list) else None
                for name, (channels, kernel) in (sides or {stem: layer}).items():
                    halve = self.halves and last
                    conv = Conv(width, channels, kernel, 2 if halve else 1, 0 if halve else same(kernel))
                    self.add_module(name, conv)
                chain.append(list(sides or [stem]))
                width = sum(channels for channels, _ in sides.values()) if sides else layer[0]
            self.channels += width
            self.chains.append(chain)
        if pool_channels:
            self.branch_pool = Conv(in_channels, pool_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain in self.chains:
            value = x
            for names in chain:
                value = torch.cat([getattr(self, name)(value) for name in names], 1)
            outputs.append(value)
        if self.halves:
            return torch.cat([*outputs, F.max_pool2d(x, 3, 2)], 1)
        pooled = F.max_pool2d(x, 3, 1, 1) if self.pool == "max" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*outputs, self.branch_pool(pooled)], 1)


def fine(in_channels: int, pool_channels: int) -> Block:
    """Blocks of the 35 x 35 grid."""
    branches = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
    }
    return Block(in_channels, branches, pool_channels)


def middle(c: int) -> Block:
    """Blocks of the 17 x 17 grid, with 7 x 7 convolutions as 1 x 7 and 7 x 1."""
    wide, tall = (1, 7), (7, 1)
    branches = {
        "branch1x1": [(192, 1)],
        "branch7x7": [(c, 1), (c, wide), (192, tall)],
        "branch7x7dbl": [(c, 1), (c, tall), (c, wide), (c, tall), (192, wide)],
    }
    return Block(768, branches, 192)


def coarse(in_channels: int, pool: str) -> Block:
    """Blocks of the 8 x 8 grid."""
    sides = [(384, (1, 3)), (384, (3, 1))]
    branches = {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), sides],
        "branch3x3dbl": [(448, 1), (384, 3), sides],
    }
    return Block(in_channels, branches, 192, pool)


class InceptionV3(nn.Module):
    """The network. Its input is (batch, 3, 299, 299) from [`preprocess`]; use it in eval mode."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = fine(192, 32)
        self.Mixed_5c = fine(256, 64)
        self.Mixed_5d = fine(288, 64)
        self.Mixed_6a = Block(288, {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]})
        self.Mixed_6b = middle(128)
        self.Mixed_6c = middle(160)
        self.Mixed_6d = middle(160)
        self.Mixed_6e = middle(192)
        self.Mixed_7a = Block(
            768,
            {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]},
        )
        self.Mixed_7b = coarse(1280, "average")
        self.Mixed_7c = coarse(2048, "max")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 2048): the averages over the last grid."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))


def preprocess(images: Tensor, resize: str = "tensorflow") -> Tensor:
    """(batch, 3, 299, 299) for the network from images in [0, 1], (batch, 3, height, width), as `RESIZES` names it."""
    if resize == "tensorflow":
        return (tensorflow_bilinear(images * 255, SIZE) - 128) / 128
    if resize == "pytorch":
        return 2 * F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False) - 1
    raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got '{resize}'")


def tensorflow_bilinear(images: Tensor, size: int) -> Tensor:
    """(..., size, size): what TensorFlow 1's resize_bilinear gives. Pixel i of the result lies at i * old / new of the
    input, without the half pixel that others add."""
    for axis in (-2, -1):
        length = images.shape[axis]
        at = torch.arange(size, dtype=images.dtype, device=images.device) * (length / size)
        low = at.long()
        high = (low + 1).clamp(max=length - 1)
        weight = at - low
        weight = weight.unsqueeze(1) if axis == -2 else weight
        images = torch.lerp(images.index_select(axis, low), images.index_select(axis, high), weight)
    return images
