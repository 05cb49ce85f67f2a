"""The trainer of every method: named parameter groups, every loss term in the log, checkpoints without pickle."""

__all__ = ["GAETrainer"]

import logging
import shutil
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import MISSING, fields
from pathlib import Path
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import IntervalStrategy, SchedulerType
from transformers.utils import logging as hf_logging

from ..core.distributed import single_process
from ..core.hub_errors import explained
from ..core.hub_files import fetch_card
from ..data.datasets import ImageDataset, collate
from ..data.loading import as_image_dataset, iterate_batches
from ..images.processing import GAEImageProcessor
from .arguments import GAETrainingArguments
from .averaging import WeightAverage
from .callbacks import InterruptCallback, LossBarCallback, ScheduleCallback
from .checkpointing import (
    TRAINER_STATE,
    fixed_seed,
    is_whole,
    last_checkpoint,
    load_tree,
    rng_state,
    save_tree,
    set_rng_state,
)
from .cpu_tuning import keep_freed_memory, known_absent, only_new_garbage
from .diagnostics import HealthCallback
from .divergence import DivergenceGuard, GuardCallback
from .image_callback import ImageCallback
from .run_info import Spent, environment

logger = hf_logging.get_logger(__name__)

# what transformers fills in by itself, so that it is no choice of the person's
_FILLED_IN = {
    *(
        "accelerator_config",
        "activation_checkpointing",
        "data_seed",
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
SPENT = "spent.safetensors"

_TRAINED = WeakSet()  # models that are there still


class GAETrainer(Trainer):
    """Trains any model of gae_hub, on one device or many: `accelerate launch` and `torchrun` run the same script.

    Args:
        model: the model, or leave it out and give `model_init`.
        args: [`GAETrainingArguments`].
        train_dataset, eval_dataset: what [`load_images`] returns, or anything it takes as an object. Without
            eval_dataset nothing is evaluated, and the last model is kept.
        data_collator, processing_class, callbacks, **kwargs: as for `transformers.Trainer`.

    Raises:
        ValueError: if the data does not have the model's input_shape, or torch_compile is set for a model that cannot
            be compiled, or (from `train`) the output folder already holds a run.

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
        if args.data_seed is None:  # else the order of the data would follow the state of each process's noise
            args.data_seed = args.seed
        if eval_dataset is None:  # nothing to choose the best model by
            args.eval_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False
            if args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
                raise ValueError("lr_scheduler_type 'reduce_lr_on_plateau' follows the validation: give eval_dataset")
        elif isinstance(eval_dataset, dict):
            raise ValueError(f"eval_dataset must be one data set, got a dict of {', '.join(map(str, eval_dataset))}")
        train_dataset, eval_dataset = (
            data if data is None else as_image_dataset(data) for data in (train_dataset, eval_dataset)
        )
        self.average = WeightAverage(args.ema_decay) if args.ema_decay else None
        self.sums = {True: _Sums(), False: _Sums()}  # by whether the model is training
        self.interrupt, self.started, self.finished = InterruptCallback(), False, False
        self.unwrapped = (None, None)  # see `plain_model`
        self.guard = self._new_guard(args)
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
        self.can_return_loss = True  # also where a person's forward hides its arguments behind **kwargs
        self.configure_model(self.model)
        if self.processing_class is None and hasattr(self.model.config, "input_shape"):  # a sampler has no images
            self.processing_class = GAEImageProcessor.for_model(self.plain_model)
        for default in (ProgressCallback, PrinterCallback):
            self.remove_callback(default)
        if not args.disable_tqdm:
            self.add_callback(LossBarCallback())
        self.health = HealthCallback()
        self.add_callback(self.health)
        if args.image_interval:
            if self.engine_saves():
                raise ValueError("image_interval needs a whole model, which FSDP and DeepSpeed shard: set it to 0")
            self.add_callback(ImageCallback(self, args.image_interval))
        if self.average is not None:
            if self.engine_saves():
                raise ValueError("ema_decay needs whole parameters, which FSDP and DeepSpeed shard: set it to 0")
            self.add_callback(self.average)
        self.add_callback(GuardCallback(self))  # the last one: it looks before what others ask to be saved

    @staticmethod
    def _new_guard(args: GAETrainingArguments) -> DivergenceGuard:
        return DivergenceGuard(args.divergence_threshold, args.divergence_restarts, args.device.type == "cpu")

    def configure_model(self, model):
        """Check that model and data fit, and tell each what it must know of the other."""
        config, args = model.config, self.args
        if self.is_fsdp_enabled and not getattr(model, "shardable", True):
            raise ValueError(
                f"the loss of {type(model).__name__} uses weights apart from their modules, which FSDP splits: "
                "train it with DistributedDataParallel, the default of accelerate launch"
            )
        compiled = args.torch_compile and args.torch_compile_backend != "eager"
        if compiled and not getattr(model, "can_be_compiled", True):
            raise ValueError(
                f"torch_compile=True does not work for {type(model).__name__}: its loss holds a gradient, which "
                "torch.compile cannot differentiate again; leave it out"
            )
        for data in (self.train_dataset, self.eval_dataset):
            shape = getattr(data, "input_shape", None)
            if shape is not None and shape != config.input_shape:
                raise ValueError(f"the data has input_shape {shape}, but the model was built for {config.input_shape}")
        if getattr(config, "dataset_size", 0) is None and hasattr(self.train_dataset, "__len__"):
            config.dataset_size = len(self.train_dataset)
        chooses = args.load_best_model_at_end or args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU
        if args.metric_for_best_model in (None, "loss") and chooses:
            args.metric_for_best_model = getattr(model, "metric_for_best_model", "loss")
        if not args.dataloader_drop_last and args.world_size == 1:  # several processes fill up their last batches
            remedy = " or set dataloader_drop_last=True"
            check_last_batch("train_dataset", self.train_dataset, "per_device_train_batch_size", args, model, remedy)
        check_last_batch("eval_dataset", self.eval_dataset, "per_device_eval_batch_size", args, model)

    def call_model_init(self, trial=None):
        """The model of a run, or of one trial of a search."""
        model = super().call_model_init(trial)
        if hasattr(self, "train_dataset"):  # not yet in the constructor
            self.configure_model(model)
            if self.args.channels_last:
                model.to(memory_format=torch.channels_last)
        return model

    def hyperparameter_search(self, *args, compute_objective=None, **kwargs):
        """As in transformers; what is optimised is by default what the method's best model is chosen by."""

        def objective(metrics: dict[str, float]) -> float:
            return metrics[f"eval_{getattr(self.plain_model, 'metric_for_best_model', 'loss')}"]

        return super().hyperparameter_search(*args, compute_objective=compute_objective or objective, **kwargs)

    @property
    def plain_model(self):
        """The model itself, without what runs or compiles it."""
        if self.unwrapped[0] is not self.model:  # to unwrap it takes a while
            self.unwrapped = self.model, self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        return self.unwrapped[1]

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        """Train, and end with the best model on validation. A second call goes on with that model, as a run of its own
        whose checkpoints take the place of those of the first.

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
        elif self.finished:  # by their higher numbers, the checkpoints of the run before would be taken for newer ones
            self._delete(folder, ("checkpoint-*",))
        elif not self.started:
            self._claim(folder)
        self.started, self.finished = True, False
        self.guard = self._new_guard(self.args)
        self.spent = Spent()
        for left in self.sums.values():  # of a run that was broken off
            left.clear()
        if self.average is not None:
            self.average.average = None
        if resume_from_checkpoint and not hasattr(self.train_dataset, "__len__"):
            logger.warning(
                "a stream is read from its beginning to where training stopped: exact within its first pass only"
            )
        on_cpu = self.args.device.type == "cpu"
        if on_cpu:
            keep_freed_memory()
        # accelerate begins with a collection of garbage: another model that was trained before may lie there
        own = None if self.model is None else self.plain_model
        spared = only_new_garbage(on_cpu and all(model is own for model in _TRAINED))
        with self._memory_format(), self.interrupt.listening(), known_absent("lomo_optim"), spared:
            try:
                result = super().train(resume_from_checkpoint=resume_from_checkpoint or None, **kwargs)
            finally:
                if self.model is not None:
                    _TRAINED.add(self.plain_model)
        self.plain_model.facts = self._facts()
        shown = self.eval_dataset or self.train_dataset
        if hasattr(shown, "__len__") and self.processing_class is not None:  # of images
            self.plain_model.examples = next(iterate_batches(shown))
        if self.interrupt.interrupted:
            raise KeyboardInterrupt(
                f"training was stopped at step {self.state.global_step}; its checkpoint is in '{folder}': "
                "go on with train(resume_from_checkpoint=True), or --resume from a shell"
            )
        self.finished = True
        if self.args.push_to_hub:
            self.push_to_hub()
        return result

    @contextmanager
    def _memory_format(self):
        """Channels last while training. It changes the last bits of results, so the usual layout is put back."""
        if not self.args.channels_last:
            yield
            return
        if self.model is not None:  # else `call_model_init` does it
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
        self._delete(folder, WRITTEN if runs else ())

    def _delete(self, folder: Path, patterns: tuple[str, ...]):
        """Delete what an earlier run wrote, once all processes have looked at it."""
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            for path in [path for pattern in patterns for path in folder.glob(pattern)]:
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
            "revision": getattr(self.train_dataset, "revision", None),
            "environment": environment(),
            "num_train_images": len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else None,
            "arguments": {k: v for k, v in self.args.to_dict().items() if k not in private and v != default.get(k)},
            "num_processes": self.args.world_size,
            "steps": self.state.global_step,
            "best_step": self.state.best_global_step if self.args.load_best_model_at_end else None,
            "seconds": round(self.spent.seconds(), 1),
            "joules": self.spent.joules(),
            "health": self.health.last,
            "divergences": self.guard.events,
            "log": self.state.log_history,
        }

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            factory, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(
                self.args, self.model
            )
            rates, decays = self.args.group_learning_rates or {}, self.args.group_weight_decay or {}
            groups = self.plain_model.parameter_groups()
            for name in {*rates, *decays, *(self.args.group_max_grad_norm or {})} - {*groups}:
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
        names = {group.get("name") for group in self.optimizer.param_groups}
        for name in {*(self.args.group_max_grad_norm or {})} - names:  # of an optimizer of the person's own
            raise ValueError(
                f"group_max_grad_norm limits '{name}', but the given optimizer has no such group: "
                'make its groups with "name" beside "params"'
            )
        return self.optimizer

    def _get_dataloader(self, dataset, *args, is_training: bool = False, **kwargs):
        """As in transformers, but no evaluation leaves out its last batch, and images in memory are indexed on the
        training device, in this process, if they fit there."""
        resident = dataset.place_on(self.args.device) if isinstance(dataset, ImageDataset) else dataset
        given, self.args = self.args, copy(self.args)
        self.args.dataloader_drop_last = is_training and given.dataloader_drop_last
        if resident is not dataset:
            self.args.dataloader_num_workers, self.args.dataloader_pin_memory = 0, False
            self.args.dataloader_persistent_workers, self.args.dataloader_prefetch_factor = False, None
        try:
            return super()._get_dataloader(resident, *args, is_training=is_training, **kwargs)
        finally:
            self.args = given

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        terms = {**outputs.losses, **(outputs.metrics or {})}
        if model.training:
            self.guard.see(outputs.loss, outputs.losses)
            self.sums[True].add(terms, len(next(iter(inputs.values()))))
        else:
            self.sums[False].add({"loss": outputs.loss, **terms}, self.counted)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def _clip_grad_norm(self, model):
        """Only for the engines that shard gradients: else `_get_grad_norm` clips, each player by itself."""
        return super()._clip_grad_norm(model) if self.engine_saves() else None

    def _get_grad_norm(self, model, grad_norm=None):
        """The norm of all gradients, after those of each parameter group were clipped to its own."""
        if self.engine_saves():
            return super()._get_grad_norm(model, grad_norm)
        self.accelerator.unscale_gradients()
        limits, norms = self.args.group_max_grad_norm or {}, []
        for group in self.optimizer.param_groups:
            gradients = [p.grad for p in group["params"] if p.grad is not None]
            if not gradients:  # frozen
                continue
            norm = torch.nn.utils.get_total_norm(gradients)
            limit = limits.get(group.get("name"), self.args.max_grad_norm)
            if limit > 0:
                torch.nn.utils.clip_grads_with_norm_(group["params"], limit, norm)
            norms.append(norm)
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        if getattr(self.accelerator, "scaler", None) is None:  # which overflows now and then, and sees to it itself
            self.guard.see_gradient(norm)
        return norm

    def floating_point_ops(self, inputs) -> int:
        """None are counted: the estimate of transformers is one for tokens."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None):
        """As in transformers, with the loss terms; metrics that are vectors are only in what `evaluate` returns."""
        if "loss" in logs:
            logs = {**logs, **self.sums[True].pop()}
            self.spent.joules()  # the meter must be read now and then
        super().log({name: value for name, value in logs.items() if not isinstance(value, list)}, start_time)

    def evaluation_loop(self, *args, metric_key_prefix: str = "eval", **kwargs):
        """As in transformers, but every image counts once, schedules are at their end, and each batch has the same
        noise each time, however many processes share the work: values can be compared."""
        model = self.plain_model
        progress = model.progress.clone()
        model.progress.fill_(1.0)
        self.batches_seen = 0
        self.sums[False].clear()
        try:
            with fixed_seed(self.args.seed, self.args.device), single_process(), self.averaged():
                output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        finally:
            model.progress.copy_(progress)
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in self.sums[False].pop().items()})
        return output

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """One batch of an evaluation. Processes take the batches of one process in turn; what fills up the last ones,
        so that all take as many steps, is left out of the sums."""
        size, index = self.args.eval_batch_size, self.batches_seen * self.args.world_size + self.args.process_index
        self.batches_seen += 1
        dataset = self.callback_handler.eval_dataloader.dataset
        images = len(next(iter(inputs.values())))
        self.counted = min(images, max(0, len(dataset) - index * size)) if hasattr(dataset, "__len__") else images
        torch.manual_seed(self.args.seed + index)
        inputs = {name: value[: self.counted or None] for name, value in inputs.items()}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def averaged(self):
        """The average of the weights in their place, while there is one."""
        return self.average.applied(self.plain_model) if self.average is not None else nullcontext()

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
        with no_progress_bars(), self.averaged():
            self.plain_model.save_pretrained(folder, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        (folder / "training_args.json").write_text(self.args.to_json_string(), encoding="utf-8")

    def engine_saves(self) -> bool:
        """Whether FSDP or DeepSpeed holds the parameters, in parts, and writes them."""
        return self.is_deepspeed_enabled or self.is_fsdp_enabled

    def _save_optimizer_and_scheduler(self, output_dir: str):
        if self.engine_saves():
            return super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_tree(self.optimizer.state_dict(), Path(output_dir) / OPTIMIZER)
            save_tree(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)
            save_tree(self.spent.state_dict(), Path(output_dir) / SPENT)
            if self.average is not None:
                self.average.save(self.plain_model, output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None):
        if self.average is not None and checkpoint is not None:
            self.average.resume(self.plain_model, checkpoint)
        if checkpoint is None or self.engine_saves():
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
        self.spent.load_state_dict(load_tree(Path(checkpoint) / SPENT))
        self.guard.load_state_dict(self._own_state(checkpoint)["guard"])

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
        own = {"random": rng_state(), "guard": self.guard.state_dict()}
        save_tree(own, self._rng_file(output_dir))
        self.accelerator.wait_for_everyone()  # the trainer's state, written next, marks a checkpoint as whole

    def _own_state(self, checkpoint: str) -> dict:
        """What each process has saved for itself."""
        if not self._rng_file(checkpoint).is_file():
            raise ValueError(
                f"'{checkpoint}' has no random state for process {self.args.process_index}: "
                "resume with as many processes as it was saved by"
            )
        return load_tree(self._rng_file(checkpoint))

    def _load_rng_state(self, checkpoint: str | None):
        if checkpoint is not None:
            set_rng_state(self._own_state(checkpoint)["random"])

    # The Hub

    def init_hf_repo(self, *args, **kwargs):
        with explained("publish to", self.args.hub_model_id or self.args.output_dir, self.args.hub_token):
            super().init_hf_repo(*args, **kwargs)

    def push_to_hub(self, *args, **kwargs):
        """As in transformers, with errors that say what to do; it can be run again."""
        with explained("publish to", self.hub_model_id, self.args.hub_token):
            return super().push_to_hub(*args, **kwargs)

    def create_model_card(self, *args, **kwargs):
        """Write README.md into output_dir: gae_hub's own card, with the run so far."""
        if self.is_world_process_zero():
            self.plain_model.facts = self.plain_model.facts or self._facts()
            fetch_card(self.hub_model_id, self.args.output_dir, self.args.hub_token, self.args.hub_revision)
            self.plain_model.write_card(self.args.output_dir, repo_id=self.hub_model_id, show=True)

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
            ignore_patterns=[
                "optimizer*",
                "scheduler*",
                "scaler*",
                "spent*",
                "training_weights*",
                "rng_state*",
                "README.md",
            ],
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


def check_last_batch(name: str, dataset, field: str, args: GAETrainingArguments, model, remedy: str = ""):
    """Raise before training, and not at its last batch, if that batch is too small for the model's loss."""
    least, size = getattr(model, "min_batch_size", 1), getattr(args, field)
    if not hasattr(dataset, "__len__"):
        return
    last = len(dataset) % size or min(size, len(dataset))
    if last < least:
        raise ValueError(
            f"{name} has {len(dataset)} images, so that with {field}={size} the last batch holds {last}, but the loss "
            f"of {type(model).__name__} needs {least}: choose another {field}{remedy}"
        )


class _Sums:
    """Weighted sums of named scalars or vectors, kept on the device until they are asked for."""

    def __init__(self):
        self.values: dict[str, Tensor] = {}
        self.count = 0

    def clear(self):
        self.values.clear()
        self.count = 0

    def add(self, scalars: dict[str, Tensor], count: int):
        for name, value in scalars.items():
            if name not in self.values:
                kind = torch.float32 if value.device.type == "mps" else torch.float64
                self.values[name] = torch.zeros_like(value, dtype=kind, requires_grad=False)
        if count:
            sums, values = [self.values[name] for name in scalars], [value.detach() for value in scalars.values()]
            torch._foreach_add_(sums, values, alpha=count)
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
        self.clear()
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
