r"""Normalizing flows: invertible maps of latents whose change of volume is known.

A step maps z, (batch, *draws, d), to z' of that shape and log |det dz'/dz|, (batch, *draws), in nats; its `inverse`
maps z' back, with the log determinant of that map. Planar and radial steps are those of Rezende & Mohamed, 2015,
arXiv:1505.05770; MADE is that of Germain, Gregor, Murray & Larochelle, 2015, arXiv:1502.03509; the inverse
autoregressive step that of Kingma et al., 2016, arXiv:1606.04934, the masked one that of Papamakarios, Pavlakou &
Murray, 2017, arXiv:1705.07057, and the spline that of Durkan, Bekasov, Murray & Papamakarios, 2019, arXiv:1906.04032.
"""

__all__ = [
    "ELEMENTARY_FLOWS",
    "MADE",
    "BatchNormStep",
    "Flow",
    "FlowPosterior",
    "InverseAutoregressiveStep",
    "Inverted",
    "MaskedAutoregressiveStep",
    "SplineAutoregressiveStep",
    "Standardization",
    "bounded",
    "planar",
    "planar_inverse",
    "radial",
    "radial_inverse",
    "rational_quadratic",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import e, log

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import initialization as init

from .base import at_least_float32
from .losses import gather
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
    u, w, b, allowed = _planar_parameters(parameters, z)
    h = torch.tanh((w * z).sum(-1, keepdim=True) + b)
    return z + u * h, torch.log1p(allowed * (1 - h.square())).squeeze(-1)


def planar_inverse(moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The z that [`planar`] moves there: w.z solves one increasing equation, by bisection to the last digit."""
    u, w, b, allowed = _planar_parameters(parameters, moved)
    target = (w * moved).sum(-1, keepdim=True)
    with torch.no_grad():
        low, high = target - allowed.abs(), target + allowed.abs()
        for _ in range(100):
            middle = 0.5 * (low + high)
            above = middle + allowed * torch.tanh(middle + b) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    z = moved - u * torch.tanh(0.5 * (low + high) + b)
    return z, -planar(z, parameters)[1]


def _planar_parameters(parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u', w, b, and w.u'."""
    d = z.shape[-1]
    u, w, b = expand(parameters, z.dim() - 2).split([d, d, 1], -1)
    along, square = (w * u).sum(-1, keepdim=True), w.square().sum(-1, keepdim=True)
    allowed = stretch(along)
    return u + (allowed - along) * w / square.clamp(min=1e-20), w, b, allowed


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


def radial_inverse(moved: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The z that [`radial`] moves there: its distance r from c solves r^2 + (alpha + beta - r') r = alpha r'."""
    b, a, c = expand(parameters, moved.dim() - 2).split([1, 1, moved.shape[-1]], -1)
    alpha = F.softplus(a) + 1e-6
    distance = torch.linalg.vector_norm(moved - c, dim=-1, keepdim=True)
    half = 0.5 * (alpha * (1 + stretch(b)) - distance)
    root = (half.square() + alpha * distance).sqrt()
    r = torch.where(half > 0, alpha * distance / (root + half), root - half)  # without a difference of near numbers
    z = c + (moved - c) / (1 + alpha * stretch(b) / (alpha + r))
    return z, -radial(z, parameters)[1]


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
        """(outputs, inputs): 1 where an output sees an input, else 0: numbers, which are faster than truth values."""
        before, after, strict = self.degrees
        return (torch.tensor(after).unsqueeze(1) >= torch.tensor(before) + int(strict)).to(self.weight.dtype)

    def reset_parameters(self):
        super().reset_parameters()
        if "mask" in self._buffers:  # not stored in checkpoints, so loading makes it anew, by this method
            init.copy_(self.mask, self.connections())

    @property
    def connected(self) -> Tensor:
        """The weight, with 0 where an output does not see an input."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.connected, self.bias)


ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor]]] = {
    "elu": (F.elu, lambda value: value.clamp(max=0).add_(1)),
    "relu": (F.relu, torch.sign),
}
"""Name to function, and to its slope by its value."""


def hidden_degrees(dim: int, hidden_size: int) -> list[int]:
    """Degrees of a layer's hidden units, in rising order: 1 to d - 1, as many of each as of any other, or one more.
    Where units are fewer than degrees they are spread, so that the last output sees all inputs before it."""
    if hidden_size < dim - 1:
        return [-(-(j + 1) * (dim - 1) // hidden_size) for j in range(hidden_size)]  # the quotient, rounded up
    return sorted(j % max(1, dim - 1) + min(1, dim - 1) for j in range(hidden_size))


class MADE(nn.Module):
    """A network whose output i depends on the inputs before i, and on all of a context.

    The model that holds it must initialise by `reset_parameters`, as `init_weights` of backbones.py does.

    Args:
        dim: d, number of inputs.
        hidden_size: width of the hidden layers, with the degrees of [`hidden_degrees`].
        num_hidden_layers: at least 1.
        context_size: size of the context; 0 for none.
        num_outputs: how many numbers for each input, 2 for a shift and a scale.
        reverse: whether the order of the inputs is from last to first.
        order: the inputs in their order, a permutation of 0 to d - 1, where it is not that of their numbers.
        activation: of the hidden units, "elu" or "relu".
    """

    def __init__(
        self,
        dim: int,
        hidden_size: int = 128,
        num_hidden_layers: int = 2,
        context_size: int = 0,
        num_outputs: int = 2,
        reverse: bool = False,
        order: Sequence[int] | None = None,
        activation: str = "elu",
    ):
        super().__init__()
        self.shape, (self.activation, self.slope) = (num_outputs, dim), ACTIVATIONS[activation]
        self.order = list(range(dim) if order is None else order)[:: -1 if reverse else 1]
        if sorted(self.order) != [*range(dim)]:
            raise ValueError(f"order must hold each of 0 to {dim - 1} once, got {order}")
        inputs = [self.order.index(i) + 1 for i in range(dim)]
        hidden = hidden_degrees(dim, hidden_size)
        self.ends = [*accumulate(hidden.count(degree) for degree in range(dim))]  # of the hidden units up to a degree
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
        x = x.to(self.first.weight.dtype)
        h = self.first(x)
        if self.context:
            context = expand(context, x.dim() - 2).to(x.dtype)
            h = h + self.context[0](context)
        h = self.activation(h)
        for layer in self.others:
            h = self.activation(layer(h))
        outputs = self.last(h)
        if self.context:
            outputs = outputs + self.context[1](context)
        return at_least_float32(outputs).unflatten(-1, self.shape).unbind(-2)

    @property
    def layers(self) -> list[MaskedLinear]:
        return [self.first, *self.others, self.last]

    def arguments(self, context: Tensor | None) -> list[Tensor]:
        """The weights of all layers, and their biases: (units,), or with what a context adds, (num, units)."""
        biases = [layer.bias for layer in self.layers]
        for place, layer in zip((0, -1), self.context, strict=False):
            biases[place] = biases[place] + layer(context.to(layer.weight.dtype))
        return [*(layer.weight for layer in self.layers), *biases]

    def solve(
        self, step: Callable[..., Tensor], x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The y with y_i = step(x_i, *outputs i of this network at y), for x (num, dim), one dimension after another,
        and the outputs there.

        What a hidden unit sees is known once the dimensions up to its degree are: each is computed once, from these.
        All dimensions together cost the multiply-adds of half a pass through the network. No gradient is kept.
        """
        with torch.no_grad():
            return _Ordered(self, at_least_float32(x), context).solve(step)


class _Layers:
    """The products in a MADE, forward and back, for the many passes of [`fixed_point`].

    Args:
        made: the network.
        parameters: its `arguments`, without autograd.
    """

    def __init__(self, made: MADE, parameters: Sequence[Tensor]):
        self.made, self.masks = made, [layer.mask for layer in made.layers]
        self.weights = [w * mask for w, mask in zip(parameters[: len(self.masks)], self.masks, strict=True)]
        self.biases = parameters[len(self.masks) :]
        self.inputs: list[Tensor] = []  # of each layer

    def forward(self, x: Tensor) -> Tensor:
        """(num, num_outputs, dim) at x (num, dim)."""
        self.inputs = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            self.inputs.append(self.made.activation(x, inplace=True) if self.inputs else x)
            x = torch.addmm(bias, self.inputs[-1], weight.T)
        return x.unflatten(-1, self.made.shape)

    def back(self, gradient: Tensor) -> list[Tensor]:
        """Gradients of what goes into the layers, from the last layer's outputs to the network's input."""
        gradients = [gradient.flatten(-2)]
        for weight, value in zip(reversed(self.weights), reversed(self.inputs), strict=True):
            gradients.append(gradients[-1] @ weight)
            if value is not self.inputs[0]:
                gradients[-1].mul_(self.made.slope(value))
        return gradients

    def gradients(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Those of the parameters, by what `back` gives."""
        upper = gradients[-2::-1]
        weights = [(g.T @ x).mul_(mask) for g, x, mask in zip(upper, self.inputs, self.masks, strict=True)]
        return weights + [g.sum_to_size(bias.shape) for g, bias in zip(upper, self.biases, strict=True)]


class _Solved(torch.autograd.Function):
    """The y with y = invert(x, *outputs of the step's MADE at y), (num, dim), and these outputs (num, num_outputs,
    dim): both as fixed points, with the gradient of the implicit function theorem, which is one, too."""

    @staticmethod
    def forward(ctx, step: "AutoregressiveStep", context: Tensor | None, x: Tensor, *parameters: Tensor):
        with torch.autocast(x.device.type, enabled=False):
            layers = _Layers(step.made, [at_least_float32(p) for p in parameters])
            y = fixed_point(lambda y: step.invert(x, *layers.forward(y).unbind(-2)), x)
            if not y.isfinite().all():  # on the way numbers may have grown beyond all bounds
                y = step.made.solve(step.invert, x, context)[0]
            outputs = layers.forward(y)
            leaves = [t.detach().requires_grad_() for t in (x, *outputs.unbind(-2))]
            with torch.enable_grad():
                y = step.invert(*leaves)
                ctx.by_x, *partials = torch.autograd.grad(y.sum(), leaves)
            ctx.layers, ctx.partials, ctx.dtypes = layers, torch.stack(partials, -2), [p.dtype for p in parameters]
        return y.detach(), outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor, of_outputs: Tensor):
        layers, partials = ctx.layers, ctx.partials
        with torch.autocast(gradient.device.type, enabled=False):
            # v = gradient + (d outputs / d y)^T (partials v + of_outputs)
            v = fixed_point(
                lambda v: gradient + layers.back(torch.addcmul(of_outputs, partials, v.unsqueeze(-2)))[-1], gradient
            )
            found = layers.gradients(layers.back(torch.addcmul(of_outputs, partials, v.unsqueeze(-2))))
        return None, None, ctx.by_x * v, *(g.to(dtype) for g, dtype in zip(found, ctx.dtypes, strict=True))


def fixed_point(update: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """The (num, dim) value that `update` leaves as it is, where each number of a row depends on those before it in
    some order: after `dim` rounds that is so, and most often after a few (Song, Meng, Liao & Ermon, 2021,
    arXiv:2002.03629). It ends when no bit changes, for which the host looks in every second round."""
    for count in range(1, value.shape[-1] + 1):
        value, before = update(value), value
        if count % 2 == 0 and torch.equal(value, before):
            break
    return value


class _Ordered:
    """The weights of a MADE with dimensions in their order, and the work along it. Tensors are (units, num)."""

    def __init__(self, made: MADE, x: Tensor, context: Tensor | None):
        self.activation, self.ends, (outputs, dim) = made.activation, made.ends, made.shape
        self.order = torch.tensor(made.order, device=x.device)
        first, *self.others, last = (at_least_float32(layer.connected) for layer in made.layers)
        biases = [at_least_float32(bias) for bias in made.arguments(context)[len(made.layers) :]]
        *self.biases, bias = [bias.unsqueeze(1) if bias.dim() == 1 else bias.T for bias in biases]
        self.first = first[:, self.order]
        self.last, self.bias = (  # (dim, outputs, hidden) and (dim, outputs, num)
            t.unflatten(0, made.shape)[:, self.order].transpose(0, 1).contiguous() for t in (last, bias)
        )
        self.x = x.to(first.dtype).T[self.order].contiguous()
        self.y, self.parameters = torch.empty_like(self.x), self.x.new_empty(dim, outputs, self.x.shape[1])
        self.hidden = [self.x.new_empty(len(first), self.x.shape[1]) for _ in self.biases]

    def units(self, degree: int) -> slice:
        """The hidden units of a degree, in every layer."""
        return slice(self.ends[degree - 1] if degree else 0, self.ends[degree])

    def by_degree(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Views of the rows of each degree's units, for each of the layers."""
        starts = [0, *self.ends[:-1]]
        sizes = [end - start for start, end in zip(starts, self.ends, strict=True)]
        return [tensor.split(sizes) for tensor in tensors]

    def solve(self, step: Callable[..., Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """y (num, dim), and the outputs, (num, dim) each."""
        hidden, biases = self.by_degree(self.hidden), self.by_degree(self.biases)
        rows = zip(self.x.unbind(), self.y.unbind(), self.bias.unbind(), self.parameters.unbind(), strict=True)
        for k, (x, y, bias, parameters) in enumerate(rows):
            own = self.units(k)
            if own.start < own.stop:
                weights, below = self.first[own, :k], self.y[:k]
                for layer in range(len(hidden)):
                    if layer:
                        weights, below = self.others[layer - 1][own, : own.stop], self.hidden[layer - 1][: own.stop]
                    units = torch.addmm(biases[layer][k], weights, below, out=hidden[layer][k])
                    self.activation(units, inplace=True)
            torch.addmm(bias, self.last[k, :, : own.stop], self.hidden[-1][: own.stop], out=parameters)
            y.copy_(step(x, *parameters.unbind()))
        back = self.order.argsort()
        return self.y[back].T, self.parameters[back].permute(1, 2, 0).unbind()


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
        bound: of the log scales of "affine"; None for none.
        made: arguments of [`MADE`].
    """

    def __init__(self, dim: int, update: str = "gated", forget_bias: float = 2.0, bound: float | None = 5.0, **made):
        super().__init__(dim, **made)
        self.update, self.forget_bias, self.bound = update, forget_bias, bound

    def transform(self, z: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        if self.update == "affine":
            log_scale = self.log_scale(scale)
            return log_scale.exp() * z + shift, log_scale
        log_gate = F.logsigmoid(scale + self.forget_bias)
        return torch.lerp(shift, z, log_gate.exp()), log_gate

    def log_scale(self, scale: Tensor) -> Tensor:
        return scale if self.bound is None else bounded(scale, self.bound)

    def invert(self, moved: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        if self.update == "affine":
            return (moved - shift) / self.log_scale(scale).exp()
        return shift + (moved - shift) * (-F.logsigmoid(scale + self.forget_bias)).exp()


class MaskedAutoregressiveStep(AutoregressiveStep):
    """(z - mu(z)) exp(-alpha(z)): one pass gives the density of z, of which z_i is Gaussian given those before.

    Args:
        bound: of the log scales alpha.
        made: arguments of [`MADE`].
    """

    def __init__(self, dim: int, bound: float = 5.0, **made):
        super().__init__(dim, **made)
        self.bound = bound

    def transform(self, z: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        log_std = bounded(log_std, self.bound)
        return (z - mean) * (-log_std).exp(), -log_std

    def invert(self, moved: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return moved * bounded(log_std, self.bound).exp() + mean


class SplineAutoregressiveStep(AutoregressiveStep):
    """A monotonic rational-quadratic spline of each dimension on [-bound, bound], and the identity outside.

    Args:
        num_bins: K, pieces of the spline.
        bound: where it ends.
    """

    def __init__(self, dim: int, num_bins: int = 8, bound: float = 5.0, **made):
        self.num_outputs, self.bound = 3 * num_bins - 1, bound
        super().__init__(dim, **made)

    def transform(self, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(z, torch.stack(parameters, -1), self.bound)

    def invert(self, moved: Tensor, *parameters: Tensor) -> Tensor:
        return rational_quadratic(moved, torch.stack(parameters, -1), self.bound, inverse=True)[0]


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
            var, mean = torch.var_mean(gather(z), 0, correction=0)
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
