r"""Normalizing flows: invertible maps of latents whose change of volume is known.

A step maps z, (batch, *draws, d), to z' of that shape and log |det dz'/dz|, (batch, *draws), in nats. Planar and
radial steps are those of Rezende & Mohamed, 2015, arXiv:1505.05770; MADE is that of Germain, Gregor, Murray &
Larochelle, 2015, arXiv:1502.03509; the inverse autoregressive step that of Kingma et al., 2016, arXiv:1606.04934.
"""

__all__ = ["ELEMENTARY_FLOWS", "MADE", "FlowPosterior", "InverseAutoregressiveStep", "bounded", "planar", "radial"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import e

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from .base import at_least_float32
from .posteriors import DiagonalGaussian, Posterior, expand

Step = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass
class FlowPosterior(Posterior):
    """Draws of a Gaussian that are carried along by a flow.

    Args:
        base: q(z_0|x).
        steps: z to (z', log |det dz'/dz|), applied in this order.
    """

    base: DiagonalGaussian
    steps: Sequence[Step]

    def flow(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z_K, (batch, *draws, latent_dim), and the sum of the log determinants on the way, (batch, *draws)."""
        total = torch.zeros_like(z[..., 0])
        for step in self.steps:
            z, log_det = step(z)
            total = total + log_det
        return z, total

    @property
    def mean(self) -> Tensor:
        """(batch, latent_dim): where the flow takes the mean of the base. The mean of z_K has no closed form."""
        return self.flow(self.base.mean)[0]

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        return self.flow(self.base.rsample(*shape, generator=generator))[0]

    def log_prob(self, z: Tensor) -> Tensor:
        raise NotImplementedError(
            "the flow has no inverse in closed form, so its density is known at its own draws only: "
            "use rsample_and_log_prob"
        )

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draws, and their log density log q(z_0|x) - log |det dz_K/dz_0|."""
        z = self.base.rsample(*shape, generator=generator)
        carried, log_det = self.flow(z)
        return carried, self.base.log_prob(z) - log_det

    def diagnostics(self) -> dict[str, Tensor]:
        """`active_units` of the base. The base's own KL says nothing about that of z_K."""
        return Posterior.diagnostics(self.base)


# Planar and radial steps


def stretch(x: Tensor) -> Tensor:
    """A smooth increasing map of the reals to (-1, inf), with 0 at 0: 0.999 (softplus(x + log(e - 1)) - 1).

    It is exact at 0 in this form. The factor keeps 1 + stretch(x) away from 0, and its logarithm finite.
    """
    small = x.clamp(max=20)
    return 0.999 * (torch.log1p((1 - 1 / e) * torch.expm1(small)) + (x - small))


def planar(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """z + u' tanh(w.z + b). Of u, its part along w is moved so that w.u' = stretch(w.u) > -1: always invertible.

    Args:
        z: (batch, *draws, d).
        parameters: (batch, 2 d + 1), or one row for all: u, w and b. u = 0 is the identity.
    """
    d = z.shape[-1]
    u, w, b = expand(parameters, z.dim() - 2).split([d, d, 1], -1)
    along, square = (w * u).sum(-1, keepdim=True), w.square().sum(-1, keepdim=True)
    allowed = stretch(along)
    u = u + (allowed - along) * w / square.clamp(min=1e-20)
    h = torch.tanh((w * z).sum(-1, keepdim=True) + b)
    return z + u * h, torch.log1p(allowed * (1 - h.square())).squeeze(-1)


def radial(z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """z + beta (z - c) / (alpha + |z - c|), with alpha = softplus(a) and beta = alpha stretch(b) > -alpha: always
    invertible.

    Args:
        z: (batch, *draws, d).
        parameters: (batch, d + 2), or one row for all: b, a and c. b = 0 is the identity.
    """
    d = z.shape[-1]
    b, a, c = expand(parameters, z.dim() - 2).split([1, 1, d], -1)
    offset = z - c
    alpha = F.softplus(a) + 1e-6  # which divides at the centre
    nearness = alpha / (alpha + torch.linalg.vector_norm(offset, dim=-1, keepdim=True))  # 1 at the centre, 0 far away
    pull = stretch(b) * nearness
    return z + pull * offset, ((d - 1) * torch.log1p(pull) + torch.log1p(pull * nearness)).squeeze(-1)


ELEMENTARY_FLOWS: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], Callable[[int], list[int]]]] = {
    "planar": (planar, lambda d: [d, d, 1]),
    "radial": (radial, lambda d: [1, 1, d]),
}
"""Name to step, and to the sizes of its parameters in d dimensions. Zeros for the first one make it the identity."""


# Autoregressive steps


class MaskedLinear(nn.Linear):
    """A linear layer in which an output sees the inputs of lower degree, or of its own degree too.

    Args:
        before, after: degrees of inputs and outputs.
        strict: whether the degree must be lower.
    """

    def __init__(self, before: Sequence[int], after: Sequence[int], strict: bool = False):
        self.degrees = (tuple(before), tuple(after), strict)
        super().__init__(len(before), len(after))
        self.register_buffer("mask", self.connections(), persistent=False)

    def connections(self) -> Tensor:
        """(outputs, inputs): which output sees which input."""
        before, after, strict = self.degrees
        return torch.tensor(after).unsqueeze(1) >= torch.tensor(before) + int(strict)

    def reset_parameters(self):
        super().reset_parameters()
        if "mask" in self._buffers:  # not stored in checkpoints, so loading makes it anew, by this method
            init.copy_(self.mask, self.connections())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """A network whose output i depends on the inputs before i, and on all of a context.

    The model that holds it must initialise by `reset_parameters`, as `init_weights` of backbones.py does.

    Args:
        dim: d, number of inputs.
        hidden_size: width of the hidden layers. Degrees are spread evenly over 1 to d - 1, so that even in a narrow
            network the last output sees all inputs before it.
        num_hidden_layers: at least 1.
        context_size: size of the context; 0 for none.
        num_outputs: how many numbers for each input, 2 for a shift and a scale.
        reverse: whether the order of the inputs is from last to first.
        pythae: whether hidden units have ReLUs, and degrees in turn, as in checkpoints of Pythae, in place of ELUs and
            degrees spread evenly.
    """

    def __init__(
        self,
        dim: int,
        hidden_size: int = 128,
        num_hidden_layers: int = 2,
        context_size: int = 0,
        num_outputs: int = 2,
        reverse: bool = False,
        pythae: bool = False,
    ):
        super().__init__()
        self.shape, self.activation = (num_outputs, dim), F.relu if pythae else F.elu
        inputs = range(dim, 0, -1) if reverse else range(1, dim + 1)
        hidden = [-(-(j + 1) * (dim - 1) // hidden_size) for j in range(hidden_size)]  # the quotient, rounded up
        if pythae:
            hidden = [j % max(1, dim - 1) + 1 for j in range(hidden_size)]
        self.first = MaskedLinear(inputs, hidden)
        self.others = nn.ModuleList(MaskedLinear(hidden, hidden) for _ in range(num_hidden_layers - 1))
        self.last = MaskedLinear(hidden, [*inputs] * num_outputs, strict=True)
        # to the outputs too: the first of them sees no hidden unit
        sizes = [hidden_size, num_outputs * dim]
        self.context = nn.ModuleList(nn.Linear(context_size, n, bias=False) for n in sizes if context_size)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """`num_outputs` tensors of the shape of x, in float32 at least.

        Args:
            x: (batch, *draws, dim).
            context: (batch, context_size), or None for a network without.
        """
        x, at_first, at_last = x.to(self.first.weight.dtype), 0.0, 0.0
        if self.context:
            context = expand(context, x.dim() - 2).to(x.dtype)
            at_first, at_last = (layer(context) for layer in self.context)
        h = self.activation(self.first(x) + at_first)
        for layer in self.others:
            h = self.activation(layer(h))
        return at_least_float32(self.last(h) + at_last).unflatten(-1, self.shape).unbind(-2)


def bounded(log_scale: Tensor, bound: float = 5.0) -> Tensor:
    """A log scale that cannot leave (-bound, bound), and is nearly itself about 0."""
    return bound * torch.tanh(log_scale / bound)


class InverseAutoregressiveStep(nn.Module):
    """sigma(z) z + (1 - sigma(z)) m(z) if "gated", exp(a(z)) z + m(z) if "affine": one pass draws, with its volume.

    Args:
        update: "gated", with sigma = sigmoid(s + forget_bias), or "affine".
        forget_bias: a large one keeps z.
        bound: of the log scales of "affine"; None for none.
        made: arguments of [`MADE`].
    """

    def __init__(self, dim: int, update: str = "gated", forget_bias: float = 2.0, bound: float | None = 5.0, **made):
        super().__init__()
        self.update, self.forget_bias, self.bound = update, forget_bias, bound
        self.made = MADE(dim, **made)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, scale = self.made(z, context)
        if self.update == "affine":
            log_scale = scale if self.bound is None else bounded(scale, self.bound)
            return log_scale.exp() * z + shift, log_scale.sum(-1)
        log_gate = F.logsigmoid(scale + self.forget_bias)
        return torch.lerp(shift, z, log_gate.exp()), log_gate.sum(-1)
