"""Training arguments: those of transformers, with defaults for training autoencoders from scratch."""

__all__ = ["RECIPES", "GAETrainingArguments"]

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.utils import logging

logger = logging.get_logger(__name__)


RECIPES = {
    # Chadebec, Vincent & Allassonniere, 2022, arXiv:2206.08309, section 4 and appendix D
    "paper": {
        "learning_rate": 1e-4,
        "optim": "adamw_torch_fused",  # Adam, as there is no weight decay
        "per_device_train_batch_size": 100,
        "num_train_epochs": 100,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 10},
    },
}
"""Training arguments by the name of a recipe."""


@dataclass
class GAETrainingArguments(TrainingArguments):
    """`TrainingArguments` with other defaults, and the fields listed here.

    Different by default: Adam (fused, no weight decay) at a constant 1e-3, batches of 100, no gradient clipping,
        evaluation
    and a checkpoint after every epoch, the two newest checkpoints kept, and the best model on the validation loss
    loaded at the end. Without an eval_dataset there is no evaluation, and the last model is the one that is kept.
    Several GPUs are used through a launcher only.

    Args:
        group_learning_rates: learning rate by the name of a model's parameter group ("discriminator"); the others use
            learning_rate.
        group_weight_decay: weight decay by the name of a parameter group; the others use weight_decay.
        group_max_grad_norm: limit of the gradient's norm by the name of a parameter group, of which each is clipped by
            itself; the others use max_grad_norm.
        divergence_restarts: how often to go back to the last good state and a tenth of the learning rate when a term
            is nan, infinite or far above where it was; 0 stops at the first.
        divergence_threshold: how far that is, in running mean absolute deviations of the loss; 0 for nan and infinite
            values only.
        ema_decay: keep an exponential moving average of the weights, of this decay per step, such as 0.999, and
            evaluate, save and end with it; 0 for none.
        image_interval: draw reconstructions and new images at every so many evaluations, into assets/progress/ and
            every tracker that takes images; 0 for none.
        channels_last: keep convolutions in channels-last memory while training.
        overwrite_output_dir: train into a folder that already holds another run, which is deleted first.
    """

    output_dir: str | None = field(
        default="outputs", metadata={"help": "Folder for checkpoints and the trained model."}
    )
    per_device_train_batch_size: int = field(default=100, metadata={"help": "Images per step and device."})
    per_device_eval_batch_size: int = field(default=500, metadata={"help": "Images per evaluation step and device."})
    num_train_epochs: float = field(default=20.0, metadata={"help": "Passes over the training images."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Initial learning rate of Adam."})
    lr_scheduler_type: str = field(default="constant", metadata={"help": "Learning rate schedule."})
    max_grad_norm: float = field(default=0.0, metadata={"help": "Clip the gradient's norm to this; 0 does not clip."})
    logging_steps: float = field(default=50, metadata={"help": "Log the loss terms every so many steps."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hide nan losses; costs a sync per step."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str | None = field(
        default=None,
        metadata={"help": "When to save a checkpoint: no, steps, epoch or best; with each evaluation by default."},
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints to keep."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best model on validation."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Not needed: the collator picks what it takes."}
    )
    label_names: list[str] | None = field(default_factory=list, metadata={"help": "Not needed: there are no labels."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Every parameter gets a gradient."}
    )
    dataloader_pin_memory: bool = field(default_factory=torch.cuda.is_available, metadata={"help": "Pin memory."})
    group_learning_rates: dict | str | None = field(
        default=None, metadata={"help": 'Learning rate by parameter group, as JSON: {"discriminator": 1e-4}.'}
    )
    group_weight_decay: dict | str | None = field(
        default=None, metadata={"help": "Weight decay by parameter group, as JSON."}
    )
    group_max_grad_norm: dict | str | None = field(
        default=None, metadata={"help": "Limit of the gradient's norm by parameter group, as JSON."}
    )
    divergence_restarts: int = field(
        default=3, metadata={"help": "How often to go back when training diverges; 0 stops at the first."}
    )
    divergence_threshold: float = field(
        default=100.0, metadata={"help": "How many deviations above its mean a loss has diverged; 0: nan only."}
    )
    ema_decay: float = field(default=0.0, metadata={"help": "Decay of an average of the weights; 0 for none."})
    image_interval: int = field(
        default=0, metadata={"help": "Draw reconstructions and samples at every so many evaluations; 0 for none."}
    )
    channels_last: bool = field(default=True, metadata={"help": "Channels-last memory for convolutions."})
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Delete the run that output_dir already holds."}
    )

    _VALID_DICT_FIELDS = [
        *TrainingArguments._VALID_DICT_FIELDS,
        *("group_learning_rates", "group_weight_decay", "group_max_grad_norm"),
    ]

    @classmethod
    def recipe(cls, name: str, output_dir: str | None = None, **changes) -> "GAETrainingArguments":
        """The arguments of a recipe in `RECIPES`, but for those given here.

        "paper" is how the models of the Pythae paper were trained: Adam at 1e-4, halved when the validation loss has
        not fallen for 10 epochs, batches of 100, 100 epochs.
        """
        if name not in RECIPES:
            raise ValueError(f"no recipe is called '{name}'; known are {', '.join(RECIPES)}")
        return cls(**{**RECIPES[name], **({"output_dir": output_dir} if output_dir else {}), **changes})

    def __post_init__(self):
        if self.save_strategy is None:
            self.save_strategy = "epoch" if self.eval_strategy == "no" else self.eval_strategy
            if self.save_strategy == "steps" and self.save_steps == TrainingArguments.save_steps:
                self.save_steps = self.eval_steps or self.logging_steps
        if self.hub_strategy in ("checkpoint", "all_checkpoints"):
            raise ValueError(
                f"hub_strategy '{self.hub_strategy}' pushes optimizer states, which gae_hub keeps local: "
                "use 'every_save' or 'end'"
            )
        if self.eval_strategy == "no":
            self.load_best_model_at_end = False  # there is nothing to choose it by
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie in [0, 1), got {self.ema_decay}")
        super().__post_init__()
        if self.n_gpu > 1:
            logger.warning(f"{self.n_gpu} GPUs are visible and one is used: start with accelerate launch to use all")
            self._n_gpu = 1
