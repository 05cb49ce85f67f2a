"""`BaseTrainer`: the attributes that the mixins and callbacks of `GAETrainer` share."""

__all__ = ["BaseTrainer"]

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from transformers import Trainer

from ..data.batches import collate
from ..data.loading import iterate_examples
from ..models.base import GAEPreTrainedModel
from .arguments import GAETrainingArguments
from .averaging import WeightAverage
from .diagnostics import DiagnosticsCallback
from .divergence import DivergenceGuard
from .loss_sums import LossSums
from .run_facts import collect_facts
from .run_info import RunCost


class BaseTrainer(Trainer):
    """A `transformers.Trainer` with the attributes that several parts of `GAETrainer` use.

    Attributes:
        average: moving average of the weights, if `ema_decay` is set.
        cost: duration and energy of the run.
        guard: detects divergence.
        setting_changes: training arguments that were changed on resume, with their values and the step.
        train_sums, eval_sums: sums of the loss terms, in training since the last entry of the log.
    """

    model: GAEPreTrainedModel  # the one that was passed, or its wrapper while it is trained
    args: GAETrainingArguments
    average: WeightAverage | None
    cost: RunCost
    guard: DivergenceGuard
    schedule: Any  # the ScheduleCallback, which knows whether an epoch has ended
    interrupt: Any  # the InterruptCallback, which handles Ctrl-C
    train_sums: LossSums
    eval_sums: LossSums
    setting_changes: list[str] = []

    _unwrapped: tuple[Any, Any] = (None, None)  # a model, and the same model without its wrappers

    @property
    def plain_model(self) -> GAEPreTrainedModel:
        """The model without wrappers for distribution or compilation. In the fit of a sampler it is the sampler."""
        if self._unwrapped[0] is not self.model:  # unwrapping is slow
            self._unwrapped = self.model, self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        return cast(GAEPreTrainedModel, self._unwrapped[1])

    @property
    def diagnostics(self) -> DiagnosticsCallback:
        """Warnings of the last evaluation. A resumed run has a new callback, with the state of the checkpoint."""
        callbacks = self.callback_handler.callbacks
        return next(callback for callback in callbacks if isinstance(callback, DiagnosticsCallback))

    @property
    def is_sharded(self) -> bool:
        """Whether FSDP or DeepSpeed shards the parameters, and saves and clips them itself."""
        return self.is_deepspeed_enabled or self.is_fsdp_enabled

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Context in which the model has the average of its weights, if there is one."""
        return nullcontext() if self.average is None else self.average.applied(self.plain_model)

    def first_examples(self, dataset: Any, num: int) -> dict[str, Any]:
        """The first examples of a data set, as the model sees them: `pixel_values`, and `class_labels` if any."""
        if self.data_collator is collate:
            return next(iterate_examples(dataset, num))
        items = [dataset[index] for index in range(min(num, len(dataset)))]
        batch = cast(Any, self.data_collator)(items)
        return {name: batch[name] for name in ("pixel_values", "class_labels") if name in batch}

    def collect_facts(self) -> dict[str, Any]:
        """Facts about the run, for training.json and the model card."""
        warnings = dict(self.diagnostics.warnings)
        if self.setting_changes:
            warnings["changed settings"] = "; ".join(self.setting_changes)
        return collect_facts(
            self.args,
            self.state,
            self.train_dataset,
            self.cost,
            warnings=warnings,
            divergences=self.guard.events,
        )
