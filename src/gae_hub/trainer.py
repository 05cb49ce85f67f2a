"""The trainer of every method: named parameter groups, every loss term in the log, checkpoints without pickle."""

__all__ = ["GAETrainer"]

import logging
import shutil
from collections import defaultdict
from contextlib import contextmanager
from copy import copy
from dataclasses import MISSING, fields
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging as hf_logging

from .callbacks import InterruptCallback, LossBarCallback, ScheduleCallback
from .checkpointing import (
    TRAINER_STATE,
    is_whole,
    last_checkpoint,
    load_tree,
    rng_state,
    save_tree,
    set_rng_state,
)
from .data import as_image_dataset, collate
from .image_processing import GAEImageProcessor
from .models.hub_model import fetch_card
from .training_args import GAETrainingArguments

logger = hf_logging.get_logger(__name__)

# what transformers fills in by itself, so that it is no choice of the person's
_FILLED_IN = {
    *(
        "accelerator_config",
        "activation_checkpointing",
        "debug",
        "disable_tqdm",
        "do_eval",
        "do_train",
        "eval_strategy",
        "save_strategy",
    ),
    *("gradient_checkpointing", "greater_is_better", "load_best_model_at_end", "metric_for_best_model", "report_to"),
}
# what a run writes into its folder, and all that overwrite_output_dir deletes there; the card is written anew
WRITTEN = (
    *("checkpoint-*", "config.json", "model*.safetensors*", "preprocessor_config.json", "training.json"),
    *("training_args.json", "results.json", "run.yaml", "sampler", "assets"),
)
OPTIMIZER, SCHEDULER, SCALER = "optimizer.safetensors", "scheduler.safetensors", "scaler.safetensors"


