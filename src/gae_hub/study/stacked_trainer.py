"""`StackedTrainer`: trains models of one method together that differ in the weights of their losses only."""

__all__ = ["CHECKPOINT_FILE", "StackedTrainer"]

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import set_seed
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging

from ..models.base import GAEPreTrainedModel
from ..training.arguments import GAETrainingArguments
from ..training.checkpointing import get_rng_state, load_tree, save_tree, set_rng_state
from ..training.cpu_tuning import keep_freed_memory
from ..training.loss_sums import LossSums
from ..training.resume_mixin import FIXED_SETTINGS
from ..training.run_info import RunCost
from ..training.run_lock import RunLock
from .stacked_guard import StackGuard
from .stacked_member import MemberTrainer
from .stacked_models import ModelStack, StackedLosses
from .stacking import STACKABLE, can_stack_arguments, stack_key

logger = logging.get_logger(__name__)

CHECKPOINT_FILE = "stack.safetensors"

_SETTINGS = (*FIXED_SETTINGS, "num_train_epochs", "max_steps", "load_best_model_at_end", "divergence_threshold")


class StackedTrainer:
    """Trains k models with one forward and one backward pass per step, as k runs of [`GAETrainer`] would.

    All models see the same batches and the same noise. Each has its own optimizer, schedule, evaluation and best
    weights. The weights equal those of training alone up to rounding.

    A model that diverges leaves the stack at the end of its epoch. Build it again and train it with [`GAETrainer`],
    which restarts with a smaller learning rate.

    Args:
        models: models with equal `stack_key`. With equal weights they equal runs that start from the same seed.
        args: arguments that `can_stack_arguments` accepts. `output_dir` holds the checkpoint of the stack.
        train_dataset, eval_dataset: as for [`GAETrainer`], with a length.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if models, arguments or data cannot be stacked, or do not fit together.
    """

    def __init__(
        self,
        models: Sequence[GAEPreTrainedModel],
        args: GAETrainingArguments,
        train_dataset: Any,
        eval_dataset: Any = None,
        progress: bool = True,
    ):
        reason = can_stack_arguments(args)
        if reason is not None:
            raise ValueError(f"these arguments cannot be used for several models at once: {reason}")
        keys = {stack_key(model.config) for model in models}
        if len(keys) != 1 or None in keys:
            names = ", ".join(sorted({type(model).__name__ for model in models})) or "no models"
            raise ValueError(
                f"models that train together need configs of one stack_key, got {len(keys)} keys for {names}: train "
                "them one by one with GAETrainer"
            )
        self.args, self.progress = args, progress
        self.trainers: list[MemberTrainer] = []
        for model in models:
            self.trainers.append(MemberTrainer(model, args, train_dataset, eval_dataset))
            train_dataset, eval_dataset = self.trainers[0].train_dataset, self.trainers[0].eval_dataset
        if not hasattr(train_dataset, "__len__"):
            raise ValueError("models that train together need a train_dataset with a length, got a stream")
        self._fields = STACKABLE[models[0].config.model_type.removeprefix("gae_")]
        self._diverged: dict[int, str] = {}  # place of a model to why it left the stack
        self._cost = RunCost()

    @property
    def checkpoint(self) -> Path:
        """The file that holds the state of the stack."""
        return Path(cast(str, self.args.output_dir)) / CHECKPOINT_FILE

    def train(self, resume: bool = False) -> list[str | None]:
        """Train all models. With an eval_dataset, each keeps the weights that are best on validation.

        Afterwards `model.facts` holds what a card shows. Its `seconds` are those of the stack divided by the number of
        models, which is `trained_together`.

        Args:
            resume: whether to continue from the checkpoint in output_dir, if there is one. It was saved at the end of
                an epoch.

        Returns:
            For each model None, or why it has diverged. The weights of such a model are undefined.

        Raises:
            ValueError: if output_dir has a checkpoint and `resume` is False, if the checkpoint belongs to another
                training, or if another process trains in output_dir.
            OSError: if the checkpoint is damaged.
        """
        with RunLock(self.checkpoint.parent):
            if not resume and self.checkpoint.exists() and not self.args.overwrite_output_dir:
                raise ValueError(
                    f"'{self.checkpoint}' already exists: continue with train(resume=True), choose another "
                    "output_dir, or set overwrite_output_dir=True"
                )
            self._start()
            if resume and self.checkpoint.exists():
                self._load()
            elif self.checkpoint.exists():
                self.checkpoint.unlink()
            try:
                self._run()
            finally:
                self._unstack()
        for place in self._places:
            self.trainers[place].finish(len(self.trainers))
        return [self._diverged.get(place) for place in range(len(self.trainers))]

    # Training

    def _start(self):
        args, first = self.args, self.trainers[0]
        set_seed(args.seed)
        self._loader = first.get_train_dataloader()
        lengths = first.set_initial_training_values(args, self._loader)
        self._num_epochs, self._steps_per_epoch, self._max_steps = lengths[0], lengths[1], lengths[-1]
        self._cost = RunCost()
        for trainer in self.trainers:
            trainer.start(self._max_steps, self._steps_per_epoch, self._num_epochs, self._cost)
        self._places = list(range(len(self.trainers)))  # of the models in the stack, among all models
        self._diverged, self._step = {}, 0
        self._guard = StackGuard(args.divergence_threshold, len(self.trainers), first.args.device)
        self._losses, self._terms = LossSums(), LossSums()
        self._stack: ModelStack | None = None
        if args.keep_freed_memory and not (first.args.device.type == "cpu" and keep_freed_memory()):
            logger.warning("keep_freed_memory=True has no effect: it needs a CPU and glibc")

    def _run(self):
        """Train from the current step to the last."""
        with tqdm(total=self._max_steps, initial=self._step, unit=" steps", disable=not self.progress) as bar:
            bar.set_description(f"training {len(self._places)} models")
            for epoch in range(self._step // self._steps_per_epoch, self._num_epochs):
                if self._step >= self._max_steps or not self._places:
                    break
                cast(Any, self._loader).set_epoch(epoch)
                for batch, inputs in enumerate(self._loader, start=1):
                    self._take_step(inputs, epoch + batch / self._steps_per_epoch)
                    bar.update()
                    if self._step == self._max_steps:
                        break
                self._end_epoch()

    def _members(self) -> list[MemberTrainer]:
        """Trainers of the models that have not diverged."""
        return [self.trainers[place] for place in self._places]

    def _take_step(self, inputs: Mapping[str, Tensor], epoch: float):
        members = self._members()
        for member in members:
            member.begin_step()
        if self._step == 0:
            losses, terms, metrics = self._compute_first_gradients(inputs)
        else:
            if self._stack is None:
                self._stack = ModelStack([member.plain_model for member in members], self._fields, inputs)
            losses, terms, metrics = self._stack.compute_losses(inputs)
            self._stack.backward(losses)
        self._guard.observe(losses, terms)
        self._losses.add({"loss": losses}, 1)
        scalars = {name: value for name, value in {**terms, **metrics}.items() if value.dim() == 1}
        self._terms.add(scalars, len(next(iter(inputs.values()))))
        for member in members:
            member.end_step(epoch)
        self._step += 1
        logs = self.args.logging_strategy == IntervalStrategy.STEPS
        if logs and self._step % cast(int, members[0].state.logging_steps) == 0:
            self._log()

    def _compute_first_gradients(self, inputs: Mapping[str, Tensor]) -> StackedLosses:
        """As `ModelStack.compute_losses` and `backward`, model by model.

        A method may initialise itself from the first batch by steps that cannot be stacked, as VQ-VAE by k-means.
        """
        random_state, outputs = get_rng_state(), []
        for member in self._members():
            set_rng_state(random_state)  # every model has the same noise
            output = member.plain_model.train()(**inputs, return_dict=True)
            output.loss.backward()
            outputs.append((output.loss.detach(), output.losses, output.metrics or {}))
        losses, terms, metrics = zip(*outputs, strict=True)
        return torch.stack(losses), _stack_values(terms), _stack_values(metrics)

    def _end_epoch(self):
        self._log()
        self._remove_diverged()
        members = self._members()
        if self.trainers[0].args.eval_strategy != IntervalStrategy.NO:  # the trainers set it without an eval_dataset
            for member in members:
                member.evaluate_epoch()
        if members:
            self._save()

    def _log(self):
        """Add the means since the last entry to the log of each model, unless there was no step."""
        losses, terms = self._losses.pop_means(), self._terms.pop_means()
        if not losses:
            return
        for index, member in enumerate(self._members()):
            values = {name: cast(list[float], value)[index] for name, value in {**losses, **terms}.items()}
            member.log({**values, "learning_rate": member.learning_rate})

    def _remove_diverged(self):
        """Remove the models whose loss has diverged, or whose weights or optimizer state are not finite."""
        kept, diverged = [], self._guard.diverged.tolist()
        for index, (place, member) in enumerate(zip(self._places, self._members(), strict=True)):
            if not diverged[index] and member.is_finite():
                kept.append(index)
                continue
            values = ", ".join(f"{name}={getattr(member.plain_model.config, name)}" for name in self._fields)
            self._diverged[place] = f"training with {values} diverged before the end of step {self._step}"
            logger.warning(f"{self._diverged[place]}; {len(self._places)} models trained together")
        if len(kept) < len(self._places):
            self._unstack()
            self._guard.keep(kept)
            self._places = [self._places[index] for index in kept]

    def _unstack(self):
        if self._stack is not None:
            self._stack.separate()
            self._stack = None

    # Checkpoints

    def _settings(self) -> dict[str, Any]:
        """What a checkpoint must have been trained with."""
        given = json.loads(self.args.to_json_string())
        return {
            "configs": [trainer.describe_config() for trainer in self.trainers],
            "num_images": len(cast(Any, self.trainers[0].train_dataset)),
            **{name: given.get(name) for name in _SETTINGS},
        }

    def _save(self):
        tree = {
            "settings": self._settings(),
            "step": self._step,
            "places": self._places,
            "diverged": self._diverged,
            "cost": self._cost.state_dict(),
            "guard": self._guard.state_dict(),
            "members": [member.state_tree() for member in self._members()],
            "rng": get_rng_state(),
        }
        save_tree(tree, self.checkpoint)

    def _load(self):
        tree = load_tree(self.checkpoint)
        try:
            saved, settings = tree["settings"], self._settings()
            changed = [name for name in settings if saved.get(name) != settings[name]]
            if not changed:
                self._step, self._places, self._diverged = tree["step"], tree["places"], tree["diverged"]
                self._cost.load_state_dict(tree["cost"])
                self._guard.load_state_dict(tree["guard"])
                for member, state in zip(self._members(), tree["members"], strict=True):
                    member.load_state_tree(state)
                set_rng_state(tree["rng"])
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise OSError(f"'{self.checkpoint}' is damaged ({error}); delete it to start again") from error
        if changed:
            raise ValueError(
                f"'{self.checkpoint}' belongs to a training with other values of {', '.join(changed)}: use the same "
                "values, choose another output_dir, or delete the file"
            )


def _stack_values(values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the values of several models by name, (k, *shape) each."""
    return {name: torch.stack([value[name] for value in values]) for name in values[0]}
