"""An exponential moving average of the weights, which is evaluated, saved and kept; training goes on with its own."""

__all__ = ["WeightAverage"]

from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from .checkpointing import load_tree, save_tree

TRAINING_WEIGHTS = "training_weights.safetensors"


class WeightAverage(TrainerCallback):
    """theta_average <- decay theta_average + (1 - decay) theta after every step, from the first step's theta (Polyak &
    Juditsky, 1992, doi:10.1137/0330046). Statistics such as those of batch norm are the model's own.

    A checkpoint's model is the average; the weights that training goes on with lie beside it.

    Args:
        decay: above 0 and below 1; the average reaches back about 1 / (1 - decay) steps.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.average: list[Tensor] | None = None  # while training, after the first step

    def resume(self, model: nn.Module, checkpoint: str | Path):
        """Go on from a checkpoint, whose average the model holds now.

        Raises:
            ValueError: if the checkpoint has no average.
        """
        file = Path(checkpoint) / TRAINING_WEIGHTS
        if not file.is_file():
            raise ValueError(f"'{checkpoint}' was trained without ema_decay: resume without it")
        self.average = weights(model)
        copy(load_tree(file), model)

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        if self.average is None:
            self.average = weights(model)
        else:
            torch._foreach_lerp_(self.average, [p.detach() for p in model.parameters()], 1 - self.decay)

    @contextmanager
    def applied(self, model: nn.Module):
        """The average in the model's place, if there is one by now."""
        if self.average is None:
            yield
            return
        own = weights(model)
        copy(self.average, model)
        try:
            yield
        finally:
            copy(own, model)

    def save(self, model: nn.Module, checkpoint: str | Path):
        """Write the weights that training goes on with."""
        save_tree(weights(model), Path(checkpoint) / TRAINING_WEIGHTS)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        """Leave the average in the model, which holds that of the best checkpoint already if there is one."""
        if self.average is not None and not (args.load_best_model_at_end and state.best_model_checkpoint):
            copy(self.average, model)
        self.average = None


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@torch.no_grad()
def copy(values: list[Tensor], model: nn.Module):
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)
