"""Discriminators, their loss, and the parameter groups of models that train one.

The networks of such a model share one scalar loss. A term that is meant for one network uses the parameters of the
others, or their outputs, as constants.
"""

__all__ = [
    "Discriminator",
    "FeatureDiscriminator",
    "PatchDiscriminator",
    "discriminator_accuracy",
    "discriminator_loss",
    "hinge_loss",
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


class PatchDiscriminator(nn.Module):
    """PatchGAN of Image-to-Image Translation with Conditional Adversarial Networks (Isola, Zhu, Zhou & Efros, 2017),
    arXiv:1611.07004: (batch, channels, height, width) to one logit per patch, (batch, rows, columns).

    With channels (64, 128, 256, 512), a logit sees 70 x 70 pixels. Images are in [0, 1], and mapped to [-1, 1].

    Args:
        input_shape: (channels, height, width).
        widths: channels of the hidden convolutions, of size 4 and leaky ReLUs. All but the last halve height and
            width. All but the first have batch normalisation.

    Raises:
        ValueError: if the images are too small for one patch.
    """

    def __init__(self, input_shape: Sizes, widths: Sizes):
        super().__init__()
        smallest = 3 * 2 ** (len(widths) - 1)
        if min(input_shape[1:]) < smallest:
            raise ValueError(
                f"discriminator_channels with {len(widths)} layers needs images of at least {smallest} x {smallest} "
                f"pixels, got input_shape {tuple(input_shape)}; name fewer layers"
            )
        layers: list[nn.Module] = []
        for index, (narrow, wide) in enumerate(pairwise((input_shape[0], *widths))):
            is_first, is_last = index == 0, index == len(widths) - 1
            layers.append(PatchConv(narrow, wide, 4, 1 if is_last and not is_first else 2, 1, bias=is_first))
            layers += [] if is_first else [nn.BatchNorm2d(wide)]
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.score = PatchConv(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, rows, columns) of `x` (batch, channels, height, width), in float32 or higher."""
        return at_least_float32(self.score(self.layers(2 * x.to(self.score.weight.dtype) - 1))).squeeze(1)


class PatchConv(nn.Conv2d):
    """A convolution with initial weights from N(0, 0.02^2) and biases 0, as in the authors' code."""

    def reset_parameters(self):
        nn.init.normal_(self.weight, 0.0, 0.02)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Scalar: the hinge loss of a discriminator's logits on real and fake examples (Lim & Ye, 2017, arXiv:1705.02894).

    Half the mean of max(0, 1 - real), plus half the mean of max(0, 1 + fake).
    """
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


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
