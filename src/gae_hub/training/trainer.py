"""`GAETrainer`: `transformers.Trainer` for every method, with loss terms in the log and checkpoints without pickle."""

__all__ = ["GAETrainer"]

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, ProgressCallback, TrainerCallback, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType, TrainOutput
from transformers.utils import logging

from ..data.batches import collate
from ..data.class_labels import with_conditions
from ..data.datasets import BatchedDataset, InMemoryDataset
from ..data.loading import as_dataset, iterate_batches
from ..images.processing import GAEImageProcessor
from ..models.base import GAEPreTrainedModel
from .arguments import GAETrainingArguments
from .averaging import WeightAverage
from .callbacks import InterruptCallback, LossBarCallback, ScheduleCallback
from .checkpointing import last_checkpoint
from .cpu_tuning import keep_freed_memory
from .diagnostics import DiagnosticsCallback
from .divergence import NUMERICAL_ERRORS, make_divergence_guard
from .divergence_callback import DivergenceCallback
from .hub_mixin import HubMixin
from .image_callback import ImageCallback
from .loss_sums import LossSums
from .memory_format import use_channels_last
from .model_checks import check_data, check_model
from .optimization_mixin import OptimizationMixin
from .output_folder import CHECKPOINTS, RUN_FILES, choose_checkpoint, delete_files, delete_unfinished, has_run
from .resume_mixin import ResumeMixin
from .run_info import RunCost
from .run_lock import RunLock
from .selection_mixin import SelectionMixin

logger = logging.get_logger(__name__)


