"""The part of `GAETrainer` that decides which metric selects the best model, and whether higher values are better."""

__all__ = ["SelectionMixin"]

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import EarlyStoppingCallback, Trainer
from transformers.optimization import GreedyLR
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType

from ..core.distributed import single_process
from .checkpointing import fixed_seed
from .evaluation_mixin import EvaluationMixin

_METRIC_SCHEDULES = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
# metrics of methods that are not loss terms there; every loss term is better if it is lower
_LOWER_IS_BETTER = {"dead_codes", "kl", "loss", "negative_elbo", "reconstruction"}
_NOT_SELECTED_BY = ("epoch", "runtime", "per_second", "_time")


class SelectionMixin(EvaluationMixin):
    """The best checkpoint, early stopping and schedules that follow a metric share one metric and one direction."""

    def _choose_metric(self, model: nn.Module):
        """Set metric_for_best_model if the run needs one, and greater_is_better unless the user did.

        A metric that is not the method's own is looked up in the output for one batch of eval_dataset.

        Raises:
            ValueError: if the evaluation does not return the metric.
        """
        args, default = self.args, getattr(model, "metric_for_best_model", "loss")
        follows_metric = args.lr_scheduler_type in _METRIC_SCHEDULES
        is_needed = args.load_best_model_at_end or follows_metric or args.save_strategy == SaveStrategy.BEST
        if is_needed and args.metric_for_best_model in (None, "loss"):
            args.metric_for_best_model = default
        if args.metric_for_best_model is None or self.eval_dataset is None:
            return
        name, terms = args.metric_for_best_model.removeprefix("eval_"), {"loss", default}
        if name not in terms:
            terms, metrics = self._list_terms(model)
            if name not in terms | metrics and self._returns_terms_only():
                raise _unknown_metric(args.metric_for_best_model, terms | metrics)
        if args.greater_is_better is None:
            args.greater_is_better = name not in terms | _LOWER_IS_BETTER and not name.endswith("loss")
        if follows_metric and args.greater_is_better:
            args.lr_scheduler_kwargs = {"mode": "max", **cast(dict[str, Any], args.lr_scheduler_kwargs or {})}

    def _prepare_early_stopping(self):
        """Give early stopping a metric to follow."""
        if not any(isinstance(callback, EarlyStoppingCallback) for callback in self.callback_handler.callbacks):
            return
        if self.args.eval_strategy == IntervalStrategy.NO:
            raise ValueError(
                "EarlyStoppingCallback follows the validation loss: pass an eval_dataset, and set eval_strategy to "
                "'steps' or 'epoch'"
            )
        if self.args.metric_for_best_model is None:
            self.args.metric_for_best_model = getattr(self.plain_model, "metric_for_best_model", "loss")
            self.args.greater_is_better = False

    def _list_terms(self, model: nn.Module) -> tuple[set[str], set[str]]:
        """Names of the loss terms, and of the metrics that are numbers, of a model."""
        was_training, device = model.training, next(model.parameters()).device
        try:
            with fixed_seed(self.args.seed, self.args.device), single_process(), torch.no_grad():
                inputs = next(iter(self.get_eval_dataloader()))
                outputs = model.eval()(**{key: value.to(device) for key, value in inputs.items()})
        finally:
            model.train(was_training)
        metrics = outputs.metrics or {}
        return {"loss", *outputs.losses}, {name for name, value in metrics.items() if not value.dim()}

    def _returns_terms_only(self) -> bool:
        """Whether an evaluation returns the model's terms and metrics only, since no subclass adds others."""
        overridden = (
            type(self).evaluate is not Trainer.evaluate
            or type(self).evaluation_loop is not EvaluationMixin.evaluation_loop
        )
        return self.compute_metrics is None and not overridden

    def _evaluate(
        self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False
    ) -> dict[str, float]:
        """As in transformers, but an unknown metric raises ValueError also if only early stopping follows it."""
        metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler=True)
        if self.args.metric_for_best_model is None:
            return metrics
        numbers = {name.removeprefix("eval_"): value for name, value in metrics.items() if not isinstance(value, list)}
        value = numbers.get(self.args.metric_for_best_model.removeprefix("eval_"))
        if value is None:
            raise _unknown_metric(self.args.metric_for_best_model, numbers)
        if not skip_scheduler and isinstance(self.lr_scheduler, (ReduceLROnPlateau, GreedyLR)):
            self.lr_scheduler.step(value)
        return metrics


def _unknown_metric(metric: str, names: Iterable[str]) -> ValueError:
    names = sorted(name for name in names if not name.endswith(_NOT_SELECTED_BY))
    return ValueError(
        f"metric_for_best_model is '{metric}', which is not a number that the evaluation returns: choose one of "
        f"{', '.join(names)}"
    )
