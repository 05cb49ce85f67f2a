"""Inverses of autoregressive maps: the y with y_i = invert(x_i, *outputs_i), for the outputs of a MADE at y.

[`invert_sequentially`] computes one dimension after the other, without gradients. [`invert_by_fixed_point`] computes
all dimensions at once in repeated passes, and has gradients.
"""

__all__ = ["invert_by_fixed_point", "invert_sequentially", "solve_fixed_point"]

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .made import MADE
from .precision import at_least_float32

Invert = Callable[..., Tensor]  # element-wise: (x, *outputs) to y, all of one shape

# One dimension after the other


def invert_sequentially(
    made: MADE, invert: Invert, x: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Sequence[Tensor]]:
    """The y with y_i = invert(x_i, *outputs_i), one dimension after the other, without gradients.

    A hidden unit depends on the dimensions up to its degree only, so each unit is computed once, when these are known.
    All dimensions together cost half of the multiply-adds of one pass through the network.

    Args:
        made: the network.
        invert: element-wise function of x and the outputs.
        x: (num, dim).
        context: (num, context_size), if the network has a context.

    Returns:
        y, (num, dim), and the outputs of the network at y, (num, dim) each.
    """
    with torch.no_grad():
        return _SequentialInverse(made, at_least_float32(x), context).solve(invert)


class _SequentialInverse:
    """Weights of a MADE with the dimensions in their order, and buffers for all units. Tensors are (units, num)."""

    def __init__(self, made: MADE, x: Tensor, context: Tensor | None):
        num_outputs, dim = made.output_shape
        self.activation, self.units_up_to = made.activation, made.units_up_to
        self.order = torch.tensor(made.order, device=x.device)
        first, *self.others, last = (at_least_float32(layer.masked_weight) for layer in made.layers)
        biases = [at_least_float32(bias) for bias in made.biases(context)]
        *self.biases, last_bias = [bias.unsqueeze(1) if bias.dim() == 1 else bias.T for bias in biases]
        self.first = first[:, self.order]
        self.last, self.last_bias = (  # (dim, num_outputs, hidden_size) and (dim, num_outputs, num)
            t.unflatten(0, made.output_shape)[:, self.order].transpose(0, 1).contiguous() for t in (last, last_bias)
        )
        self.x = x.to(first.dtype).T[self.order].contiguous()
        self.y = torch.empty_like(self.x)
        self.outputs = self.x.new_empty(dim, num_outputs, self.x.shape[1])
        self.hidden = [self.x.new_empty(len(first), self.x.shape[1]) for _ in self.biases]

    def solve(self, invert: Invert) -> tuple[Tensor, Sequence[Tensor]]:
        """y, (num, dim), and the outputs, (num, dim) each."""
        hidden, biases = self._split_by_degree(self.hidden), self._split_by_degree(self.biases)
        rows = zip(self.x.unbind(), self.y.unbind(), self.last_bias.unbind(), self.outputs.unbind(), strict=True)
        for k, (x, y, bias, outputs) in enumerate(rows):
            start, stop = self.units_up_to[k - 1] if k else 0, self.units_up_to[k]
            if start < stop:
                weights, below = self.first[start:stop, :k], self.y[:k]
                for layer in range(len(hidden)):
                    if layer:
                        weights, below = self.others[layer - 1][start:stop, :stop], self.hidden[layer - 1][:stop]
                    units = torch.addmm(biases[layer][k], weights, below, out=hidden[layer][k])
                    self.activation(units, inplace=True)
            torch.addmm(bias, self.last[k, :, :stop], self.hidden[-1][:stop], out=outputs)
            y.copy_(invert(x, *outputs.unbind()))
        inverse_order = self.order.argsort()
        return self.y[inverse_order].T, self.outputs[inverse_order].permute(1, 2, 0).unbind()

    def _split_by_degree(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Views of the rows of each degree's units, per layer."""
        starts = [0, *self.units_up_to[:-1]]
        sizes = [stop - start for start, stop in zip(starts, self.units_up_to, strict=True)]
        return [tensor.split(sizes) for tensor in tensors]


# All dimensions at once, with gradients


def invert_by_fixed_point(
    made: MADE, invert: Invert, x: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The y with y_i = invert(x_i, *outputs_i), with gradients to x, the context and the network's parameters.

    y is a fixed point of passes through the network, and so is its gradient, by the implicit function theorem.

    Args:
        made: the network.
        invert: element-wise function of x and the outputs.
        x: (num, dim).
        context: (num, context_size), if the network has a context.

    Returns:
        y, (num, dim), and the outputs of the network at y, (num, num_outputs, dim).
    """
    x = x.to(torch.promote_types(made.first.weight.dtype, torch.float32))
    parameters = [*(layer.weight for layer in made.layers), *made.biases(context)]
    return _FixedPointInverse.apply(made, invert, context, x, *parameters)


def solve_fixed_point(update: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """The value that `update` does not change, for updates in which a number depends on those before it in its row.

    After `dim` updates nothing changes any more, and mostly after a few (Song, Meng, Liao & Ermon, 2021,
    arXiv:2002.03629). The iteration ends when no bit changes, which is checked in every second update.

    Args:
        update: (num, dim) to (num, dim). Each number of a row depends on those before it, in some order.
        value: (num, dim) to start from.
    """
    for count in range(1, value.shape[-1] + 1):
        value, previous = update(value), value
        if count % 2 == 0 and torch.equal(value, previous):
            break
    return value


class _FixedPointInverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, made: MADE, invert: Invert, context: Tensor | None, x: Tensor, *parameters: Tensor):
        with torch.autocast(x.device.type, enabled=False):
            passes = _Passes(made, [at_least_float32(p) for p in parameters])
            y = solve_fixed_point(lambda y: invert(x, *passes.forward(y).unbind(-2)), x)
            if not y.isfinite().all():  # intermediate values may overflow although the solution is finite
                y = invert_sequentially(made, invert, x, context)[0]
            outputs = passes.forward(y)
            leaves = [t.detach().requires_grad_() for t in (x, *outputs.unbind(-2))]
            with torch.enable_grad():
                y = invert(*leaves)
                ctx.dy_dx, *dy_doutputs = torch.autograd.grad(y.sum(), leaves)
            ctx.passes, ctx.dy_doutputs = passes, torch.stack(dy_doutputs, -2)
            ctx.dtypes = [p.dtype for p in parameters]
        return y.detach(), outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y: Tensor, grad_outputs: Tensor):
        passes, dy_doutputs = ctx.passes, ctx.dy_doutputs
        with torch.autocast(grad_y.device.type, enabled=False):
            # v = grad_y + (d outputs / dy)^T (dy_doutputs v + grad_outputs)
            v = solve_fixed_point(
                lambda v: grad_y + passes.backward(torch.addcmul(grad_outputs, dy_doutputs, v.unsqueeze(-2)))[-1],
                grad_y,
            )
            grads = passes.backward(torch.addcmul(grad_outputs, dy_doutputs, v.unsqueeze(-2)))
            grads = passes.parameter_gradients(grads)
        return None, None, None, ctx.dy_dx * v, *(g.to(dtype) for g, dtype in zip(grads, ctx.dtypes, strict=True))


class _Passes:
    """Forward and backward passes through a MADE with fixed parameters, without the overhead of autograd.

    Args:
        made: the network.
        parameters: the weights of its layers, then their biases.
    """

    def __init__(self, made: MADE, parameters: Sequence[Tensor]):
        self.made, self.masks = made, [layer.mask for layer in made.layers]
        self.weights = [w * mask for w, mask in zip(parameters[: len(self.masks)], self.masks, strict=True)]
        self.biases = parameters[len(self.masks) :]
        self.inputs: list[Tensor] = []  # inputs of each layer in the last forward pass

    def forward(self, x: Tensor) -> Tensor:
        """(num, num_outputs, dim): the outputs at x, (num, dim)."""
        self.inputs = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            self.inputs.append(self.made.activation(x, inplace=True) if self.inputs else x)
            x = torch.addmm(bias, self.inputs[-1], weight.T)
        return x.unflatten(-1, self.made.output_shape)

    def backward(self, grad_outputs: Tensor) -> list[Tensor]:
        """Gradients of all layers' outputs before the activation, from the last layer to the input of the network."""
        grads = [grad_outputs.flatten(-2)]
        for weight, value in zip(reversed(self.weights), reversed(self.inputs), strict=True):
            grads.append(grads[-1] @ weight)
            if value is not self.inputs[0]:
                grads[-1].mul_(self.made.activation_slope(value))
        return grads

    def parameter_gradients(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of the parameters, for the gradients that `backward` returns."""
        from_first = grads[-2::-1]
        weights = [(g.T @ x).mul_(mask) for g, x, mask in zip(from_first, self.inputs, self.masks, strict=True)]
        return weights + [g.sum_to_size(bias.shape) for g, bias in zip(from_first, self.biases, strict=True)]
