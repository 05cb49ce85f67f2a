"""Discriminators, their loss, and the parameter groups of models that train one.

The networks of such a model share one scalar loss. A term that is meant for one network uses the parameters of the
others, or their outputs, as constants.
"""

__all__ = ["Discriminator", "discriminator_accuracy", "discriminator_loss", "partition_parameters"]

from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import Sizes
from .network_blocks import plan_levels
from .precision import at_least_float32


class Discriminator(nn.Module):
    """(batch, *input_shape) to one logit per example, (batch,), the log odds of being real; in float32 or higher.

    Args:
        input_shape: (channels, height, width) for convolutions that halve the image. Any other shape means
            linear layers on the flattened input, so (size,) fits images too.
        widths: channels of the convolutions, or sizes of the linear layers.
        slope: negative slope of the leaky ReLUs; 0 for ReLUs.
    """

    def __init__(self, input_shape: Sizes, widths: Sizes, slope: float = 0.0):
        super().__init__()
        self.slope = slope
        self.is_flat = len(input_shape) != 3
        if self.is_flat:
            sizes = (prod(input_shape), *widths)
            layers, num_features = [nn.Linear(*pair) for pair in pairwise(sizes)], sizes[-1]
        else:
            levels = plan_levels(input_shape, widths)
            layers, num_features = [level.build_conv() for level in levels], prod(levels[-1].smaller)
        self.layers = nn.ModuleList(layers)
        self.score = nn.Linear(num_features, 1)

    def forward(self, x: Tensor, feature_layer: int | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Logits, or features and logits.

        Args:
            x: (batch, *input_shape).
            feature_layer: index of a hidden layer, from 1.

        Returns:
            The logits, (batch,). With `feature_layer`, the activations of that layer, (batch, features), and the
            logits.
        """
        h = (x.flatten(1) if self.is_flat else x).to(self.score.weight.dtype)
        activations = []
        for layer in self.layers:
            h = F.leaky_relu(layer(h), self.slope)
            activations.append(h)
        logits = at_least_float32(self.score(h.flatten(1))).squeeze(-1)
        if feature_layer is None:
            return logits
        return at_least_float32(activations[feature_layer - 1]).flatten(1), logits


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """(batch,): sum of the cross entropies of a discriminator's logits on real and fake examples, (batch,) each."""
    return F.softplus(-real) + F.softplus(fake)


def discriminator_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Share of real and fake examples that their logits classify correctly; 0.5 is chance level."""
    return torch.cat([real > 0, fake <= 0]).to(real.dtype).mean()


def partition_parameters(model: nn.Module, rest: str, **modules: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Partition a model's parameters into named groups.

    Args:
        model: the whole model.
        rest: name of the group of the parameters that are in no other group.
        **modules: name of a group to the submodule whose parameters it holds.
    """
    groups = {name: list(module.parameters()) for name, module in modules.items()}
    grouped = {id(p) for parameters in groups.values() for p in parameters}
    return {rest: [p for p in model.parameters() if id(p) not in grouped], **groups}
