"""The gated PixelCNN, a network for maps of codes (van den Oord et al., 2016, arXiv:1606.05328).

Maps have one to three axes, and the network one stack of features for each. The stack of an axis sees what comes
earlier along this axis, at the same place of the axes before it and around the place of the axes after it. With two
axes, these are the paper's stacks: the vertical one sees the rows above, the horizontal one the row so far. With one
axis, there is only the horizontal stack. With three axes, a frontal stack sees the planes before.
"""

__all__ = ["PixelCNN", "invert_distribution"]

from collections.abc import Sequence
from functools import reduce
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import at_least_float32
from .spatial_layers import CONVS, Conv

Condition = Sequence[Tensor] | None
"""What the labels add to a layer's features in each stack, (batch, 2 * hidden_size, *[1] * num_axes) each."""

# Attributes of a layer, by axis; maps with fewer axes have the last ones
_STACKS = ("frontal", "vertical", "horizontal")
_LINKS = ("between_planes", "between")  # from a stack to the next


class GatedLayer(nn.Module):
    """One layer of all stacks.

    Args:
        hidden_size: number of channels.
        kernel_size: odd.
        num_axes: number of axes of the maps, 1 to 3.
    """

    can_have_adapters = False  # `compute_position` reads the weights of the layers

    horizontal: Conv
    out: Conv

    def __init__(self, hidden_size: int, kernel_size: int, num_axes: int = 2):
        super().__init__()
        self.reach, self.num_axes = kernel_size // 2, num_axes
        build_conv = CONVS[num_axes]
        for axis, name in enumerate(_STACKS[-num_axes:]):
            kernel = (*[1] * axis, self.reach + 1, *[kernel_size] * (num_axes - 1 - axis))
            self.add_module(name, build_conv(hidden_size, 2 * hidden_size, kernel))
        for name in _LINKS[3 - num_axes :]:
            self.add_module(name, build_conv(2 * hidden_size, 2 * hidden_size, 1))
        self.out = build_conv(hidden_size, hidden_size, 1)

    def forward(self, inputs: Sequence[Tensor], condition: Condition) -> list[Tensor]:
        """The next features of each stack, (batch, hidden_size, *sizes), from those of this layer.

        The network shifts the inputs of the first layer, so they never hold a position's own code.
        """
        outputs, from_before = [], None
        for axis, features in enumerate(inputs):
            gated, from_before = self.compute_stack(axis, features, from_before, condition, self.reach)
            outputs.append(gated)
        return [*outputs[:-1], inputs[-1] + self.out(outputs[-1])]

    def compute_stack(
        self, axis: int, features: Tensor, from_before: Tensor | None, condition: Condition, num_zeros: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Gated features of the stack of an axis, and what it adds to the next stack, if there is one.

        Args:
            axis: the stack's axis.
            features: (batch, hidden_size, *sizes), inputs of the stack.
            from_before: (batch, 2 * hidden_size, *sizes), added by the stack before, if there is one.
            condition: added by the labels.
            num_zeros: zeros before the first position of the axis. The output then has `reach - num_zeros` positions
                less.
        """
        margins = [self.reach] * (2 * (self.num_axes - 1 - axis))  # of the axes after this one
        own = getattr(self, _STACKS[axis - self.num_axes])(F.pad(features, (*margins, num_zeros, 0)))
        own = own if from_before is None else own + from_before
        is_last = axis == self.num_axes - 1
        passed_on = None if is_last else getattr(self, _LINKS[axis - self.num_axes + 1])(own)
        return gate(own if condition is None else own + condition[axis]), passed_on

    def compute_position(self, positions: Tensor, from_before: Tensor) -> Tensor:
        """(batch, hidden_size): one position of the horizontal stack.

        Args:
            positions: (batch, hidden_size, reach + 1), the position's input and those before it in the row.
            from_before: (batch, 2 * hidden_size), added by the stack before and the labels.
        """
        weight = self.horizontal.weight.flatten(1)
        horizontal = F.linear(positions.flatten(1), weight, self.horizontal.bias) + from_before
        return positions[:, :, -1] + F.linear(gate(horizontal), self.out.weight.flatten(1), self.out.bias)


def gate(features: Tensor) -> Tensor:
    """tanh of the first half of the channels times the sigmoid of the second half."""
    values, gates = features.chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()


class PixelCNN(nn.Module):
    """Logits of each code given the codes before it in raster order, the last axis fastest, and of lower levels.

    Args:
        num_embeddings: number of codes in a codebook.
        num_levels: number of codes per position, one of each codebook.
        hidden_size: number of channels of each stack.
        num_hidden_layers: number of gated layers.
        kernel_size: odd.
        num_classes: number of classes to condition on, or None.
        num_axes: number of axes of the maps, 1 to 3.
    """

    def __init__(
        self,
        num_embeddings: int,
        num_levels: int,
        hidden_size: int,
        num_hidden_layers: int,
        kernel_size: int,
        num_classes: int | None = None,
        num_axes: int = 2,
    ):
        super().__init__()
        self.hidden_size, self.reach, self.num_axes = hidden_size, kernel_size // 2, num_axes
        self.embeddings = nn.ModuleList(nn.Embedding(num_embeddings, hidden_size) for _ in range(num_levels))
        self.layers = nn.ModuleList(GatedLayer(hidden_size, kernel_size, num_axes) for _ in range(num_hidden_layers))
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.levels_before = nn.ModuleList(nn.Embedding(num_embeddings, hidden_size) for _ in range(num_levels - 1))
        self.heads = nn.ModuleList(nn.Linear(hidden_size, num_embeddings) for _ in range(num_levels))
        size = 2 * num_axes * hidden_size * num_hidden_layers
        self.classes = None if num_classes is None else nn.Embedding(num_classes, size)

    def forward(self, codes: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(batch, *sizes, levels, num_embeddings) logits.

        Args:
            codes: (batch, *sizes, levels) integers.
            class_labels: (batch,) integers, if the network has classes.
        """
        inputs = self.embed_codes(codes)
        # shifted by one position here, so that no kernel needs a mask
        features = [_shift(inputs, dim) for dim in range(2, inputs.dim())]
        for layer, condition in zip(self.layers, self._embed_classes(class_labels), strict=True):
            features = layer(features, condition)
        last = self.hidden(features[-1].relu().movedim(1, -1))
        return torch.stack([self._level_logits(last, level, codes) for level in range(codes.shape[-1])], -2)

    def embed_codes(self, codes: Tensor) -> Tensor:
        """(batch, hidden_size, *sizes) for codes (batch, *sizes, levels): sums over the levels."""
        levels = [embed(own) for embed, own in zip(self.embeddings, codes.unbind(-1), strict=True)]
        return reduce(torch.add, levels).movedim(-1, 1)

    def _embed_classes(self, class_labels: Tensor | None) -> Sequence[Condition]:
        """The condition of each layer."""
        if self.classes is None:
            return [None] * len(self.layers)
        parts = self.classes(class_labels).unflatten(1, (len(self.layers), self.num_axes, -1))
        parts = parts[(..., *[None] * self.num_axes)]
        return [part.unbind(1) for part in parts.unbind(1)]

    def _level_logits(self, features: Tensor, level: int, codes: Tensor) -> Tensor:
        """(*batch, num_embeddings) from features (*batch, hidden_size) and the lower levels of codes."""
        for embed, own in zip(self.levels_before[:level], codes.unbind(-1), strict=False):
            features = features + embed(own)
        return at_least_float32(self.heads[level](features.relu()))

    def sample(self, uniform: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(batch, *sizes, levels) codes by the inverse of the distribution function.

        Every feature is computed once, so that all positions together cost one pass through the network.

        Args:
            uniform: (batch, *sizes, levels) uniform numbers in [0, 1).
            class_labels: (batch,) integers, if the network has classes.
        """
        codes = torch.zeros_like(uniform, dtype=torch.long)
        nothing = self.hidden.weight.new_zeros(()).expand(len(codes), 2 * self.hidden_size, *codes.shape[1:-1])
        self._sample_part(0, codes, uniform, [nothing] * len(self.layers), self._embed_classes(class_labels))
        return codes

    def _sample_part(
        self,
        axis: int,
        codes: Tensor,
        uniform: Tensor,
        from_before: Sequence[Tensor],
        conditions: Sequence[Condition],
    ):
        """Fill the codes of one part of the maps, slice by slice along an axis.

        Args:
            axis: the axis. The part is one slice of the axes before it.
            codes: (batch, *[1] * axis, *sizes, levels), a view of the part.
            uniform: the same part of the uniform numbers.
            from_before: (batch, 2 * hidden_size, *[1] * axis, *sizes) per layer, added by the stack before.
            conditions: one per layer.
        """
        if axis == self.num_axes - 1:
            return self._sample_row(codes, uniform, from_before, conditions)
        layers, dim = cast(list[GatedLayer], [*self.layers]), axis + 2
        size = [len(codes), self.hidden_size, *codes.shape[1:-1]]
        size[dim] = self.reach
        previous = [self.hidden.weight.new_zeros(size) for _ in layers]
        size[dim] = 1
        for place in range(codes.shape[axis + 1]):
            if place:
                features = self.embed_codes(codes.narrow(axis + 1, place - 1, 1))
            else:
                features = self.hidden.weight.new_zeros(size)
            passed_on = []
            for index, (layer, condition) in enumerate(zip(layers, conditions, strict=True)):
                slices = torch.cat([previous[index], features], dim)
                before = from_before[index].narrow(dim, place, 1)
                features, across = layer.compute_stack(axis, slices, before, condition)
                previous[index] = slices.narrow(dim, 1, self.reach)
                passed_on.append(across)
            part = codes.narrow(axis + 1, place, 1), uniform.narrow(axis + 1, place, 1)
            self._sample_part(axis + 1, *part, passed_on, conditions)

    def _sample_row(
        self, codes: Tensor, uniform: Tensor, from_before: Sequence[Tensor], conditions: Sequence[Condition]
    ):
        """Fill the codes of one row, position by position. The arguments are as for `_sample_part`."""
        layers = cast(list[GatedLayer], [*self.layers])
        batch, *_, width, levels = codes.shape
        codes, uniform = (part.view(batch, width, levels) for part in (codes, uniform))
        added = []
        for features, condition in zip(from_before, conditions, strict=True):
            features = features if condition is None else features + condition[-1]
            added.append(features.flatten(2).movedim(-1, 0).contiguous())
        inputs = [self.hidden.weight.new_zeros(batch, self.hidden_size, self.reach + width) for _ in layers]
        for column in range(width):
            if column:
                features = self.embed_codes(codes[:, column - 1])
            else:
                features = self.hidden.weight.new_zeros(batch, self.hidden_size)
            for layer, from_stack, own in zip(layers, added, inputs, strict=True):
                own[:, :, self.reach + column] = features
                features = layer.compute_position(own[:, :, column : column + self.reach + 1], from_stack[column])
            features = self.hidden(features.relu())
            for level in range(levels):
                logits = self._level_logits(features, level, codes[:, column])
                codes[:, column, level] = invert_distribution(logits, uniform[:, column, level])


def _shift(features: Tensor, dim: int) -> Tensor:
    """Features moved by one position along a dimension, with zeros in the first."""
    padding = (*[0, 0] * (features.dim() - 1 - dim), 1, 0)
    return F.pad(features, padding).narrow(dim, 0, features.shape[dim])


def invert_distribution(logits: Tensor, uniform: Tensor) -> Tensor:
    """(batch,): for each row of logits (batch, n) the integer whose share of [0, 1) holds the number in `uniform`."""
    sums = logits.softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(sums, (uniform.unsqueeze(1) * sums[:, -1:]).contiguous(), right=True).squeeze(1)
    return drawn.clamp(max=sums.shape[1] - 1)
