"""An exponential moving average of the weights, which is evaluated, saved and kept; training goes on with its own."""

__all__ = ["WeightAverage"]

from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback

from .checkpointing import load_tree, save_tree

TRAINING_WEIGHTS = "training_weights.safetensors"


class WeightAverage(TrainerCallback):
    """theta_average <- decay theta_average + (1 - decay) theta after every step (Polyak & Juditsky, 1992,
    doi:10.1137/0330046). Statistics such as those of batch norm are the model's own.

    A checkpoint's model is the average; the weights that training goes on with lie beside it.

    Args:
        decay: above 0 and below 1; the average reaches back about 1 / (1 - decay) steps.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.average: AveragedModel | None = None  # while training

    def begin(self, model: nn.Module, checkpoint: str | Path | None = None):
        """Start at the model's weights, or go on from a checkpoint, whose average the model holds now.

        Raises:
            ValueError: if the checkpoint has no average.
        """
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
        if checkpoint is not None:
            file = Path(checkpoint) / TRAINING_WEIGHTS
            if not file.is_file():
                raise ValueError(f"'{checkpoint}' was trained without ema_decay: resume without it")
            self.average.n_averaged.fill_(1)
            copy(load_tree(file), model)

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        if self.average is None:  # nothing was resumed
            self.begin(model)

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.average.update_parameters(model)

    @contextmanager
    def applied(self, model: nn.Module):
        """The average in the model's place, if there is one by now."""
        if self.average is None or not self.average.n_averaged:
            yield
            return
        own = [p.detach().clone() for p in model.parameters()]
        copy(self.average.module.parameters(), model)
        try:
            yield
        finally:
            copy(own, model)

    def save(self, model: nn.Module, checkpoint: str | Path):
        """Write the weights that training goes on with."""
        save_tree([p.detach() for p in model.parameters()], Path(checkpoint) / TRAINING_WEIGHTS)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Leave the average in the model, which holds that of the best checkpoint already if there is one."""
        if self.average.n_averaged and not (args.load_best_model_at_end and state.best_model_checkpoint):
            copy(self.average.module.parameters(), model)
        self.average = None


@torch.no_grad()
def copy(values, model: nn.Module):
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)
