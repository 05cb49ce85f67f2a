"""The part of `GAETrainer` that treats each parameter group of a model separately."""

__all__ = ["OptimizationMixin"]

from typing import Any, cast

import torch
from torch import Tensor

from .accelerate_workaround import skip_package_search
from .base_trainer import BaseTrainer


class OptimizationMixin(BaseTrainer):
    """Learning rate, weight decay and gradient clipping per parameter group, by the names that the model defines."""

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As in transformers, with the groups of the model's `parameter_groups`.

        Raises:
            ValueError: if an argument names a group that the model or the given optimizer does not have.
        """
        limits = _by_group(self.args.group_max_grad_norm)
        if self.optimizer is None:
            rates = _by_group(self.args.group_learning_rates)
            decays = _by_group(self.args.group_weight_decay)
            groups = self.plain_model.parameter_groups()
            for name in {*rates, *decays, *limits} - {*groups}:
                raise ValueError(f"there is no parameter group '{name}'; this model has {', '.join(groups)}")
            factory, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(
                self.args, self.plain_model
            )
            self.optimizer = factory(
                [
                    {
                        "params": parameters,
                        "name": name,
                        "lr": rates.get(name, self.args.learning_rate),
                        "weight_decay": decays.get(name, self.args.weight_decay),
                    }
                    for name, parameters in groups.items()
                ],
                **options,
            )
        optimizer = cast(torch.optim.Optimizer, self.optimizer)
        names = {group.get("name") for group in optimizer.param_groups}
        for name in {*limits} - names:
            raise ValueError(
                f"group_max_grad_norm limits '{name}', but the given optimizer has no group of that name: "
                'add "name" to its parameter groups'
            )
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """As in transformers."""
        skip_package_search(self.optimizer)
        return super().create_scheduler(num_training_steps, optimizer)

    def _clip_grad_norm(self, model):
        """Clip only for FSDP and DeepSpeed; otherwise `_get_grad_norm` clips each group."""
        return super()._clip_grad_norm(model) if self.is_sharded else None

    def _get_grad_norm(self, model, grad_norm=None):
        """Clip each parameter group to its own limit, and return the norm of all gradients before clipping."""
        if self.is_sharded:
            return super()._get_grad_norm(model, grad_norm)
        self.accelerator.unscale_gradients()
        limits = _by_group(self.args.group_max_grad_norm)
        norms: list[Tensor] = []
        for group in cast(torch.optim.Optimizer, self.optimizer).param_groups:
            gradients = [p.grad for p in group["params"] if p.grad is not None]
            if not gradients:  # frozen
                continue
            norm = torch.nn.utils.get_total_norm(gradients)
            limit = limits.get(group.get("name"), self.args.max_grad_norm)
            if limit > 0:
                torch.nn.utils.clip_grads_with_norm_(group["params"], limit, norm)
            norms.append(norm)
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        if getattr(self.accelerator, "scaler", None) is None:  # a gradient scaler overflows now and then, on purpose
            self.guard.observe_gradient(norm)
        return norm


def _by_group(argument: dict | str | None) -> dict[str | None, float]:
    """A parsed argument: GAETrainingArguments accepts no other strings than JSON objects."""
    return argument if isinstance(argument, dict) else {}
