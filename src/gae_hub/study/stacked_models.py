"""`ModelStack`: several models of one method as one, with stacked weights."""

__all__ = ["ModelStack", "StackedLosses", "restore_layout", "transpose_matrices"]

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ..models.base import GAEPreTrainedModel
from ..training.checkpointing import fixed_seed

StackedLosses: TypeAlias = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]
"""Losses of k models, (k,); detached terms of the losses by name, and metrics by name, (k, *shape) each."""


class ModelStack:
    """k models whose loss is computed by one call, with batched matrix products in place of k products.

    The parameters and buffers of the models become slices of common tensors, (k, *shape). A change of either is a
    change of both, so the models can be evaluated and optimized one by one.

    Args:
        models: of one class. Their configs differ in `fields` only.
        fields: names of the numbers in the configs that differ from model to model.
        inputs: keyword arguments of `forward` for a training batch. A method may initialise itself from its first
            batch, which must have happened in these models.

    Attributes:
        models: the models.
        parameters: stacked parameters by name. `backward` computes their gradients.
        buffers: stacked buffers by name.
    """

    def __init__(self, models: Sequence[GAEPreTrainedModel], fields: Sequence[str], inputs: Mapping[str, Any]):
        self.models = list(models)
        self._template = deepcopy(self.models[0]).train()
        # a template that has seen a batch does not ask whether its (stacked) buffers are initialised
        with fixed_seed(0, self._template.device), torch.no_grad():
            self._template(**inputs)
        self._parts = {
            name: [model.get_parameter(name) for model in self.models] for name, _ in self._template.named_parameters()
        }
        self.parameters = {
            name: _stack(parts).requires_grad_(parts[0].requires_grad) for name, parts in self._parts.items()
        }
        self.buffers = {
            name: _stack([model.get_buffer(name) for model in self.models])
            for name, _ in self._template.named_buffers()
        }
        # float64, in which Python computes with these numbers
        values = {name: [float(getattr(model.config, name)) for model in self.models] for name in fields}
        self._fields = {
            name: torch.tensor(value, dtype=torch.float64, device=self._template.device)
            for name, value in values.items()
        }

    def compute_losses(self, inputs: Mapping[str, Any]) -> StackedLosses:
        """Losses of a batch in training mode, with their terms and metrics. All models have the same noise.

        Args:
            inputs: keyword arguments of `forward`.
        """

        def compute_loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], fields: dict[str, Tensor]):
            vars(self._template.config).update(fields)  # past the config's checks, which accept no tensors
            output = functional_call(self._template, {**parameters, **buffers}, kwargs={**inputs, "return_dict": True})
            return output.loss, output.losses, output.metrics or {}

        return vmap(compute_loss, randomness="same")(self.parameters, self.buffers, self._fields)

    def backward(self, losses: Tensor):
        """Compute the gradient of each model's loss, and set it as the `grad` of the model's parameters.

        Args:
            losses: (k,), of `compute_losses`.
        """
        losses.sum().backward()
        for name, stacked in self.parameters.items():
            if stacked.grad is None:  # frozen
                continue
            for part, gradient in zip(self._parts[name], stacked.grad.unbind(), strict=True):
                part.grad = gradient
            stacked.grad = None

    def separate(self):
        """Give each model its own memory again, so that it can be freed without the others."""
        for model in self.models:
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.data.clone()


def transpose_matrices(model: nn.Module):
    """Store the matrices of a model column by column, in which batched products compute their gradients.

    In the usual layout autograd would copy each gradient, which takes an eighth of a step. Fused optimizers need one
    layout of parameters, gradients and moments, so this comes before the first step.
    """
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.T.contiguous().T


def restore_layout(model: nn.Module):
    """Store all parameters of a model row by row, after `transpose_matrices`."""
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors, (k, *shape), in their layout, and make them slices of the result."""
    first = tensors[0]
    stacked = torch.empty_strided(
        (len(tensors), *first.shape), (first.numel(), *first.stride()), dtype=first.dtype, device=first.device
    )
    for tensor, part in zip(tensors, stacked.unbind(), strict=True):
        part.copy_(tensor.detach())
        tensor.data = part
    return stacked
