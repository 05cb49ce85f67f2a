"""Discriminators, and the game that AAE and WAE-GAN play with one in the latent space.

All players train on one loss: a term that is meant for one player sees the others' weights, or their outputs, as
constants. `parameter_groups` names the players, so that each can have its own learning rate.
"""

__all__ = ["Discriminator", "accuracy", "players", "real_or_fake"]

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import Sizes
from .networks import down, pyramid
from .precision import at_least_float32


class Discriminator(nn.Module):
    """(batch, *input_shape) to one logit of being real for each example, (batch,), in float32 at least.

    Args:
        input_shape: images have convolutions that halve them, vectors have linear layers; one number flattens images.
        widths: channels, or hidden sizes, of the layers.
        slope: of the leaky ReLU for negative values; 0 is a ReLU.
    """

    def __init__(self, input_shape: Sizes, widths: Sizes, slope: float = 0.0):
        super().__init__()
        self.slope, self.flat = slope, len(input_shape) == 1
        if len(input_shape) == 3:
            levels = pyramid(input_shape, widths)
            layers, last = [down(level) for level in levels], prod(levels[-1][1])
        else:
            sizes = (prod(input_shape), *widths)
            layers, last = [nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False)], sizes[-1]
        self.layers = nn.ModuleList(layers)
        self.score = nn.Linear(last, 1)

    def forward(self, x: Tensor, feature_layer: int | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The logits; with the features of a layer before them, (batch, features), where one is named, from 1."""
        outputs, h = [], (x.flatten(1) if self.flat else x).to(self.score.weight.dtype)
        for layer in self.layers:
            h = F.leaky_relu(layer(h), self.slope)
            outputs.append(h)
        logits = at_least_float32(self.score(h.flatten(1))).squeeze(-1)
        if feature_layer is None:
            return logits
        return at_least_float32(outputs[feature_layer - 1]).flatten(1), logits


def real_or_fake(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss from its logits on real and fake examples: the sum of both binary cross entropies."""
    return F.softplus(-real) + F.softplus(fake)


def accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Share of the examples that the discriminator tells right; 0.5 is a draw."""
    return torch.cat([real > 0, fake <= 0]).to(real.dtype).mean()


def players(
    model: nn.Module, rest: str, **modules: nn.Module | tuple[nn.Module, ...]
) -> dict[str, list[nn.Parameter]]:
    """The partition of a model's trainable parameters: named modules' own, and all others under the name `rest`."""
    groups = {
        name: [p for part in (parts if isinstance(parts, tuple) else (parts,)) for p in part.parameters()]
        for name, parts in modules.items()
    }
    taken = {id(p) for parameters in groups.values() for p in parameters}
    return {rest: [p for p in model.parameters() if id(p) not in taken], **groups}
