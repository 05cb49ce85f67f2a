"""`MemberTrainer`: what a model that trains in a stack keeps for itself."""

__all__ = ["MemberTrainer"]

import json
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers.optimization import GreedyLR

from ..models.base import GAEPreTrainedModel
from ..training.arguments import GAETrainingArguments
from ..training.run_info import RunCost
from ..training.trainer import GAETrainer
from .stacked_models import restore_layout, transpose_matrices

_STATE = ("global_step", "epoch", "best_metric", "best_global_step", "log_history")  # of transformers' TrainerState


class MemberTrainer(GAETrainer):
    """A [`GAETrainer`] without its loop: optimizer, schedule, evaluation, log, best weights and facts of one model.

    Args:
        model: the model.
        args: of all models of the stack.
        train_dataset, eval_dataset: as for [`GAETrainer`].

    Attributes:
        best_weights: state dict of the model at its best evaluation, if `load_best_model_at_end` asks for it.
        learning_rate: of the last step, for the log.
    """

    def __init__(
        self, model: GAEPreTrainedModel, args: GAETrainingArguments, train_dataset: Any, eval_dataset: Any = None
    ):
        args = copy(args)
        args.disable_tqdm, args.report_to = True, []
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset)
        self.best_weights: dict[str, Tensor] | None = None
        self.learning_rate = args.learning_rate

    def start(self, max_steps: int, num_steps_per_epoch: int, num_epochs: int, cost: RunCost):
        """Create optimizer and schedule, and set the state to step 0.

        Args:
            max_steps, num_steps_per_epoch, num_epochs: length of the training.
            cost: duration and energy of the stack.
        """
        self._reset()
        self.cost, self.best_weights, self.is_in_train = cost, None, True
        self._init_training_state(max_steps, num_steps_per_epoch, num_epochs, None, None)
        self.accelerator.prepare_model(self.model)  # otherwise every evaluation prepares it
        transpose_matrices(self.plain_model)
        self.optimizer = self.lr_scheduler = None
        self.create_optimizer_and_scheduler(max_steps)

    def begin_step(self):
        """Tell the model how much of the training is done."""
        self.plain_model.set_progress(self.state.global_step, self.state.max_steps)

    def end_step(self, epoch: float):
        """Update the weights by their gradients.

        Args:
            epoch: epochs that are done after this step.
        """
        optimizer = cast(Any, self.optimizer)
        self.plain_model.before_optimizer_step()
        optimizer.step()
        self.learning_rate = self._get_learning_rate()
        if not isinstance(self.lr_scheduler, (ReduceLROnPlateau, GreedyLR)):
            cast(Any, self.lr_scheduler).step()
        optimizer.zero_grad()
        self.state.global_step += 1
        self.state.epoch = epoch

    def evaluate_epoch(self):
        """Evaluate, step a schedule that follows the metric, and keep the weights if they are the best so far."""
        metrics = self._evaluate(None, None)
        if self._determine_best_metric(metrics, None) and self.args.load_best_model_at_end:
            self.best_weights = {name: value.clone() for name, value in self.plain_model.state_dict().items()}

    @torch.no_grad()
    def is_finite(self) -> bool:
        """Whether weights, buffers and the optimizer's state are finite."""
        states = cast(Any, self.optimizer).state.values()
        tensors = [*self.plain_model.state_dict().values(), *(value for state in states for value in state.values())]
        return all(bool(t.isfinite().all()) for t in tensors if isinstance(t, Tensor) and t.is_floating_point())

    def finish(self, num_models: int):
        """Load the best weights, and store the facts of the run on the model.

        Args:
            num_models: models that trained together. The duration and energy of the run are divided by it.
        """
        self.is_in_train = False
        model = self.plain_model
        model.set_progress(self.state.max_steps, self.state.max_steps)
        restore_layout(model)
        if self.best_weights is not None:
            model.load_state_dict(self.best_weights)
        self._record_run()
        facts = cast(dict[str, Any], model.facts)
        facts["trained_together"] = num_models
        for name in ("seconds", "joules"):
            if facts[name] is not None:
                facts[name] = round(facts[name] / num_models, 3)

    # Checkpoints

    def describe_config(self) -> dict[str, Any]:
        """The model's config as JSON values, without the version of transformers."""
        content = json.loads(self.plain_model.config.to_json_string(use_diff=False))
        return {name: value for name, value in content.items() if name != "transformers_version"}

    def state_tree(self) -> dict[str, Any]:
        """Everything that `load_state_tree` restores, as a tree for `save_tree`."""
        return {
            "model": self.plain_model.state_dict(),
            "best_weights": self.best_weights,
            "optimizer": cast(Any, self.optimizer).state_dict(),
            "schedule": cast(Any, self.lr_scheduler).state_dict(),
            "state": {name: getattr(self.state, name) for name in _STATE},
            "warnings": self.diagnostics.warnings,
        }

    def load_state_tree(self, tree: dict[str, Any]):
        """Restore a state that `state_tree` returned.

        Raises:
            KeyError: if the tree has no such state.
            RuntimeError, ValueError: if it is the state of another model.
        """
        self.plain_model.load_state_dict(tree["model"])
        self._load_optimizer_state(tree["optimizer"])
        cast(Any, self.lr_scheduler).load_state_dict(tree["schedule"])
        self.best_weights, self.diagnostics.warnings = tree["best_weights"], tree["warnings"]
        for name in _STATE:
            setattr(self.state, name, tree["state"][name])
