"""Normalizing flows: chains of invertible steps with known log determinants.

A step maps points z, (num, dim), to points z' of the same shape, and returns log |det dz'/dz|, (num,), in nats. Its
`inverse` maps z' to z, and returns the log determinant of that map. Steps whose points are independent also accept
(batch, *draws, dim).
"""

__all__ = ["BatchNormStep", "Flow", "FlowStep", "Inverted", "Standardization"]

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.distributed import gather_batch


class FlowStep(nn.Module):
    """Base of the steps of a flow. A subclass defines `forward` and `inverse`."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z' and log |det dz'/dz|."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The points that `forward` maps to z, and the log determinant of this inverse map."""
        raise NotImplementedError(f"{type(self).__name__} must define inverse")


class Flow(FlowStep):
    """Steps in sequence, with the sum of their log determinants."""

    def __init__(self, *steps: FlowStep):
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros_like(z[..., 0])
        for step in self.steps:
            z, log_det = step(z)
            total = total + log_det
        return z, total

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros_like(z[..., 0])
        for step in cast("Iterable[FlowStep]", reversed(self.steps)):
            z, log_det = step.inverse(z)
            total = total + log_det
        return z, total


class Inverted(FlowStep):
    """A step with `forward` and `inverse` exchanged."""

    step: FlowStep

    def __init__(self, step: FlowStep):
        super().__init__()
        self.step = step

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.step.inverse(z)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.step(z)


class Standardization(FlowStep):
    """(z - mean) / std, with constants from data, see `fit`: the next steps of the flow see values of order 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def reset_parameters(self):
        init.zeros_(self.mean)
        init.ones_(self.std)

    def fit(self, z: Tensor):
        """Take mean and std from points z, (num, dim). A dimension that does not vary is shifted, but not scaled."""
        std = z.double().std(0, correction=0)
        self.mean.copy_(z.double().mean(0))
        self.std.copy_(torch.where(std > 1e-6 * std.max(), std, 1.0))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (z - self.mean) / self.std, -self.std.log().sum().expand(z.shape[:-1])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * self.std + self.mean, self.std.log().sum().expand(z.shape[:-1])


class BatchNormStep(FlowStep):
    """Batch normalisation as a step of a flow (Dinh, Sohl-Dickstein & Bengio, 2017, arXiv:1605.08803).

    `forward` uses the statistics of the batch of all processes in training mode, and running statistics in evaluation
    mode. `inverse` always uses running statistics. Points are (num, dim).
    """

    log_scale: Tensor
    shift: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.log_scale, self.shift = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def reset_parameters(self):
        for zeros in (self.log_scale, self.shift, self.running_mean):
            init.zeros_(zeros)
        init.ones_(self.running_var)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(gather_batch(z), 0, correction=0)
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach(), self.momentum)
        log_scale = self.log_scale - 0.5 * (var + self.eps).log()
        return (z - mean) * log_scale.exp() + self.shift, log_scale.sum().expand(z.shape[:-1])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        log_scale = self.log_scale - 0.5 * (self.running_var + self.eps).log()
        before = (z - self.shift) * (-log_scale).exp() + self.running_mean
        return before, -log_scale.sum().expand(z.shape[:-1])
