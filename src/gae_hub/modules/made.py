"""TODO docstring."""

__all__ = ["ACTIVATIONS", "MADE", "MaskedLinear", "fixed_point", "hidden_degrees"]

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import initialization as init

from .posteriors import expand
from .precision import at_least_float32


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
    def forward(ctx, step: nn.Module, context: Tensor | None, x: Tensor, *parameters: Tensor):
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
