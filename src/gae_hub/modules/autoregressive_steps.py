"""Autoregressive steps of flows: a MADE computes the parameters of each dimension from the dimensions before it.

Sources: Kingma et al., 2016, arXiv:1606.04934 (inverse autoregressive steps); Papamakarios, Pavlakou & Murray, 2017,
arXiv:1705.07057 (masked ones); Durkan, Bekasov, Murray & Papamakarios, 2019, arXiv:1906.04032 (splines).
"""

__all__ = [
    "AutoregressiveStep",
    "InverseAutoregressiveStep",
    "MaskedAutoregressiveStep",
    "SplineAutoregressiveStep",
    "bound_log_scale",
]

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .flows import FlowStep
from .made import MADE
from .made_inverse import invert_by_fixed_point, invert_sequentially
from .rational_quadratic import rational_quadratic

_CPU_CHUNK_SIZE = 1024  # points whose activations fit into the cache of a CPU


def bound_log_scale(log_scale: Tensor, bound: float = 5.0) -> Tensor:
    """Map log scales smoothly to (-bound, bound), almost unchanged around 0."""
    return bound * torch.tanh(log_scale / bound)


class AutoregressiveStep(FlowStep):
    """z_i to f(z_i; h_i(z_1, ..., z_{i-1})), where a MADE computes all h_i in one pass.

    A subclass defines f by `transform` and its inverse by `invert`, both element-wise.

    Args:
        dim: number of dimensions.
        **made_options: arguments of [`MADE`].
    """

    def __init__(self, dim: int, **made_options: Any):
        super().__init__()
        self.made = MADE(dim, **made_options)

    def transform(self, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and log f'(z). All tensors have the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define transform")

    def invert(self, z: Tensor, *parameters: Tensor) -> Tensor:
        """The points that f maps to z. All tensors have the same shape."""
        raise NotImplementedError(f"{type(self).__name__} must define invert")

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transformed points and the log determinant.

        Args:
            z: (batch, *draws, dim).
            context: (batch, context_size), if the MADE has a context.

        Returns:
            (batch, *draws, dim) and (batch, *draws).
        """
        transformed, log_derivative = self.transform(z, *self.made(z, context))
        return transformed, log_derivative.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The points that `forward` maps to z, and the log determinant of this inverse map.

        Without gradients, dimensions are computed one after the other. With gradients, all dimensions are computed at
        once in repeated passes, until nothing changes.

        Args:
            z: (num, dim).
            context: (num, context_size), if the MADE has a context.

        Returns:
            (num, dim) and (num,).
        """
        inputs = [z, *self.parameters(), *([] if context is None else [context])]
        if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
            before, outputs = invert_by_fixed_point(self.made, self.invert, z, context)
            return before, -self.transform(before, *outputs.unbind(-2))[1].sum(-1)
        size = _CPU_CHUNK_SIZE if z.device.type == "cpu" else len(z)
        found = []
        for first in range(0, len(z), size):
            chunk = slice(first, first + size)
            chunk_context = None if context is None else context[chunk]
            before, outputs = invert_sequentially(self.made, self.invert, z[chunk], chunk_context)
            found.append((before, -self.transform(before, *outputs)[1].sum(-1)))
        points, log_dets = zip(*found, strict=True)
        return torch.cat(points), torch.cat(log_dets)


class InverseAutoregressiveStep(AutoregressiveStep):
    """sigma z + (1 - sigma) m for "gated", exp(a) z + m for "affine": sampling and its density take one pass.

    Args:
        dim: number of dimensions.
        update: "gated", with sigma = sigmoid(s + forget_bias), or "affine".
        forget_bias: the larger, the closer the gated step is to the identity.
        log_scale_bound: bound of the log scales a; None for no bound.
        **made_options: arguments of [`MADE`].
    """

    def __init__(
        self,
        dim: int,
        update: Literal["gated", "affine"] = "gated",
        forget_bias: float = 2.0,
        log_scale_bound: float | None = 5.0,
        **made_options: Any,
    ):
        super().__init__(dim, **made_options)
        self.update, self.forget_bias, self.log_scale_bound = update, forget_bias, log_scale_bound

    def transform(self, z: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        if self.update == "affine":
            log_scale = self._log_scale(scale)
            return log_scale.exp() * z + shift, log_scale
        log_gate = F.logsigmoid(scale + self.forget_bias)
        return torch.lerp(shift, z, log_gate.exp()), log_gate

    def invert(self, z: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        if self.update == "affine":
            return (z - shift) / self._log_scale(scale).exp()
        return shift + (z - shift) * (-F.logsigmoid(scale + self.forget_bias)).exp()

    def _log_scale(self, scale: Tensor) -> Tensor:
        return scale if self.log_scale_bound is None else bound_log_scale(scale, self.log_scale_bound)


class MaskedAutoregressiveStep(AutoregressiveStep):
    """(z - mu) exp(-alpha): the density of any z takes one pass. z_i is Gaussian given the dimensions before it.

    Args:
        dim: number of dimensions.
        log_scale_bound: bound of the log scales alpha.
        **made_options: arguments of [`MADE`].
    """

    def __init__(self, dim: int, log_scale_bound: float = 5.0, **made_options: Any):
        super().__init__(dim, **made_options)
        self.log_scale_bound = log_scale_bound

    def transform(self, z: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        log_std = bound_log_scale(log_std, self.log_scale_bound)
        return (z - mean) * (-log_std).exp(), -log_std

    def invert(self, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        return z * bound_log_scale(log_std, self.log_scale_bound).exp() + mean


class SplineAutoregressiveStep(AutoregressiveStep):
    """A monotonic rational-quadratic spline of each dimension on [-tail_bound, tail_bound], and the identity outside.

    The MADE has a scaled initialization: with that of `nn.Linear`, whose values shrink from layer to layer, the same
    training ends up to one nat behind.

    Args:
        dim: number of dimensions.
        num_bins: number of pieces of the spline.
        tail_bound: end of the spline.
        **made_options: arguments of [`MADE`].
    """

    def __init__(self, dim: int, num_bins: int = 8, tail_bound: float = 5.0, **made_options: Any):
        super().__init__(dim, num_outputs=3 * num_bins - 1, scaled_init=True, **made_options)
        self.tail_bound = tail_bound

    def transform(self, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(z, torch.stack(parameters, -1), self.tail_bound)

    def invert(self, z: Tensor, *parameters: Tensor) -> Tensor:
        return rational_quadratic(z, torch.stack(parameters, -1), self.tail_bound, inverse=True)[0]