class GAETrainer(ResumeMixin, SelectionMixin, HubMixin, OptimizationMixin):
    """Trains any model of gae_hub, on one device or several: `accelerate launch` and `torchrun` run the same script.

    Args:
        model: the model. Pass `model_init` instead for a search over hyperparameters.
        args: `GAETrainingArguments()` by default. Those of transformers are used as they are, with all their values.
        data_collator: turns the items of a data set into a batch with `pixel_values`. The default understands images,
            tensors, tuples that begin with one and dicts that hold one.
        train_dataset, eval_dataset: a data set from [`load_images`], or any object that it accepts. Without
            eval_dataset nothing is evaluated, and the last model is kept.
        processing_class: saved with the model; by default a [`GAEImageProcessor`] for its images.
        callbacks, **kwargs: as for `transformers.Trainer`.

    Attributes:
        diagnostics: `diagnostics.warnings` holds the warnings of the last evaluation.

    Raises:
        ValueError: if model, data and arguments do not fit together.

    Example:

    ```python
    train, validation = load_images("ylecun/mnist", splits=("train", "validation"))
    args = GAETrainingArguments("betavae-mnist")
    trainer = GAETrainer(BetaVAEModel(config), args, train_dataset=train, eval_dataset=validation)
    trainer.train()
    ```
    """

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[..., Any] = collate,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ):
        if args is not None and not isinstance(args, GAETrainingArguments):
            args = GAETrainingArguments.from_training_arguments(args)
        args = copy(args) if args is not None else GAETrainingArguments()
        if args.data_seed is None:  # otherwise the order of the data would depend on the noise of each process
            args.data_seed = args.seed
        if (model is None) == (kwargs.get("model_init") is None):
            found = "neither" if model is None else "both"
            raise ValueError(f"pass a model, or model_init for a search over hyperparameters; got {found}")
        if isinstance(eval_dataset, dict):
            raise ValueError(f"eval_dataset must be one data set, got a dict of {', '.join(map(str, eval_dataset))}")
        if eval_dataset is None:
            if args.lr_scheduler_type in (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY):
                raise ValueError(
                    f"lr_scheduler_type '{args.lr_scheduler_type.value}' follows the validation loss: pass an "
                    "eval_dataset"
                )
            if args.save_strategy == SaveStrategy.BEST:
                raise ValueError("save_strategy 'best' saves after evaluations: pass an eval_dataset")
            args.eval_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False

        self.average = WeightAverage(args.ema_decay) if args.ema_decay else None
        self.cost = RunCost()
        self.guard = make_divergence_guard(args.divergence_threshold, args.divergence_restarts, args.device)
        self.interrupt, self.schedule = InterruptCallback(), ScheduleCallback()
        self.train_sums, self.eval_sums = LossSums(), LossSums()
        self._started = self._finished = self._has_data = False
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[self.schedule, self.interrupt, *(callbacks or [])],
            **kwargs,
        )
        # not before the model is known, which decides between layouts of arrays
        self.train_dataset, self.eval_dataset = map(self._as_dataset, (train_dataset, eval_dataset))
        self._has_data = True
        self.can_return_loss = True  # also if a custom forward hides its arguments behind **kwargs
        self._check_and_adapt(self.model)
        if self.processing_class is None and hasattr(self.plain_model.config, "input_shape"):  # a sampler has none
            self.processing_class = GAEImageProcessor.for_model(self.plain_model, self.train_dataset)
        self._add_own_callbacks()

    def _add_own_callbacks(self):
        for default in (ProgressCallback, PrinterCallback):
            self.remove_callback(default)
        if not self.args.disable_tqdm:
            self.add_callback(LossBarCallback())
        self.add_callback(DiagnosticsCallback())
        if self.args.image_interval:
            if self.is_sharded:
                raise ValueError("image_interval needs a whole model, but FSDP and DeepSpeed shard it: set it to 0")
            self.add_callback(ImageCallback(self, self.args.image_interval))
        if self.average is not None:
            if self.is_sharded:
                raise ValueError("ema_decay needs whole parameters, but FSDP and DeepSpeed shard them: set it to 0")
            self.add_callback(self.average)
        # last, because it reads which logs and checkpoints other callbacks request, and recovers before them
        self.add_callback(DivergenceCallback(self))

    def _as_dataset(self, data: Any) -> Any:
        """The data as a data set. A custom data_collator receives the items of a torch data set as they are."""
        is_torch = isinstance(data, torch.utils.data.Dataset)
        if data is None or (is_torch and self.data_collator is not collate):
            return data
        model = self.plain_model
        return with_conditions(model, data) if isinstance(model, GAEPreTrainedModel) else as_dataset(data)

    # The model

    def _check_and_adapt(self, model: Any):
        """Check that a model fits data and arguments, and fill in what each needs from the other.

        Raises:
            ValueError: if they do not fit.
        """
        args = self.args
        check_model(model, args, self.is_fsdp_enabled)
        check_data(model, args, self.train_dataset, self.eval_dataset)
        if getattr(model.config, "dataset_size", 0) is None and hasattr(self.train_dataset, "__len__"):
            model.config.dataset_size = len(cast(Any, self.train_dataset))
        if getattr(model, "class_shares", None) is not None and isinstance(self.train_dataset, BatchedDataset):
            cast(GAEPreTrainedModel, model).set_class_shares(cast(torch.Tensor, self.train_dataset.labels))
        self._choose_metric(model)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """The model of a run, or of one trial of a search."""
        model = cast(Any, super().call_model_init(trial))
        if self._has_data:  # not yet in the constructor of transformers
            self._check_and_adapt(model)
            self._prepare_model(model.to(self.args.device))
            if self.args.channels_last:
                use_channels_last(model)
        return model

    def hyperparameter_search(self, *args: Any, compute_objective: Callable | None = None, **kwargs: Any):
        """As in transformers; by default the objective is the metric that chooses the method's best model."""

        def objective(metrics: dict[str, float]) -> float:
            return metrics[f"eval_{getattr(self.plain_model, 'metric_for_best_model', 'loss')}"]

        return super().hyperparameter_search(*args, compute_objective=compute_objective or objective, **kwargs)

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """Train. With an eval_dataset, the weights that are best on validation are kept.

        A second call starts a new run from the current weights. Its checkpoints replace the first run's.

        Args:
            resume_from_checkpoint: True for the newest complete checkpoint in output_dir, or a checkpoint's folder.
                "auto" for the newest one if there is any, else a new run: for jobs that a cluster starts again.
            **kwargs: as in transformers.

        Raises:
            ValueError: if output_dir contains another run or another training writes into it, or if there is no
                complete checkpoint to resume from, or its run had other settings.
            FloatingPointError: if training diverges more than `divergence_restarts` times.
            KeyboardInterrupt: after Ctrl-C, when the current step is finished and a checkpoint saved.
        """
        with self._lock_output_dir():
            result = self._train_alone(resume_from_checkpoint, **kwargs)
        self._finished = True
        if self.args.push_to_hub:
            self.push_to_hub()
        return result

    def _lock_output_dir(self) -> AbstractContextManager[Any]:
        """Context in which no other training writes into output_dir. The first process locks it for all."""
        return RunLock(cast(str, self.args.output_dir)) if self.args.should_save else nullcontext()

    def _train_alone(self, resume_from_checkpoint: str | bool | None, **kwargs: Any) -> TrainOutput:
        """Train in an output_dir that is locked."""
        self._prepare_early_stopping()
        checkpoint = self._prepare_output_dir(resume_from_checkpoint)
        self._reset()
        if checkpoint is not None and not hasattr(self.train_dataset, "__len__"):
            logger.warning(
                "a streamed data set is read again from its beginning: resuming is exact in its first epoch only"
            )
        on_cpu = self.args.device.type == "cpu"
        if self.args.keep_freed_memory and not (on_cpu and keep_freed_memory()):
            logger.warning("keep_freed_memory=True has no effect: it needs a CPU and glibc")
        if checkpoint is None and self.model_init is None:
            self._prepare_model(self.plain_model)
        with self._memory_format(), self.interrupt.handle_sigint():
            result = super().train(resume_from_checkpoint=checkpoint, **kwargs)
        self._record_run()
        if self.interrupt.interrupted:
            raise KeyboardInterrupt(
                f"training was stopped at step {self.state.global_step}, with a checkpoint in "
                f"'{self.args.output_dir}'; resume with train(resume_from_checkpoint=True), or --resume in a shell"
            )
        return result

    def _prepare_model(self, model: Any):
        """Show a new model the training set, from which some methods estimate constants."""
        if isinstance(model, GAEPreTrainedModel):  # a sampler or a custom module needs none
            model.before_training(self._training_images())

    def _training_images(self) -> Iterator[torch.Tensor]:
        """This process's share of the training set: every n-th batch of n processes."""
        batch_size = self.args.per_device_eval_batch_size
        if self.data_collator is collate:
            batches = iterate_batches(self.train_dataset, batch_size)
        else:
            loader = DataLoader(self.train_dataset, batch_size, collate_fn=self.data_collator)
            batches = (batch["pixel_values"] for batch in loader)
        return islice(batches, self.args.process_index, None, self.args.world_size)

    def _prepare_output_dir(self, resume_from_checkpoint: str | bool | None) -> str | None:
        """Find the checkpoint to resume from, or delete what an earlier run left."""
        folder = Path(cast(str, self.args.output_dir))
        if resume_from_checkpoint == "auto":
            resume_from_checkpoint = last_checkpoint(folder) is not None
            self.accelerator.wait_for_everyone()  # delete only after all processes have looked for checkpoints
            if self.args.should_save:
                delete_unfinished(folder)
            self.accelerator.wait_for_everyone()
        if resume_from_checkpoint:
            checkpoint = choose_checkpoint(folder, resume_from_checkpoint)
            # the checkpoints of another run must not be mixed with this run's
            is_elsewhere = not self._started and not checkpoint.resolve().is_relative_to(folder.resolve())
            is_other_run = is_elsewhere and has_run(folder, self.args.overwrite_output_dir)
            self.check_settings(checkpoint)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                delete_files(folder, RUN_FILES if is_other_run else ())
                delete_unfinished(folder)
            self.accelerator.wait_for_everyone()
            return str(checkpoint)
        old_files = ()
        if self._finished:  # checkpoints of the first run have higher numbers, so they would count as newer
            old_files = CHECKPOINTS
        elif not self._started and has_run(folder, self.args.overwrite_output_dir):
            old_files = RUN_FILES
        self.accelerator.wait_for_everyone()  # delete only after all processes have checked for an earlier run
        if self.args.should_save:
            delete_files(folder, old_files)
        self.accelerator.wait_for_everyone()
        return None

    def _reset(self):
        """Forget an earlier run, which may have failed in the middle of a step."""
        args = self.args
        self._started, self._finished = True, False
        self.cost = RunCost()
        self.guard = make_divergence_guard(args.divergence_threshold, args.divergence_restarts, args.device)
        self.train_sums.clear()
        self.eval_sums.clear()
        if self.average is not None:
            self.average.reset()

    @contextmanager
    def _memory_format(self) -> Iterator[None]:
        """Use channels last inside this context, and contiguous weights afterwards: the format changes rounding."""
        if not self.args.channels_last:
            yield
            return
        if self.model is not None:  # otherwise `call_model_init` does it
            use_channels_last(self.model)
        try:
            yield
        finally:
            cast(Any, self.plain_model).to(memory_format=torch.contiguous_format)

    def _record_run(self):
        """Store on the model the facts and example images that its card shows."""
        self.plain_model.facts = self.collect_facts()
        dataset = self.train_dataset if self.eval_dataset is None else self.eval_dataset
        if isinstance(self.processing_class, GAEImageProcessor):  # it holds the normalization of the data
            self.plain_model.processor = self.processing_class
        if hasattr(dataset, "__len__") and self.processing_class is not None:  # images
            batch = self.first_examples(dataset, 500)
            self.plain_model.examples = examples = batch["pixel_values"]
            self.plain_model.example_conditions = batch.get("class_labels")
            labels = getattr(dataset, "labels", None)
            if isinstance(labels, torch.Tensor) and labels.dim() == 1:
                self.plain_model.example_labels = labels[: len(examples)]
                self.plain_model.label_names = getattr(dataset, "label_names", None)

    def _get_dataloader(self, dataset, *args, is_training: bool = False, **kwargs):
        """As in transformers, but evaluations never drop their last batch.

        Images in memory are indexed on the training device, in this process, if they fit there.
        """
        resident = dataset.place_on(self.args.device) if isinstance(dataset, InMemoryDataset) else dataset
        given, self.args = self.args, copy(self.args)
        self.args.dataloader_drop_last = is_training and given.dataloader_drop_last
        if resident is not dataset:
            self.args.dataloader_num_workers, self.args.dataloader_pin_memory = 0, False
            self.args.dataloader_persistent_workers, self.args.dataloader_prefetch_factor = False, None
        try:
            return super()._get_dataloader(resident, *args, is_training=is_training, **kwargs)
        finally:
            self.args = given

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ):
        """The model's loss. Loss terms and metrics are added to the sums for the log, or for the evaluation."""
        options = {} if self.plain_model.config.return_dict else {"return_dict": True}
        try:
            outputs = model(**inputs, **options)
        except NUMERICAL_ERRORS as error:
            if not model.training or self.args.world_size > 1:  # other processes would wait for these gradients
                raise
            return self.guard.observe_error(model, error)
        terms = {**outputs.losses, **(outputs.metrics or {})}
        if model.training:
            self.guard.observe_loss(outputs.loss, outputs.losses)
            self.train_sums.add(terms, len(next(iter(inputs.values()))))
        else:
            self.eval_sums.add({"loss": outputs.loss, **terms}, self._num_counted)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0: the estimate of transformers counts tokens."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None):
        """As in transformers, with the means of the loss terms. Metrics that are lists are left out."""
        terms = {}
        if "loss" in logs:
            terms = self.train_sums.pop_means()
            self.cost.read_joules()  # the meter must be read every few minutes
        scalars = {name: value for name, value in {**logs, **terms}.items() if not isinstance(value, list)}
        super().log(scalars, start_time)
