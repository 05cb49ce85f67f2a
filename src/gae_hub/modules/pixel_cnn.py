"""The gated PixelCNN, a network for maps of codes (van den Oord et al., 2016, arXiv:1606.05328)."""

__all__ = ["PixelCNN"]

from collections.abc import Sequence
from functools import reduce
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Condition = tuple[Tensor, Tensor] | None
"""What the labels add to a layer's vertical and horizontal features, (batch, 2 * hidden_size, 1, 1) each."""


class GatedLayer(nn.Module):
    """One layer of both stacks.

    Args:
        hidden_size: number of channels.
        kernel_size: odd.
    """

    def __init__(self, hidden_size: int, kernel_size: int):
        super().__init__()
        self.reach = kernel_size // 2
        self.vertical = nn.Conv2d(hidden_size, 2 * hidden_size, (self.reach + 1, kernel_size))
        self.horizontal = nn.Conv2d(hidden_size, 2 * hidden_size, (1, self.reach + 1))
        self.between = nn.Conv2d(2 * hidden_size, 2 * hidden_size, 1)
        self.out = nn.Conv2d(hidden_size, hidden_size, 1)

    def forward(self, above: Tensor, left: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """The next features of both stacks, from `above`, of the rows above, and `left`, of the row so far.

        All are (batch, hidden_size, height, width). The network shifts the inputs of the first layer, so they never
        hold a position's own code.
        """
        vertical = self.vertical(F.pad(above, (self.reach, self.reach, self.reach, 0)))
        horizontal = self.horizontal(F.pad(left, (self.reach, 0))) + self.between(vertical)
        if condition is not None:
            vertical, horizontal = vertical + condition[0], horizontal + condition[1]
        return gate(vertical), left + self.out(gate(horizontal))

    def compute_row(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One row of the vertical stack, before the gate, and what it adds to the horizontal stack.

        Args:
            rows: (batch, hidden_size, reach + 1, width), the row's input and those before it.

        Returns:
            (batch, 2 * hidden_size, 1, width) each.
        """
        vertical = F.conv2d(F.pad(rows, (self.reach, self.reach)), self.vertical.weight, self.vertical.bias)
        return vertical, self.between(vertical)

    def compute_position(self, positions: Tensor, from_above: Tensor) -> Tensor:
        """(batch, hidden_size): one position of the horizontal stack.

        Args:
            positions: (batch, hidden_size, reach + 1), the position's input and those before it in the row.
            from_above: (batch, 2 * hidden_size), added by the vertical stack and the labels.
        """
        weight = self.horizontal.weight.flatten(1)
        horizontal = F.linear(positions.flatten(1), weight, self.horizontal.bias) + from_above
        return positions[:, :, -1] + F.linear(gate(horizontal), self.out.weight.flatten(1), self.out.bias)


def gate(features: Tensor) -> Tensor:
    """tanh of the first half of the channels times the sigmoid of the second half."""
    values, gates = features.chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()


class PixelCNN(nn.Module):
    """Logits of each code given the codes before it: in the rows above, to its left, and of lower levels.

    Args:
        num_embeddings: number of codes in a codebook.
        num_levels: number of codes per position, one of each codebook.
        hidden_size: number of channels of both stacks.
        num_hidden_layers: number of gated layers.
        kernel_size: odd.
        num_classes: number of classes to condition on, or None.
    """

    def __init__(
        self,
        num_embeddings: int,
        num_levels: int,
        hidden_size: int,
        num_hidden_layers: int,
        kernel_size: int,
        num_classes: int | None = None,
    ):
        super().__init__()
        self.hidden_size, self.reach = hidden_size, kernel_size // 2
        self.embeddings = nn.ModuleList(nn.Embedding(num_embeddings, hidden_size) for _ in range(num_levels))
        self.layers = nn.ModuleList(GatedLayer(hidden_size, kernel_size) for _ in range(num_hidden_layers))
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.levels_before = nn.ModuleList(nn.Embedding(num_embeddings, hidden_size) for _ in range(num_levels - 1))
        self.heads = nn.ModuleList(nn.Linear(hidden_size, num_embeddings) for _ in range(num_levels))
        self.classes = None if num_classes is None else nn.Embedding(num_classes, 4 * hidden_size * num_hidden_layers)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """(batch, height, width, levels, num_embeddings) logits.

        Args:
            codes: (batch, height, width, levels) integers.
            labels: (batch,) integers, if the network has classes.
        """
        inputs = self.embed_codes(codes)
        # shifted by a row and a column here, so that no kernel needs a mask
        above, left = F.pad(inputs, (0, 0, 1, 0))[:, :, :-1], F.pad(inputs, (1, 0))[..., :-1]
        for layer, condition in zip(self.layers, self._embed_labels(labels), strict=True):
            above, left = layer(above, left, condition)
        features = self.hidden(left.relu().movedim(1, -1))
        return torch.stack([self._level_logits(features, level, codes) for level in range(codes.shape[-1])], -2)

    def embed_codes(self, codes: Tensor) -> Tensor:
        """(batch, hidden_size, height, width) for codes (batch, height, width, levels): sums over the levels."""
        levels = [embed(own) for embed, own in zip(self.embeddings, codes.unbind(-1), strict=True)]
        return reduce(torch.add, levels).movedim(-1, 1)

    def _embed_labels(self, labels: Tensor | None) -> Sequence[Condition]:
        """The condition of each layer."""
        if self.classes is None:
            return [None] * len(self.layers)
        parts = self.classes(labels).unflatten(1, (len(self.layers), 2, -1))[..., None, None]
        return [(part[:, 0], part[:, 1]) for part in parts.unbind(1)]

    def _level_logits(self, features: Tensor, level: int, codes: Tensor) -> Tensor:
        """(*batch, num_embeddings) from features (*batch, hidden_size) and the lower levels of codes."""
        for embed, own in zip(self.levels_before[:level], codes.unbind(-1), strict=False):
            features = features + embed(own)
        return self.heads[level](features.relu())

    def sample(self, uniform: Tensor, labels: Tensor | None = None) -> Tensor:
        """(batch, height, width, levels) codes by the inverse of the distribution function.

        Every feature is computed once, so that all positions together cost one pass through the network.

        Args:
            uniform: (batch, height, width, levels) uniform numbers in [0, 1).
            labels: (batch,) integers, if the network has classes.
        """
        batch, height, width, levels = uniform.shape
        layers = cast(list[GatedLayer], [*self.layers])
        codes = uniform.new_zeros(uniform.shape, dtype=torch.long)
        conditions = self._embed_labels(labels)
        previous_rows = [uniform.new_zeros(batch, self.hidden_size, self.reach, width) for _ in layers]
        for row in range(height):
            if row:
                features = self.embed_codes(codes[:, row - 1 : row])
            else:
                features = uniform.new_zeros(batch, self.hidden_size, 1, width)
            from_above = []
            for index, (layer, condition) in enumerate(zip(layers, conditions, strict=True)):
                rows = torch.cat([previous_rows[index], features], 2)
                vertical, across = layer.compute_row(rows)
                if condition is not None:
                    vertical, across = vertical + condition[0], across + condition[1]
                previous_rows[index], features = rows[:, :, 1:], gate(vertical)
                from_above.append(across[:, :, 0].movedim(-1, 0).contiguous())
            inputs = [uniform.new_zeros(batch, self.hidden_size, self.reach + width) for _ in layers]
            for column in range(width):
                if column:
                    features = self.embed_codes(codes[:, row : row + 1, column - 1 : column]).flatten(1)
                else:
                    features = uniform.new_zeros(batch, self.hidden_size)
                for layer, across, own in zip(layers, from_above, inputs, strict=True):
                    own[:, :, self.reach + column] = features
                    features = layer.compute_position(own[:, :, column : column + self.reach + 1], across[column])
                features = self.hidden(features.relu())
                for level in range(levels):
                    logits = self._level_logits(features, level, codes[:, row, column])
                    codes[:, row, column, level] = _invert_distribution(logits, uniform[:, row, column, level])
        return codes


def _invert_distribution(logits: Tensor, uniform: Tensor) -> Tensor:
    """(batch,): for each row of logits (batch, n) the integer whose share of [0, 1) holds the number in `uniform`."""
    sums = logits.softmax(-1).cumsum(-1)
    drawn = torch.searchsorted(sums, (uniform.unsqueeze(1) * sums[:, -1:]).contiguous(), right=True).squeeze(1)
    return drawn.clamp(max=sums.shape[1] - 1)
