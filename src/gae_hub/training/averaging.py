"""Exponential moving average of the weights, which is evaluated, saved and kept; training continues without it."""

__all__ = ["WeightAverage"]

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from .checkpointing import load_tree, save_tree
from .state_checks import check_weights, fits

TRAINING_WEIGHTS = "training_weights.safetensors"


class WeightAverage(TrainerCallback):
    """Averages the weights after every optimizer step (Polyak & Juditsky, 1992, doi:10.1137/0330046).

    average <- decay * average + (1 - decay) * weights. The average starts as the weights after the first step.
    Buffers, such as the running statistics of batch norm, are not averaged.

    The model of a checkpoint is the average; the weights that training continues with are in a file beside it.

    Args:
        decay: above 0 and below 1; the average spans about 1 / (1 - decay) steps.

    Attributes:
        values: the average, one tensor per parameter; None before the first step and after training.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.values: list[Tensor] | None = None

    def reset(self):
        """Discard the average."""
        self.values = None

    def resume(self, model: nn.Module, checkpoint: str | Path):
        """Take the average from `model`, which was loaded from a checkpoint, and load the training weights into it.

        Raises:
            ValueError: if the checkpoint was saved without an average, or its training weights do not fit the model.
        """
        file = Path(checkpoint) / TRAINING_WEIGHTS
        if not file.is_file():
            raise ValueError(f"'{checkpoint}' was trained without ema_decay: resume without it")
        weights = load_tree(file)
        with fits(file):
            check_weights(weights, model, "the training weights")
        self.values = _clone_weights(model)
        _set_weights(model, weights)

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, model: nn.Module, **kwargs):
        if self.values is None:
            self.values = _clone_weights(model)
        else:
            weights = [p.detach() for p in model.parameters()]
            # one call for all parameters
            torch._foreach_lerp_(self.values, weights, 1 - self.decay)  # pyright: ignore[reportPrivateImportUsage] (no public one)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Put the average into `model` inside this context. Does nothing before the first step."""
        if self.values is None:
            yield
            return
        training_weights = _clone_weights(model)
        _set_weights(model, self.values)
        try:
            yield
        finally:
            _set_weights(model, training_weights)

    def save(self, model: nn.Module, checkpoint: str | Path):
        """Write the weights that training continues with into a checkpoint."""
        save_tree(_clone_weights(model), Path(checkpoint) / TRAINING_WEIGHTS)

    def on_train_end(self, args, state, control, model: nn.Module, **kwargs):
        """Leave the average in the model, unless the best checkpoint, which holds an average, was loaded."""
        if self.values is not None and not (args.load_best_model_at_end and state.best_model_checkpoint):
            _set_weights(model, self.values)
        self.reset()


def _clone_weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@torch.no_grad()
def _set_weights(model: nn.Module, values: list[Tensor]):
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)
