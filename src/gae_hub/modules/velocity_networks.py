"""Networks for velocity fields v(t, z | class) of latents: an MLP for vectors, a transformer for maps.

Both are residual, and every block is modulated by the time and the class as in DiT (Peebles & Xie, 2023,
arXiv:2212.09748). They start as v = 0. `times` is (num,) or (1,), in [0, 1]; `class_labels` (num,) are integers from 0
to num_classes, where num_classes stands for no class.
"""

__all__ = ["VelocityMLP", "VelocityTransformer"]

from collections.abc import Iterable
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from .backbones import Sizes

_NUM_FREQUENCIES = 16
_CONDITION_SIZE = 64


class ZeroLinear(nn.Linear):
    """A linear layer that starts as 0."""

    def reset_parameters(self):
        for parameter in self.parameters():
            init.zeros_(parameter)


class TimeAndClass(nn.Module):
    """An embedding of times and, with `num_classes`, of classes: (num, 64), or (1, 64) if nothing differs."""

    def __init__(self, num_classes: int | None):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 * _NUM_FREQUENCIES, _CONDITION_SIZE), nn.SiLU(), nn.Linear(_CONDITION_SIZE, _CONDITION_SIZE)
        )
        self.classes = None if num_classes is None else nn.Embedding(num_classes + 1, _CONDITION_SIZE)

    def forward(self, times: Tensor, class_labels: Tensor | None) -> Tensor:
        frequencies = torch.pi * torch.arange(1, _NUM_FREQUENCIES + 1, device=times.device)
        angles = times.unsqueeze(1) * frequencies
        waves = torch.cat([angles.cos(), angles.sin()], 1)
        embedded = self.net(waves.to(cast(nn.Linear, self.net[0]).weight.dtype))
        return F.silu(embedded if self.classes is None else embedded + self.classes(class_labels))


class ModulatedLayers(nn.Module):
    """x + gate * f(shift + (1 + scale) * norm(x)), where f has one hidden layer and the condition sets the rest.

    Args:
        hidden_size: size of x and of the hidden layer.
        expansion: the hidden layer's size, relative to that of x.
    """

    def __init__(self, hidden_size: int, expansion: int):
        super().__init__()
        self.modulation = ZeroLinear(_CONDITION_SIZE, 3 * hidden_size)
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.net = nn.Sequential(
            nn.Linear(hidden_size, expansion * hidden_size), nn.SiLU(), nn.Linear(expansion * hidden_size, hidden_size)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(condition).chunk(3, dim=-1)
        return x + (1 + gate) * self.net(shift + (1 + scale) * self.norm(x))


class ModulatedAttention(nn.Module):
    """As [`ModulatedLayers`], where f is self-attention over the positions of x, (num, positions, hidden_size)."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.modulation = ZeroLinear(_CONDITION_SIZE, 3 * hidden_size)
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.inputs, self.output = nn.Linear(hidden_size, 3 * hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(condition).chunk(3, dim=-1)
        inputs = self.inputs(shift + (1 + scale) * self.norm(x))
        query, key, value = inputs.unflatten(-1, (3, self.num_heads, -1)).transpose(-4, -2).unbind(-3)
        # written out, as the fused attention of PyTorch has no derivatives in forward mode
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        return x + (1 + gate) * self.output((weights @ value).transpose(-3, -2).flatten(-2))


class VelocityMLP(nn.Module):
    """Residual blocks on vectors.

    Args:
        dim: size of the vectors.
        hidden_size: size of the features.
        num_hidden_layers: number of blocks.
        num_classes: number of classes, or None.
    """

    def __init__(self, dim: int, hidden_size: int, num_hidden_layers: int, num_classes: int | None = None):
        super().__init__()
        self.condition = TimeAndClass(num_classes)
        self.inputs = nn.Linear(dim, hidden_size)
        self.blocks = nn.ModuleList(ModulatedLayers(hidden_size, 1) for _ in range(num_hidden_layers))
        self.norm = nn.LayerNorm(hidden_size)
        self.output = ZeroLinear(hidden_size, dim)

    def forward(self, times: Tensor, points: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(num, dim) velocities at points (num, dim)."""
        condition, x = self.condition(times, class_labels), self.inputs(points)
        for block in self.blocks:
            x = block(x, condition)
        return self.output(self.norm(x))


class VelocityTransformer(nn.Module):
    """A transformer whose tokens are the positions of maps.

    Args:
        latent_shape: (channels, *sizes), with any number of sizes.
        hidden_size: size of the features, a multiple of the number of heads.
        num_hidden_layers: number of blocks.
        num_attention_heads: number of heads.
        num_classes: number of classes, or None.
    """

    def __init__(
        self,
        latent_shape: Sizes,
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        num_classes: int | None = None,
    ):
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        channels, *sizes = latent_shape
        self.condition = TimeAndClass(num_classes)
        self.inputs = nn.Linear(channels, hidden_size)
        self.positions = nn.Embedding(prod(sizes), hidden_size)
        self.blocks = nn.ModuleList(
            part
            for _ in range(num_hidden_layers)
            for part in (ModulatedAttention(hidden_size, num_attention_heads), ModulatedLayers(hidden_size, 2))
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.output = ZeroLinear(hidden_size, channels)

    def forward(self, times: Tensor, points: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(num, latent_dim) velocities at flattened maps (num, latent_dim)."""
        tokens = points.unflatten(1, (self.latent_shape[0], -1)).mT
        condition = self.condition(times, class_labels).unsqueeze(1)
        x = self.inputs(tokens) + self.positions.weight
        for block in cast(Iterable[nn.Module], self.blocks):
            x = block(x, condition)
        return self.output(self.norm(x)).mT.flatten(1)
