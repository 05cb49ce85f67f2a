r"""Normalizing flows: invertible maps of latents whose change of volume is known.

A step maps z, (batch, *draws, d), to z' of that shape and log |det dz'/dz|, (batch, *draws), in nats; its `inverse`
maps z' back, with the log determinant of that map. Planar and radial steps are those of Rezende & Mohamed, 2015,
arXiv:1505.05770; MADE is that of Germain, Gregor, Murray & Larochelle, 2015, arXiv:1502.03509; the inverse
autoregressive step that of Kingma et al., 2016, arXiv:1606.04934, the masked one that of Papamakarios, Pavlakou &
Murray, 2017, arXiv:1705.07057, and the spline that of Durkan, Bekasov, Murray & Papamakarios, 2019, arXiv:1906.04032.
"""

__all__ = [
    "BatchNormStep",
    "Flow",
    "FlowPosterior",
    "InverseAutoregressiveStep",
    "Inverted",
    "MaskedAutoregressiveStep",
    "SplineAutoregressiveStep",
    "Standardization",
    "bounded",
    "rational_quadratic",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import e, log

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.distributed import gather_batch

from .made import MADE, _Solved
from .posteriors import DiagonalGaussian, Posterior

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


# Autoregressive steps


def bounded(log_scale: Tensor, bound: float = 5.0) -> Tensor:
    """A log scale that cannot leave (-bound, bound), and is nearly itself about 0."""
    return bound * torch.tanh(log_scale / bound)


class AutoregressiveStep(nn.Module):
    """z_i to f(z_i; h_i(z before i)), with the h_i of a MADE: one pass, and its inverse dimension by dimension.

    A subclass gives `transform`, f with the log of its derivative, and `invert`, both element-wise.

    Args:
        dim: d.
        **made: arguments of [`MADE`].
    """

    num_outputs = 2

    def __init__(self, dim: int, **made):
        super().__init__()
        self.made = MADE(dim, num_outputs=self.num_outputs, **made)

    def transform(self, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and log f'(z), of the shape of z, which is also that of each parameter."""
        raise NotImplementedError(f"{type(self).__name__} must define transform")

    def invert(self, moved: Tensor, *parameters: Tensor) -> Tensor:
        """The z with f(z) = moved."""
        raise NotImplementedError(f"{type(self).__name__} must define invert")

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        moved, log_derivative = self.transform(z, *self.made(z, context))
        return moved, log_derivative.sum(-1)

    def inverse(self, moved: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and log |det dz / dmoved|, for moved (num, dim): dimension by dimension, or where gradients are wanted,
        in passes for all dimensions until none moves any more."""
        wanted = [moved, *self.parameters(), *([] if context is None else [context])]
        if torch.is_grad_enabled() and any(t.requires_grad for t in wanted):
            dtype = torch.promote_types(self.made.first.weight.dtype, torch.float32)
            z, outputs = _Solved.apply(self, context, moved.to(dtype), *self.made.arguments(context))
            return z, -self.transform(z, *outputs.unbind(-2))[1].sum(-1)
        size = _CHUNK if moved.device.type == "cpu" else len(moved)
        found = []
        for first in range(0, len(moved), size):
            part = slice(first, first + size)
            z, parameters = self.made.solve(self.invert, moved[part], None if context is None else context[part])
            found.append((z, -self.transform(z, *parameters)[1].sum(-1)))
        z, log_det = (torch.cat(parts) for parts in zip(*found, strict=True))
        return z, log_det


_CHUNK = 1024  # points whose activations stay in a processor's cache


class InverseAutoregressiveStep(AutoregressiveStep):
    """sigma(z) z + (1 - sigma(z)) m(z) if "gated", exp(a(z)) z + m(z) if "affine": one pass draws, with its volume.

    Args:
        update: "gated", with sigma = sigmoid(s + forget_bias), or "affine".
        forget_bias: a large one keeps z.
        log_scale_bound: of the log scales of "affine"; None for none.
        made: arguments of [`MADE`].
    """

    def __init__(
        self, dim: int, update: str = "gated", forget_bias: float = 2.0, log_scale_bound: float | None = 5.0, **made
    ):
        super().__init__(dim, **made)
        self.update, self.forget_bias, self.log_scale_bound = update, forget_bias, log_scale_bound

    def transform(self, z: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        if self.update == "affine":
            log_scale = self.log_scale(scale)
            return log_scale.exp() * z + shift, log_scale
        log_gate = F.logsigmoid(scale + self.forget_bias)
        return torch.lerp(shift, z, log_gate.exp()), log_gate

    def log_scale(self, scale: Tensor) -> Tensor:
        return scale if self.log_scale_bound is None else bounded(scale, self.log_scale_bound)

    def invert(self, moved: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        if self.update == "affine":
            return (moved - shift) / self.log_scale(scale).exp()
        return shift + (moved - shift) * (-F.logsigmoid(scale + self.forget_bias)).exp()


class MaskedAutoregressiveStep(AutoregressiveStep):
    """(z - mu(z)) exp(-alpha(z)): one pass gives the density of z, of which z_i is Gaussian given those before.

    Args:
        log_scale_bound: of the log scales alpha.
        made: arguments of [`MADE`].
    """

    def __init__(self, dim: int, log_scale_bound: float = 5.0, **made):
        super().__init__(dim, **made)
        self.log_scale_bound = log_scale_bound

    def transform(self, z: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        log_std = bounded(log_std, self.log_scale_bound)
        return (z - mean) * (-log_std).exp(), -log_std

    def invert(self, moved: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return moved * bounded(log_std, self.log_scale_bound).exp() + mean


class SplineAutoregressiveStep(AutoregressiveStep):
    """A monotonic rational-quadratic spline of each dimension on [-tail_bound, tail_bound], and the identity outside.

    Args:
        num_bins: K, pieces of the spline.
        tail_bound: where it ends.
    """

    def __init__(self, dim: int, num_bins: int = 8, tail_bound: float = 5.0, **made):
        self.num_outputs, self.tail_bound = 3 * num_bins - 1, tail_bound
        super().__init__(dim, **made)

    def transform(self, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(z, torch.stack(parameters, -1), self.tail_bound)

    def invert(self, moved: Tensor, *parameters: Tensor) -> Tensor:
        return rational_quadratic(moved, torch.stack(parameters, -1), self.tail_bound, inverse=True)[0]


def rational_quadratic(
    x: Tensor, parameters: Tensor, bound: float = 5.0, inverse: bool = False, least: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """A monotonic rational-quadratic spline or its inverse at x, and the log of its derivative there.

    Args:
        x: (*batch,).
        parameters: (*batch, 3 K - 1): widths and heights of K bins before their softmax, and slopes at the K - 1 inner
            knots before their softplus. Zeros are the identity; at both ends the slope is 1.
        bound: the spline maps [-bound, bound] to itself, and the identity continues it.
        inverse: whether to map back.
        least: share of the whole that no bin is narrower than, and a slope's least value.
    """
    num_bins = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = parameters.split([num_bins, num_bins, num_bins - 1], -1)
    knots = []
    for sizes in (widths, heights):
        ends = (least + (1 - num_bins * least) * sizes.softmax(-1)).cumsum(-1)[..., :-1]
        knots.append(F.pad(2 * bound * ends - bound, (1, 0), value=-bound))
        knots[-1] = F.pad(knots[-1], (0, 1), value=bound)
    slopes = F.pad(least + F.softplus(slopes + log(e ** (1 - least) - 1)), (1, 1), value=1.0)
    inside = (x > -bound) & (x < bound)
    within = torch.where(inside, x, 0.0)
    own = torch.searchsorted(knots[1 if inverse else 0][..., 1:-1].contiguous(), within.unsqueeze(-1).contiguous())

    def at(values: Tensor, offset: int = 0) -> Tensor:
        return values.gather(-1, own + offset).squeeze(-1)

    (left, right), (low, high), (d0, d1) = ((at(t), at(t, 1)) for t in (*knots, slopes))
    width, height = right - left, high - low
    mean = height / width
    bend = d0 + d1 - 2 * mean
    if inverse:
        rise = within - low
        a = height * (mean - d0) + rise * bend
        b = height * d0 - rise * bend
        c = -mean * rise
        t = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())  # the paper's equation 29
    else:
        t = (within - left) / width
    between = t * (1 - t)
    below = mean + bend * between
    slope = mean.square() * (d1 * t.square() + 2 * mean * between + d0 * (1 - t).square()) / below.square()
    moved = t * width + left if inverse else low + height * (mean * t.square() + d0 * between) / below
    log_slope = -slope.log() if inverse else slope.log()
    return torch.where(inside, moved, x), torch.where(inside, log_slope, 0.0)


# Steps of each dimension, and their chains


class Standardization(nn.Module):
    """(z - mean) / std, with constants that `fit` takes from data: the steps after it see numbers about 1."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def reset_parameters(self):
        init.zeros_(self.mean)
        init.ones_(self.std)

    def fit(self, z: Tensor):
        """Take the constants from z (num, dim). A dimension that does not vary is moved, and left unscaled."""
        std = z.double().std(0, correction=0)
        self.mean.copy_(z.double().mean(0))
        self.std.copy_(torch.where(std > 1e-6 * std.max(), std, 1.0))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (z - self.mean) / self.std, -self.std.log().sum().expand(z.shape[:-1])

    def inverse(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        return moved * self.std + self.mean, self.std.log().sum().expand(moved.shape[:-1])


class BatchNormStep(nn.Module):
    """Batch norm as a step of a flow (Dinh, Sohl-Dickstein & Bengio, 2017, arXiv:1605.08803), for z (num, dim).

    In training by the statistics of the batch of all processes, otherwise, and for the inverse, by running ones.
    """

    def __init__(self, dim: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.log_scale, self.shift = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def reset_parameters(self):
        for zero in (self.log_scale, self.shift, self.running_mean):
            init.zeros_(zero)
        init.ones_(self.running_var)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(gather_batch(z), 0, correction=0)
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach(), self.momentum)
        log_scale = self.log_scale - 0.5 * (var + self.eps).log()
        return (z - mean) * log_scale.exp() + self.shift, log_scale.sum().expand(z.shape[:-1])

    def inverse(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = self.log_scale - 0.5 * (self.running_var + self.eps).log()
        z = (moved - self.shift) * (-log_scale).exp() + self.running_mean
        return z, -log_scale.sum().expand(moved.shape[:-1])


class Inverted(nn.Module):
    """A step with `forward` and `inverse` exchanged."""

    def __init__(self, step: nn.Module):
        super().__init__()
        self.step = step

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.step.inverse(z)

    def inverse(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        return self.step(moved)


class Flow(nn.Module):
    """Steps one after another, (num, dim) to (num, dim), with the sum of their log determinants."""

    def __init__(self, *steps: nn.Module):
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._chain(z, self.steps)

    def inverse(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        return self._chain(moved, [step.inverse for step in reversed(self.steps)])

    @staticmethod
    def _chain(z: Tensor, steps) -> tuple[Tensor, Tensor]:
        total = torch.zeros_like(z[..., 0])
        for step in steps:
            z, log_det = step(z)
            total = total + log_det
        return z, total
