"""Discriminators, their loss, and the parameter groups of models that train one.

The networks of such a model share one scalar loss. A term that is meant for one network uses the parameters of the
others, or their outputs, as constants.
"""

__all__ = [
    "Discriminator",
    "FeatureDiscriminator",
    "discriminator_accuracy",
    "discriminator_loss",
    "partition_parameters",
]

from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import Sizes
from .network_blocks import plan_levels
from .precision import at_least_float32
from .spatial_layers import has_spatial_axes


class Discriminator(nn.Module):
    """(batch, *input_shape) to one logit per example, (batch,), the log odds of being real; in float32 or higher.

    Args:
        input_shape: (channels, length), (channels, height, width) or (channels, depth, height, width) for convolutions
            that halve each axis. Any other shape means linear layers on the flattened input, so (size,) fits images
            too.
        widths: channels of the convolutions, or sizes of the linear layers.
        slope: negative slope of the leaky ReLUs; 0 for ReLUs.
    """

    def __init__(self, input_shape: Sizes, widths: Sizes, slope: float = 0.0):
        super().__init__()
        self.slope = slope
        self.is_flat = not has_spatial_axes(input_shape)
        if self.is_flat:
            sizes = (prod(input_shape), *widths)
            layers, num_features = [nn.Linear(*pair) for pair in pairwise(sizes)], sizes[-1]
        else:
            levels = plan_levels(input_shape, widths)
            layers, num_features = [level.build_conv() for level in levels], prod(levels[-1].smaller)
        self.layers = nn.ModuleList(layers)
        self.score = nn.Linear(num_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch,) of `x` (batch, *input_shape)."""
        return self.compute_logits(self.compute_activations(x)[-1])

    def compute_activations(self, x: Tensor) -> list[Tensor]:
        """Return the activations (batch, ...) of each hidden layer for `x` (batch, *input_shape)."""
        h = (x.flatten(1) if self.is_flat else x).to(self.score.weight.dtype)
        activations = []
        for layer in self.layers:
            h = F.leaky_relu(layer(h), self.slope)
            activations.append(h)
        return activations

    def compute_logits(self, last_activations: Tensor) -> Tensor:
        """Return the logits (batch,) of the activations of the last hidden layer."""
        return at_least_float32(self.score(last_activations.flatten(1))).squeeze(-1)


class FeatureDiscriminator(Discriminator):
    """A discriminator that also returns the features of a hidden layer, to compare images by.

    Args:
        input_shape, widths, slope: as for `Discriminator`.
        feature_layer: index of the hidden layer, from 1.
    """

    def __init__(self, input_shape: Sizes, widths: Sizes, slope: float, feature_layer: int):
        super().__init__(input_shape, widths, slope)
        self.feature_layer = feature_layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (batch, num_features) and the logits (batch,) of `x` (batch, *input_shape)."""
        activations = self.compute_activations(x)
        features = at_least_float32(activations[self.feature_layer - 1]).flatten(1)
        return features, self.compute_logits(activations[-1])


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """(batch,): sum of the cross entropies of a discriminator's logits on real and fake examples, (batch,) each."""
    return F.softplus(-real) + F.softplus(fake)


def discriminator_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Share of real and fake examples that their logits classify correctly; 0.5 is chance level."""
    return torch.cat([real > 0, fake <= 0]).to(real.dtype).mean()


def partition_parameters(model: nn.Module, rest: str, **modules: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Partition a model's trainable parameters into named groups.

    Args:
        model: the whole model.
        rest: name of the group of the parameters that are in no other group.
        **modules: name of a group to the submodule whose parameters it holds.
    """
    groups = {name: [p for p in module.parameters() if p.requires_grad] for name, module in modules.items()}
    grouped = {id(p) for parameters in groups.values() for p in parameters}
    return {rest: [p for p in model.parameters() if p.requires_grad and id(p) not in grouped], **groups}
