"""The part of `GAETrainer` that evaluates, with values that are comparable between epochs and process counts."""

__all__ = ["EvaluationMixin"]

from typing import Any, cast

import torch
from torch import nn
from transformers.trainer_utils import EvalLoopOutput

from ..core.distributed import single_process
from .base_trainer import BaseTrainer
from .checkpointing import fixed_seed


class EvaluationMixin(BaseTrainer):
    """Counts every image once, with schedules at their end, and draws the same noise for a batch at every evaluation.

    The processes evaluate in turn the batches that a single process would evaluate.
    """

    _num_eval_batches: int  # of this process in this evaluation
    _num_counted: int  # images of the current batch that count

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        """As in transformers. The metrics also hold the mean of every loss term and metric; some are lists."""
        model: Any = self.plain_model
        progress = model.progress.clone()
        model.progress.fill_(1.0)
        self._num_eval_batches = 0
        self.eval_sums.clear()
        try:
            with fixed_seed(self.args.seed, self.args.device), single_process(), self.averaged_weights():
                output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        finally:
            model.progress.copy_(progress)
        means = {f"{metric_key_prefix}_{name}": mean for name, mean in self.eval_sums.pop_means().items()}
        cast(dict[str, Any], output.metrics).update(means)
        return output

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ):
        """Evaluate one batch, without the images that accelerate repeats to give all processes equal batches."""
        batch_size = self.args.eval_batch_size
        batch_index = self._num_eval_batches * self.args.world_size + self.args.process_index
        self._num_eval_batches += 1
        dataset = cast(Any, self.callback_handler.eval_dataloader).dataset
        num_images = len(next(iter(inputs.values())))
        if hasattr(dataset, "__len__"):
            num_images = min(num_images, max(0, len(dataset) - batch_index * batch_size))
        self._num_counted = num_images
        torch.manual_seed(self.args.seed + batch_index)
        # if no image counts, all stay: the loss of an empty batch is undefined
        inputs = {name: value[: num_images or None] for name, value in inputs.items()}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