class GAETrainer(Trainer):
    """Trains any model of gae_hub, on one device or many: `accelerate launch` and `torchrun` run the same script.

    Args:
        model: the model, or leave it out and give `model_init`.
        args: [`GAETrainingArguments`].
        train_dataset, eval_dataset: what [`load_images`] returns, or anything it takes as an object. Without
            eval_dataset nothing is evaluated, and the last model is kept.
        data_collator, processing_class, callbacks, **kwargs: as for `transformers.Trainer`.

    Raises:
        ValueError: if the data does not have the model's input_shape, or (from `train`) the output folder already
            holds a run.

    Example:

    ```python
    train, validation = load_images("ylecun/mnist", splits=("train", "validation"))
    args = GAETrainingArguments("betavae-mnist")
    trainer = GAETrainer(BetaVAEModel(config), args, train_dataset=train, eval_dataset=validation)
    trainer.train()
    ```
    """

    args: GAETrainingArguments

    def __init__(
        self,
        model=None,
        args: GAETrainingArguments | None = None,
        data_collator=collate,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        callbacks=None,
        **kwargs,
    ):
        args = copy(args) if args is not None else GAETrainingArguments()
        if eval_dataset is None:  # nothing to choose the best model by
            args.eval_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False
        train_dataset, eval_dataset = (
            data if data is None else as_image_dataset(data) for data in (train_dataset, eval_dataset)
        )
        if model is not None:
            for data in (train_dataset, eval_dataset):
                shape = getattr(data, "input_shape", None)
                if shape is not None and shape != model.config.input_shape:
                    raise ValueError(
                        f"the data has input_shape {shape}, but the model was built for {model.config.input_shape}"
                    )
            if processing_class is None and hasattr(model.config, "input_shape"):  # a sampler has no images
                processing_class = GAEImageProcessor.for_model(model)
            if getattr(model.config, "dataset_size", 0) is None and hasattr(train_dataset, "__len__"):
                model.config.dataset_size = len(train_dataset)
            if args.metric_for_best_model in (None, "loss") and args.load_best_model_at_end:
                args.metric_for_best_model = getattr(model, "best_by", "loss")
            check_last_batch("train_dataset", train_dataset, "per_device_train_batch_size", args, model)
            check_last_batch("eval_dataset", eval_dataset, "per_device_eval_batch_size", args, model)
        self.sums = {True: _Sums(), False: _Sums()}  # by whether the model is training
        self.interrupt, self.started = InterruptCallback(), False
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[ScheduleCallback(), self.interrupt, *(callbacks or [])],
            **kwargs,
        )
        for default in (ProgressCallback, PrinterCallback):
            self.remove_callback(default)
        if not args.disable_tqdm:
            self.add_callback(LossBarCallback())

    @property
    def plain_model(self):
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        """Train, and end with the best model on validation.

        Args:
            resume_from_checkpoint: True for the newest whole checkpoint in output_dir, or a checkpoint's folder.

        Raises:
            ValueError: if output_dir already holds another run, or there is no whole checkpoint to resume from.
            KeyboardInterrupt: after Ctrl-C, once the step is finished and a checkpoint saved.
        """
        folder = Path(self.args.output_dir)
        if resume_from_checkpoint:
            chosen = last_checkpoint(folder) if resume_from_checkpoint is True else Path(resume_from_checkpoint)
            if chosen is None or not is_whole(chosen) or not list(chosen.glob("*.safetensors")):
                raise ValueError(f"there is no whole checkpoint to resume from in '{chosen or folder}'")
            resume_from_checkpoint = str(chosen)
        elif not self.started:
            self._claim(folder)
        self.started = True
        with self._memory_format(), self.interrupt.listening():
            result = super().train(resume_from_checkpoint=resume_from_checkpoint or None, **kwargs)
        self.plain_model.facts = self._facts()
        if self.interrupt.interrupted:
            raise KeyboardInterrupt(
                f"training was stopped at step {self.state.global_step}; its checkpoint is in '{folder}': "
                "go on with train(resume_from_checkpoint=True), or --resume from a shell"
            )
        if self.args.push_to_hub:
            self.push_to_hub()
        return result

    @contextmanager
    def _memory_format(self):
        """Channels last while training. It changes the last bits of results, so the usual layout is put back."""
        if not self.args.channels_last:
            yield
            return
        self.model.to(memory_format=torch.channels_last)
        try:
            yield
        finally:
            self.plain_model.to(memory_format=torch.contiguous_format)

    def _claim(self, folder: Path):
        """Make sure that no other run is overwritten."""
        runs = sorted(path.name for path in (*folder.glob("checkpoint-*"), *folder.glob("config.json")))
        if runs and not self.args.overwrite_output_dir:
            raise ValueError(
                f"output_dir '{folder}' already holds a run ({', '.join(runs[:3])}): "
                "resume it with resume_from_checkpoint=True (--resume), choose another folder, "
                "or set overwrite_output_dir=True to delete it"
            )
        self.accelerator.wait_for_everyone()  # all have looked
        if runs and self.args.should_save:
            for pattern in WRITTEN:
                for path in folder.glob(pattern):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.accelerator.wait_for_everyone()

    def _facts(self) -> dict:
        """What the card tells of the run."""
        default = {f.name: f.default_factory() if f.default is MISSING else f.default for f in fields(self.args)}
        private = {
            "output_dir",
            "run_name",
            "hub_token",
            "resume_from_checkpoint",
            "overwrite_output_dir",
        } | _FILLED_IN
        return {
            "dataset": getattr(self.train_dataset, "name", None),
            "num_train_images": len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else None,
            "arguments": {k: v for k, v in self.args.to_dict().items() if k not in private and v != default.get(k)},
            "num_processes": self.args.world_size,
            "steps": self.state.global_step,
            "best_step": self.state.best_global_step if self.args.load_best_model_at_end else None,
            "seconds": round(sum(entry.get("train_runtime", 0.0) for entry in self.state.log_history), 1),
            "log": self.state.log_history,
        }

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            factory, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(
                self.args, self.model
            )
            rates, decays = self.args.group_learning_rates or {}, self.args.group_weight_decay or {}
            groups = self.plain_model.parameter_groups()
            for name in {*rates, *decays} - {*groups}:
                raise ValueError(f"there is no parameter group '{name}'; this model has {', '.join(groups)}")
            self.optimizer = factory(
                [
                    {
                        "params": parameters,
                        "name": name,
                        "lr": rates.get(name, self.args.learning_rate),
                        "weight_decay": decays.get(name, self.args.weight_decay),
                    }
                    for name, parameters in groups.items()
                ],
                **options,
            )
        return self.optimizer

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        self.sums[model.training].add({**outputs.losses, **(outputs.metrics or {})}, len(next(iter(inputs.values()))))
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def _get_grad_norm(self, model, grad_norm=None):
        """The norm is known where gradients are clipped; it is not worth a pass over all gradients elsewhere."""
        return super()._get_grad_norm(model, grad_norm) if grad_norm is not None else None

    def log(self, logs: dict[str, float], start_time: float | None = None):
        """As in transformers, with the loss terms; metrics that are vectors are only in what `evaluate` returns."""
        if "loss" in logs:
            logs = {**logs, **self.sums[True].pop()}
        super().log({name: value for name, value in logs.items() if not isinstance(value, list)}, start_time)

    def evaluation_loop(self, *args, metric_key_prefix: str = "eval", **kwargs):
        """As in transformers, with schedules at their end and the same noise each time: values can be compared."""
        model = self.plain_model
        progress = model.progress.clone()
        model.progress.fill_(1.0)
        with fixed_seed(self.args.seed, self.args.device):
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        model.progress.copy_(progress)
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in self.sums[False].pop().items()})
        return output

    # Checkpoints

    def _save_checkpoint(self, model, trial):
        state = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}" / TRAINER_STATE
        if self.args.should_save:
            state.unlink(missing_ok=True)  # written last, it marks a checkpoint as whole: not so while it is rewritten
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None):
        folder = Path(output_dir or self.args.output_dir)
        if not self.args.should_save:
            return
        with no_progress_bars():
            self.plain_model.save_pretrained(folder, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        (folder / "training_args.json").write_text(self.args.to_json_string(), encoding="utf-8")

    def _engine_saves(self) -> bool:
        return self.is_deepspeed_enabled or self.is_fsdp_enabled

    def _save_optimizer_and_scheduler(self, output_dir: str):
        if self._engine_saves():
            return super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_tree(self.optimizer.state_dict(), Path(output_dir) / OPTIMIZER)
            save_tree(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None):
        if checkpoint is None or self._engine_saves():
            return super()._load_optimizer_and_scheduler(checkpoint)
        if not (Path(checkpoint) / OPTIMIZER).is_file():
            raise ValueError(
                f"'{checkpoint}' holds no optimizer state (save_only_model), so training cannot resume from it"
            )
        self.optimizer.load_state_dict(load_tree(Path(checkpoint) / OPTIMIZER))
        for parameter, state in self.optimizer.state.items():
            # fused kernels walk over parameter and state side by side, so both need one memory format
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
        self.lr_scheduler.load_state_dict(load_tree(Path(checkpoint) / SCHEDULER))

    def _save_scaler(self, output_dir: str):
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            save_tree(scaler.state_dict(), Path(output_dir) / SCALER)

    def _load_scaler(self, checkpoint: str | None):
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and checkpoint is not None and (Path(checkpoint) / SCALER).is_file():
            scaler.load_state_dict(load_tree(Path(checkpoint) / SCALER))

    def _rng_file(self, folder: str) -> Path:
        return Path(folder) / f"rng_state_{self.args.process_index}.safetensors"

    def _save_rng_state(self, output_dir: str):
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save_tree(rng_state(), self._rng_file(output_dir))
        self.accelerator.wait_for_everyone()  # the trainer's state, written next, marks a checkpoint as whole

    def _load_rng_state(self, checkpoint: str | None):
        if checkpoint is None:
            return
        if not self._rng_file(checkpoint).is_file():
            raise ValueError(
                f"'{checkpoint}' has no random state for process {self.args.process_index}: "
                "resume with as many processes as it was saved by"
            )
        set_rng_state(load_tree(self._rng_file(checkpoint)))

    # The Hub

    def create_model_card(self, *args, **kwargs):
        """Write README.md into output_dir: gae_hub's own card, with the run so far."""
        if self.is_world_process_zero():
            self.plain_model.facts = self.plain_model.facts or self._facts()
            fetch_card(self.hub_model_id, self.args.output_dir, self.args.hub_token, self.args.hub_revision)
            self.plain_model.write_card(self.args.output_dir, repo_id=self.hub_model_id)

    def _push_from_checkpoint(self, checkpoint_folder: str):
        """Push the model of a checkpoint in the background, unless the push before it is still running."""
        busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if (
            not self.is_world_process_zero()
            or self.args.hub_strategy == "end"
            or (busy and not self.args.hub_always_push)
        ):
            return
        from huggingface_hub import upload_folder
        from transformers.utils import PushInProgress

        job = upload_folder(
            repo_id=self.hub_model_id,
            folder_path=checkpoint_folder,
            commit_message=f"Training in progress, step {self.state.global_step}",
            token=self.args.hub_token,
            run_as_future=True,
            revision=self.args.hub_revision,
            ignore_patterns=["optimizer*", "scheduler*", "scaler*", "rng_state*", "README.md"],
        )
        self.push_in_progress = PushInProgress([*(self.push_in_progress.jobs if busy else []), job])

    def _finish_current_push(self):
        super()._finish_current_push()
        push = getattr(self, "push_in_progress", None)
        for job in push.jobs if push is not None else ():
            if job.done() and job.exception() is not None:
                logger.warning(
                    f"a push in the background has failed ({job.exception()}); push_to_hub() pushes the model again"
                )


def check_last_batch(name: str, dataset, field: str, args: GAETrainingArguments, model):
    """Raise before training, and not at its last batch, if that batch is too small for the model's loss."""
    least, size = getattr(model, "min_batch_size", 1), getattr(args, field)
    if args.dataloader_drop_last or args.world_size > 1 or not hasattr(dataset, "__len__"):
        return  # several processes fill up their last batches
    last = len(dataset) % size or min(size, len(dataset))
    if last < least:
        raise ValueError(
            f"{name} has {len(dataset)} images, so that with {field}={size} the last batch holds {last}, but the loss "
            f"of {type(model).__name__} needs {least}: choose another {field}, or set dataloader_drop_last=True"
        )


class _Sums:
    """Weighted sums of named scalars or vectors, kept on the device until they are asked for."""

    def __init__(self):
        self.values: dict[str, Tensor | float] = defaultdict(float)
        self.count = 0

    def add(self, scalars: dict[str, Tensor], count: int):
        for name, value in scalars.items():
            self.values[name] += (
                value.detach().double() * count if value.device.type != "mps" else value.detach() * count
            )
        self.count += count

    def pop(self) -> dict[str, float | list[float]]:
        """The means so far, over all processes; the sums start anew."""
        if not self.values:
            return {}
        sums = torch.cat([value.flatten() for value in self.values.values()])
        totals = torch.cat([sums, sums.new_tensor([self.count])])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(totals)
        sizes = {name: value.numel() if value.dim() else 0 for name, value in self.values.items()}  # 0 for a scalar
        self.values.clear()
        self.count = 0
        means = iter((totals[:-1] / totals[-1]).tolist())
        return {name: [next(means) for _ in range(size)] if size else next(means) for name, size in sizes.items()}


@contextmanager
def no_progress_bars():
    """Without transformers' own bars, which would break the one of the training."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


def _not_about_mtime(record: logging.LogRecord) -> bool:
    """Checkpoints less than a second apart are normal for small models, and are sorted by number all the same."""
    return "mtime may not be reliable" not in record.getMessage()


logging.getLogger("transformers.trainer_utils").addFilter(_not_about_mtime)


@contextmanager
def fixed_seed(seed: int, device: torch.device):
    """Random numbers from `seed` inside, and the state from before it afterwards."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield
