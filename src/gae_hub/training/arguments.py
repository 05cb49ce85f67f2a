"""Training arguments: `transformers.TrainingArguments` with other defaults and additional fields."""

__all__ = ["RECIPES", "GAETrainingArguments"]

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.utils import logging

from ..core.argument_checks import suggest

logger = logging.get_logger(__name__)

RECIPES: dict[str, dict[str, Any]] = {
    # Chadebec, Vincent & Allassonniere, 2022, arXiv:2206.08309, section 4 and appendix D
    "paper": {
        "learning_rate": 1e-4,
        "optim": "adamw_torch_fused",  # equals Adam, as there is no weight decay
        "per_device_train_batch_size": 100,
        "num_train_epochs": 100,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 10},
    },
}
"""Training arguments by recipe name."""

_GROUP_FIELDS = ("group_learning_rates", "group_weight_decay", "group_max_grad_norm")
_WITHOUT_WARMUP = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
_COUNTS = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")


@dataclass
class GAETrainingArguments(TrainingArguments):
    """`TrainingArguments` with defaults for training autoencoders from scratch, and the fields below.

    Changed defaults: fused Adam without weight decay at a constant learning rate of 1e-3, batches of 100, no gradient
    clipping, evaluation and a checkpoint after every epoch, two checkpoints kept, and the model with the best
    validation loss loaded at the end; seed 0. Without an eval_dataset nothing is evaluated and the last model is kept.
    Several GPUs are used only through a launcher (`accelerate launch`, `torchrun`).

    With `warmup_steps`, a constant learning rate becomes "constant_with_warmup", and a schedule that has no warm-up
    raises an error; transformers ignores it in both cases.

    `metric_for_best_model` may name any loss term or metric of the model. `greater_is_better` is then False for every
    loss term and for metrics such as "negative_elbo", and True for other metrics, unless it is set.

    Args:
        group_learning_rates: learning rate by name of the model's parameter group, such as {"discriminator": 1e-4}.
            Other groups use learning_rate.
        group_weight_decay: weight decay by name of the parameter group. Other groups use weight_decay.
        group_max_grad_norm: maximum gradient norm by name of the parameter group. Each group is clipped separately.
            Other groups use max_grad_norm.
        divergence_restarts: how many times a run that diverges restores its last good state and divides its learning
            rate by 10. The next divergence raises FloatingPointError; 0 raises at the first.
        divergence_threshold: how far above its running mean a loss counts as diverged, in running mean absolute
            deviations. 0 checks for nan and infinite values only.
        ema_decay: decay per step, such as 0.999, of an exponential moving average of the weights, which is evaluated,
            saved and kept. 0 keeps no average.
        image_interval: number of evaluations between grids of reconstructions and samples, which are written to
            assets/progress/ and sent to every tracker that supports images. 0 draws none.
        channels_last: use the channels-last memory format for convolutions during training.
        keep_freed_memory: on a CPU with glibc, keep freed memory in the process instead of returning it to the system
            in every training step. Steps take 3 to 26 % less time; the peak of memory stays resident until the process
            ends, also after training. docs/training.md has the measurements.
        overwrite_output_dir: delete the run that output_dir already contains before training starts.
    """

    output_dir: str | None = field(
        default="outputs", metadata={"help": "Folder for checkpoints and the trained model."}
    )
    per_device_train_batch_size: int = field(default=100, metadata={"help": "Images per step and device."})
    per_device_eval_batch_size: int = field(default=500, metadata={"help": "Images per evaluation step and device."})
    num_train_epochs: float = field(default=20.0, metadata={"help": "Passes over the training images."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Initial learning rate of Adam."})
    lr_scheduler_type: str = field(default="constant", metadata={"help": "Learning rate schedule."})
    max_grad_norm: float = field(default=0.0, metadata={"help": "Maximum gradient norm; 0 does not clip."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between entries of the log."})
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Replace nan losses in the log; every step then waits for the device."}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str | None = field(
        default=None,
        metadata={"help": "When to save a checkpoint: no, steps, epoch or best. Default: with every evaluation."},
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "Number of checkpoints to keep."})
    load_best_model_at_end: bool | None = field(
        default=None,
        metadata={"help": "Load the model that is best on validation at the end. Default: if evaluations save one."},
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Resume with the state of callbacks, such as the patience of early stopping."}
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Not needed: the collator selects the inputs."}
    )
    label_names: list[str] | None = field(default_factory=list, metadata={"help": "Not needed: there are no labels."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Every parameter gets a gradient."}
    )
    dataloader_pin_memory: bool = field(default_factory=torch.cuda.is_available, metadata={"help": "Pin memory."})
    seed: int = field(default=0, metadata={"help": "Seed of weights, data order and noise."})
    group_learning_rates: dict | str | None = field(
        default=None, metadata={"help": 'Learning rate by parameter group, as JSON: {"discriminator": 1e-4}.'}
    )
    group_weight_decay: dict | str | None = field(
        default=None, metadata={"help": "Weight decay by parameter group, as JSON."}
    )
    group_max_grad_norm: dict | str | None = field(
        default=None, metadata={"help": "Maximum gradient norm by parameter group, as JSON."}
    )
    divergence_restarts: int = field(
        default=3, metadata={"help": "Restarts from the last good state when training diverges; 0 raises at once."}
    )
    divergence_threshold: float = field(
        default=100.0,
        metadata={"help": "Deviations above its mean at which a loss has diverged; 0: only if not finite."},
    )
    ema_decay: float = field(
        default=0.0, metadata={"help": "Decay of the moving average of the weights; 0: no average."}
    )
    image_interval: int = field(
        default=0, metadata={"help": "Evaluations between grids of reconstructions and samples; 0: none."}
    )
    channels_last: bool = field(default=True, metadata={"help": "Channels-last memory format for convolutions."})
    keep_freed_memory: bool = field(
        default=False,
        metadata={"help": "Keep freed memory in the process: faster steps, more memory. CPU and glibc only."},
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Delete the run that output_dir already contains."}
    )

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, *_GROUP_FIELDS]

    @classmethod
    def recipe(cls, name: str, output_dir: str | None = None, **changes: Any) -> "GAETrainingArguments":
        """Arguments of a recipe in `RECIPES`.

        "paper" is how the models of the Pythae paper were trained (arXiv:2206.08309): Adam at 1e-4, halved when the
        validation loss has not decreased for more than 10 epochs, batches of 100, 100 epochs.

        Args:
            name: key of `RECIPES`.
            output_dir: folder for checkpoints and the trained model.
            **changes: fields that replace the recipe's.

        Raises:
            ValueError: if there is no such recipe.
        """
        if name not in RECIPES:
            raise ValueError(f"there is no recipe '{name}'; choose one of {', '.join(RECIPES)}")
        return cls(**{**RECIPES[name], **({"output_dir": output_dir} if output_dir else {}), **changes})

    @classmethod
    def from_training_arguments(cls, args: TrainingArguments) -> "GAETrainingArguments":
        """The same arguments, with those that only this class has at their defaults.

        Every value is kept, also the defaults of transformers, which are made for fine-tuning: a learning rate of 5e-5
        that decreases linearly, batches of 8, no evaluation. `remove_unused_columns` and `label_names` are not kept,
        since the collator selects a model's inputs.

        Args:
            args: arguments of transformers.

        Raises:
            ValueError: for a field of a subclass that this class does not have, if it differs from its default.
        """
        own = {item.name for item in fields(cls) if item.init} - {"remove_unused_columns", "label_names"}
        values = {item.name: getattr(args, item.name) for item in fields(args) if item.init}
        for name in sorted(values.keys() - {item.name for item in fields(cls)}):
            if values[name] != getattr(type(args)(output_dir=args.output_dir), name):
                raise ValueError(f"{cls.__name__} has no field '{name}', which {type(args).__name__} sets")
        logger.warning(
            f"{type(args).__name__} are used as they are (learning_rate={args.learning_rate}, "
            f"per_device_train_batch_size={args.per_device_train_batch_size}, "
            f"num_train_epochs={args.num_train_epochs}); the defaults of {cls.__name__} suit training from scratch"
        )
        return cls(**{name: value for name, value in values.items() if name in own})

    def _saves_what_it_evaluates(self) -> bool:
        """Whether every evaluation has a checkpoint, so that the best one can be loaded."""
        if self.eval_strategy == "no" or self.save_strategy not in (self.eval_strategy, "best"):
            return False
        if self.save_strategy != "steps":
            return True
        steps_between = self.save_steps, self.eval_steps or self.logging_steps
        return min(steps_between) < 1 or self.save_steps % steps_between[1] == 0  # below 1: shares of the training

    def _describe_intervals(self) -> str:
        """When this run evaluates and saves, for an error."""
        strategies = ("eval", self.eval_strategy, self.eval_steps), ("save", self.save_strategy, self.save_steps)
        parts = [
            f"{kind}_strategy is '{getattr(strategy, 'value', strategy)}'"
            + (f" with {kind}_steps={steps}" if strategy == "steps" else "")
            for kind, strategy, steps in strategies
        ]
        return " and ".join(parts)

    def _check_numbers(self):
        """Raise ValueError for numbers that train nothing, or fail later with an error that names another cause."""
        minima = {name: 1 for name in _COUNTS} | {"learning_rate": 0, "num_train_epochs": 0}
        for name, minimum in minima.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} must be a number, got {value!r}")
            if not value >= minimum:
                raise ValueError(f"{name} must be {minimum} or more, got {value}")
        if self.max_steps == 0:
            raise ValueError("max_steps must be 1 or more, or -1 to train for num_train_epochs; got 0")
        if self.max_steps < 0 and self.num_train_epochs <= 0:
            raise ValueError(f"num_train_epochs must be above 0 without max_steps, got {self.num_train_epochs}")
        for name in ("logging", "eval", "save"):
            steps = getattr(self, f"{name}_steps")
            if getattr(self, f"{name}_strategy") == "steps" and steps is not None and not steps > 0:
                raise ValueError(
                    f"{name}_steps must be a number of steps, or a share of the training below 1, got {steps}"
                )

    def _choose_warmup(self):
        """Let `warmup_steps` have an effect: transformers ignores it at a constant learning rate."""
        if self.warmup_steps and self.lr_scheduler_type == SchedulerType.CONSTANT:
            self.lr_scheduler_type = SchedulerType.CONSTANT_WITH_WARMUP.value
        elif self.warmup_steps and self.lr_scheduler_type in _WITHOUT_WARMUP:
            raise ValueError(
                f"warmup_steps has no effect with lr_scheduler_type '{SchedulerType(self.lr_scheduler_type).value}': "
                "remove it, or choose a schedule such as 'constant_with_warmup' or 'cosine'"
            )

    def __new__(cls, *args: Any, **kwargs: Any) -> "GAETrainingArguments":
        """Raise TypeError for an unknown argument, with the nearest name; a dataclass only says that it is unknown."""
        known = {item.name for item in fields(cls) if item.init}
        if unknown := [name for name in kwargs if name not in known]:
            near = suggest(unknown[0], sorted(known), "it has")
            raise TypeError(f"{cls.__name__} has no argument '{unknown[0]}'; {near}")
        return super().__new__(cls)

    def __post_init__(self):
        if self.save_strategy is None:
            self.save_strategy = "epoch" if self.eval_strategy == "no" else self.eval_strategy
            if self.save_strategy == "steps" and self.save_steps == TrainingArguments.save_steps:
                self.save_steps = self.eval_steps or self.logging_steps
        if self.hub_strategy in ("checkpoint", "all_checkpoints"):
            raise ValueError(
                f"hub_strategy '{self.hub_strategy}' uploads optimizer states, which gae_hub keeps local: "
                "use 'every_save' or 'end'"
            )
        self._check_numbers()
        self._choose_warmup()
        if self.eval_strategy == "no" and self.save_strategy == "best":
            raise ValueError("save_strategy 'best' saves after evaluations: set eval_strategy to 'steps' or 'epoch'")
        if self.load_best_model_at_end is None:
            self.load_best_model_at_end = self._saves_what_it_evaluates()
        elif self.load_best_model_at_end and not self._saves_what_it_evaluates():
            raise ValueError(
                "load_best_model_at_end=True needs a checkpoint at every evaluation that may be the best, but "
                f"{self._describe_intervals()}: use save_strategy='best', or equal strategies and save_steps that are "
                "a multiple of eval_steps"
            )
        if self.save_strategy == "best" and self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"  # the trainer replaces it by the model's
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}")
        greater_is_better = self.greater_is_better
        super().__post_init__()
        # transformers infers it from the name alone; `GAETrainer` knows which metrics are loss terms
        self.greater_is_better = greater_is_better
        for name in _GROUP_FIELDS:
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f'{name} must be a JSON object such as {{"discriminator": 1e-4}}, got {getattr(self, name)!r}'
                )
        if self.n_gpu > 1:
            logger.warning(
                f"{self.n_gpu} GPUs are visible, but only one is used; start with `accelerate launch` to use all"
            )
            self._n_gpu = 1
