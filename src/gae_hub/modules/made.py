"""MADE: Masked Autoencoder for Distribution Estimation (Germain, Gregor, Murray & Larochelle, 2015),
arXiv:1502.03509."""

__all__ = ["MADE", "MaskedLinear"]

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from .posteriors import expand
from .precision import at_least_float32


def _elu_slope(value: Tensor) -> Tensor:
    """Derivative of the ELU, from its value."""
    return value.clamp(max=0).add_(1)


# name to function, and to its derivative as a function of its value
_ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor]]] = {
    "elu": (F.elu, _elu_slope),
    "relu": (F.relu, torch.sign),
}
# gains of the layers before an activation: its values then have the same mean square in each layer
_GAINS = {"elu": 1.245, "relu": 2**0.5}
_OUTPUT_GAIN = 0.3  # of the last layer: a flow's step starts near the identity


class MaskedLinear(nn.Linear):
    """A linear layer in which an output depends only on inputs whose degree is at most its own.

    Args:
        input_degrees, output_degrees: one integer per input and output.
        strict: whether the degree of the inputs must be lower.
        gain: the initial weights of an output that depends on n inputs have standard deviation gain / sqrt(n). By
            default, they are those of `nn.Linear`, which counts all inputs.
    """

    mask: Tensor  # (outputs, inputs) of the weight's dtype, which multiplies faster than booleans

    def __init__(
        self,
        input_degrees: Sequence[int],
        output_degrees: Sequence[int],
        strict: bool = False,
        gain: float | None = None,
    ):
        super().__init__(len(input_degrees), len(output_degrees))
        self.degrees = (tuple(input_degrees), tuple(output_degrees), strict)
        self.gain = gain
        self.register_buffer("mask", self._build_mask(), persistent=False)
        if gain is not None:
            self.reset_parameters()  # the constructor of nn.Linear called it without the mask

    def _build_mask(self) -> Tensor:
        """(outputs, inputs): 1 where the output depends on the input, else 0."""
        inputs, outputs, strict = self.degrees
        return (torch.tensor(outputs).unsqueeze(1) >= torch.tensor(inputs) + int(strict)).to(self.weight.dtype)

    def reset_parameters(self):
        super().reset_parameters()
        if "mask" in self._buffers:  # checkpoints do not store the mask, so loading calls this method to make it
            init.copy_(self.mask, self._build_mask())
            if self.gain is not None:
                std = self.gain * self._build_mask().to(self.weight.device).sum(1, keepdim=True).clamp(min=1).rsqrt()
                init.copy_(self.weight, torch.randn_like(self.weight) * std)

    @property
    def masked_weight(self) -> Tensor:
        """(outputs, inputs): the weight, with 0 where the output does not depend on the input."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked_weight, self.bias)


def _hidden_degrees(dim: int, hidden_size: int) -> list[int]:
    """Degrees of a layer's hidden units, sorted: 1 to dim - 1, each equally often or once more.

    Fewer units than degrees are spread evenly, so that the last output depends on all inputs before it.
    """
    if hidden_size < dim - 1:
        return [-(-(j + 1) * (dim - 1) // hidden_size) for j in range(hidden_size)]  # ceiling division
    return sorted(j % max(1, dim - 1) + min(1, dim - 1) for j in range(hidden_size))


class MADE(nn.Module):
    """A network whose output i depends on the inputs before i, and on all of a context.

    A model that contains it must initialise it with `reset_parameters`, as `init_weights` of backbones.py does.

    Args:
        dim: number of inputs.
        hidden_size: size of the hidden layers.
        num_hidden_layers: number of hidden layers, at least 1.
        context_size: size of the context; 0 for no context.
        num_outputs: outputs per input; 2 for a shift and a scale.
        reverse: whether to reverse the order of the inputs.
        order: the inputs in their order, a permutation of 0 to dim - 1. The default is 0 to dim - 1.
        activation: of the hidden units.
        scaled_init: whether initial weights are scaled by the number of inputs that their masks keep, so that values
            do not shrink from layer to layer, and the outputs are small. By default, layers are initialized as
            `nn.Linear`.

    Raises:
        ValueError: if `order` is not a permutation.
    """

    can_have_adapters = False  # a low-rank update would connect inputs and outputs that the masks separate

    first: MaskedLinear
    last: MaskedLinear
    others: nn.ModuleList
    context: nn.ModuleList

    def __init__(
        self,
        dim: int,
        hidden_size: int = 128,
        num_hidden_layers: int = 2,
        context_size: int = 0,
        num_outputs: int = 2,
        reverse: bool = False,
        order: Sequence[int] | None = None,
        activation: Literal["elu", "relu"] = "elu",
        scaled_init: bool = False,
    ):
        super().__init__()
        self.output_shape = (num_outputs, dim)
        self.activation, self.activation_slope = _ACTIVATIONS[activation]
        self.order = list(range(dim) if order is None else order)
        if sorted(self.order) != [*range(dim)]:
            raise ValueError(f"order must contain each of 0 to {dim - 1} once, got {order}")
        if reverse:
            self.order.reverse()
        inputs = [self.order.index(i) + 1 for i in range(dim)]
        hidden = _hidden_degrees(dim, hidden_size)
        # units_up_to[k] is the number of hidden units with a degree of at most k, which come first
        self.units_up_to = [*accumulate(hidden.count(degree) for degree in range(dim))]
        gain, output_gain = (_GAINS[activation], _OUTPUT_GAIN) if scaled_init else (None, None)
        self.first = MaskedLinear(inputs, hidden, gain=gain)
        self.others = nn.ModuleList(MaskedLinear(hidden, hidden, gain=gain) for _ in range(num_hidden_layers - 1))
        self.last = MaskedLinear(hidden, [*inputs] * num_outputs, strict=True, gain=output_gain)
        # the context is added to the outputs too, because the first one does not depend on hidden units
        sizes = [hidden_size, num_outputs * dim] if context_size else []
        self.context = nn.ModuleList(nn.Linear(context_size, size, bias=False) for size in sizes)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """`num_outputs` tensors with the shape of x, in float32 or higher.

        Args:
            x: (batch, *draws, dim).
            context: (batch, context_size), if the network has a context.

        Raises:
            ValueError: if the network has a context, and none is given.
        """
        x = x.to(self.first.weight.dtype)
        terms = [expand(term, x.dim() - 2) for term in self.context_terms(context)]
        h = self.first(x)
        h = self.activation(h + terms[0] if terms else h)
        for layer in self.others:
            h = self.activation(layer(h))
        outputs = self.last(h)
        outputs = outputs + terms[1] if terms else outputs
        return at_least_float32(outputs).unflatten(-1, self.output_shape).unbind(-2)

    def context_terms(self, context: Tensor | None) -> list[Tensor]:
        """What the context adds to the first and to the last layer, (batch, units) each. Empty without a context."""
        if not self.context:
            return []
        if context is None:
            raise ValueError("this MADE was built with a context_size, so it needs a context; pass context=")
        return [layer(context.to(self.first.weight.dtype)) for layer in self.context]

    @property
    def layers(self) -> list[MaskedLinear]:
        """The masked layers, from the inputs to the outputs."""
        return [self.first, *cast("Iterable[MaskedLinear]", self.others), self.last]

    def biases(self, context: Tensor | None) -> list[Tensor]:
        """Biases of the masked layers plus the context's terms: (units,), or (num, units) with a context."""
        biases: list[Tensor] = [layer.bias for layer in self.layers]
        for place, term in zip((0, -1), self.context_terms(context), strict=False):
            biases[place] = biases[place] + term
        return biases
