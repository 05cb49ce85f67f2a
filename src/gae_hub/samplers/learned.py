"""The base of the samplers that [`GAETrainer`] trains."""

__all__ = ["LatentDataset", "LearnedSampler", "LearnedSamplerConfig"]

from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import initialization as init

from ..data.class_labels import read_class_labels
from ..data.embeddings import embed_dataset
from ..models.base import GAEOutput, GAEPreTrainedModel
from ..training.checkpointing import get_rng_state, set_rng_state
from .base import GAESampler, GAESamplerConfig, check_latent_shape, check_latents, require_value
from .constant_dimensions import select_varying
from .latent_kinds import LatentKind

if TYPE_CHECKING:  # slow to import: `_build_trainer` imports what it needs
    from transformers import TrainerCallback

    from ..training.arguments import GAETrainingArguments
    from ..training.trainer import GAETrainer


@strict
class LearnedSamplerConfig(GAESamplerConfig):
    """Fields of every sampler that is trained.

    Args:
        seed: seed of the initial weights and of the order of the batches.
    """

    seed: int = 0


class LatentDataset(Dataset):
    """Named tensors of equal length on the CPU, read a batch at a time."""

    def __init__(self, **tensors: Tensor):
        self.tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A whole batch: DataLoader calls this method with all indices of a batch if it exists."""
        rows = torch.as_tensor(indices)
        return {name: tensor[rows] for name, tensor in self.tensors.items()}


def _return_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The collator of a `LatentDataset`, whose batches are whole already."""
    return batch


class LearnedSampler(GAESampler):
    """Base of the samplers that [`GAETrainer`] trains, with its checkpoints, early stopping and log.

    A subclass defines `allocate`, `draw_latents`, and `forward(latents, return_loss=True) -> GAEOutput` with a loss in
    nats per example, for latents (batch, density_dim); and `fit_standardization` if it standardizes its latents.

    Attributes:
        log_history: log of the last `fit`, as in `trainer.state.log_history`.
    """

    config: LearnedSamplerConfig
    progress: Tensor  # share of the training steps that are done, set by the trainer; 1 outside training
    log_history: list[dict[str, float]]

    config_class = LearnedSamplerConfig
    _keep_in_fp32_modules_strict = ["progress"]
    latent_kinds: tuple[LatentKind, ...] = ("vectors",)
    omits_constants = True
    default_arguments: dict[str, Any] = {
        "num_train_epochs": 100,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
    }

    # What the trainer reads
    accepts_loss_kwargs = False
    metric_for_best_model = "loss"
    min_batch_size = 1
    facts: dict[str, Any] | None = None

    def __init__(self, config: LearnedSamplerConfig | None = None, **fields: Any):
        super().__init__(config, **fields)
        self.register_buffer("progress", torch.ones((), dtype=torch.float32), persistent=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if module is self:
            if "progress" in self._buffers:  # not yet in the constructor of the base class
                init.ones_(self.progress)
        else:
            super()._init_weights(module)

    def reallocate(self, device: torch.device, dtype: torch.dtype | None = None):
        """Replace the state by a new one with weights from `config.seed`."""
        with torch.random.fork_rng([]):
            torch.manual_seed(self.config.seed)
            super().reallocate(device, dtype)

    # Fitting

    def fit(
        self,
        latents: Tensor,
        *,
        validation_latents: Tensor | None = None,
        args: "GAETrainingArguments | None" = None,
        callbacks: "list[TrainerCallback] | None" = None,
        resume_from_checkpoint: str | bool | None = None,
        progress: bool = True,
        **arguments: Any,
    ) -> Self:
        """Train the density. If this fails or is interrupted, the sampler stays as it was.

        Args:
            latents: (num, *latent_shape), 2 or more, for example from [`embed_dataset`]. Maps are modelled as vectors.
            validation_latents: (num, *latent_shape), on which the best weights are selected. Without them, the last
                weights are kept.
            args: training arguments. By default `default_arguments` of the class, in a temporary folder.
            callbacks: callbacks of transformers, such as `EarlyStoppingCallback(5)`.
            resume_from_checkpoint: as in `GAETrainer.train`.
            progress: whether to show a progress bar. `args` decides instead if it is given.
            **arguments: fields of [`GAETrainingArguments`] to change in the defaults, such as `num_train_epochs=20`.

        Returns:
            The sampler itself.

        Raises:
            ValueError: if latents or validation latents are not floats of one shape, hold nan or infinite values, or
                are too few; if both `args` and fields of it are given; or for an unknown field.
        """
        return super().fit(
            latents,
            validation_latents=validation_latents,
            args=args,
            callbacks=callbacks,
            resume_from_checkpoint=resume_from_checkpoint,
            progress=progress,
            **arguments,
        )

    def fit_to(
        self,
        model: GAEPreTrainedModel,
        dataset: Any = None,
        validation_dataset: Any = None,
        *,
        progress: bool = True,
        **training: Any,
    ) -> Self:
        """Train the density on samples of a model's posteriors of a data set, as in [`GAESampler`].

        The best weights are selected on `validation_dataset`; without it, the last weights are kept.
        """
        self.check_model(model)
        if validation_dataset is not None:
            training = self.embed_validation(model, validation_dataset, self.num_classes, progress) | training
        return super().fit_to(model, dataset, progress=progress, **training)

    @staticmethod
    def embed_validation(
        model: GAEPreTrainedModel, dataset: Any, num_classes: int | None, progress: bool
    ) -> dict[str, Tensor]:
        """The options `validation_latents` and, with classes, `validation_class_labels` of `fit`."""
        options = {"validation_latents": embed_dataset(model, dataset, progress=progress, sample=True, seed=1)}
        if num_classes is not None:
            options["validation_class_labels"] = read_class_labels(dataset, num_classes)
        return options

    def fit_standardization(self, latents: Tensor):
        """Compute the constants that standardize latents (num, density_dim). By default there are none."""

    def estimate_density(
        self, latents: Tensor, progress: bool = True, validation_latents: Tensor | None = None, **training: Any
    ):
        if len(latents) < 2:
            raise ValueError(f"{type(self).__name__} needs 2 or more latents to be trained on, got {len(latents)}")
        self.reallocate(latents.device)
        self.fit_standardization(latents)
        validation = None
        if validation_latents is not None:
            validation_latents = check_latents(validation_latents)
            latent_shape = tuple(require_value(self.config.latent_shape, "latent_shape"))
            check_latent_shape("validation_latents", validation_latents, latent_shape)
            validation = LatentDataset(latents=select_varying(validation_latents.flatten(1), self.config.constants))
        self.train_on(LatentDataset(latents=latents), validation, progress=progress, **training)

    def train_on(
        self,
        dataset: LatentDataset,
        validation_dataset: LatentDataset | None = None,
        resume_from_checkpoint: str | bool | None = None,
        **training: Any,
    ):
        """Train the weights, and restore the global random state. `training` is as for `fit`."""
        state, device = get_rng_state(), self.device
        try:
            with TemporaryDirectory() as folder, torch.enable_grad():
                trainer = self._build_trainer(dataset, validation_dataset, folder, **training)
                trainer.train(resume_from_checkpoint=resume_from_checkpoint)
                self.log_history = trainer.state.log_history
        finally:
            set_rng_state(state)
        cast(nn.Module, self).to(device)

    def _build_trainer(
        self,
        dataset: LatentDataset,
        validation_dataset: LatentDataset | None,
        folder: str,
        args: "GAETrainingArguments | None" = None,
        callbacks: "list[TrainerCallback] | None" = None,
        progress: bool = True,
        **arguments: Any,
    ) -> "GAETrainer":
        from ..training.arguments import GAETrainingArguments
        from ..training.trainer import GAETrainer

        own = {field.name for field in fields(GAETrainingArguments)}
        for name in arguments:
            if name not in own:
                near = get_close_matches(name, own, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"{type(self).__name__}.fit has no option '{name}'{hint}")
        if "output_dir" in arguments:
            place = arguments["output_dir"]
            raise ValueError(
                "fit trains in a temporary folder, so it has no option 'output_dir': to keep checkpoints, pass "
                f"args=GAETrainingArguments('{place}', ...)"
            )
        if args is None:
            defaults = {
                **self.default_arguments,
                "report_to": "none",
                "disable_tqdm": not progress,
                "seed": self.config.seed,
                "channels_last": False,
            }
            if validation_dataset is None:
                defaults |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
            args = GAETrainingArguments(folder, **{**defaults, **arguments})
        elif arguments:
            names = ", ".join(sorted(arguments))
            raise ValueError(f"got args and also {names}: set {names} in args, or leave args out")
        return GAETrainer(
            self,
            args,
            data_collator=_return_batch,
            train_dataset=dataset,
            eval_dataset=validation_dataset,
            callbacks=callbacks,
        )

    # Training

    def check_density_dim(self, latents: Tensor):
        """Raise ValueError unless latents have the shape (num, density_dim): others would be broadcast."""
        check_latent_shape("latents", latents, (self.config.density_dim,))

    def build_output(self, terms: dict[str, Tensor], return_loss: bool = True) -> GAEOutput:
        """An output whose loss is the sum of (batch,) terms, in nats, averaged over the batch."""
        if not return_loss:
            return GAEOutput()
        means = {name: term.mean() for name, term in terms.items()}
        first, *others = means.values()
        return GAEOutput(loss=sum(others, start=first), losses={name: mean.detach() for name, mean in means.items()})

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Name to parameters that share optimizer settings."""
        return {"sampler": [p for p in self.parameters() if p.requires_grad]}

    def floating_point_ops(self, inputs: Any, exclude_embeddings: bool = True) -> int:
        """0: the estimate of transformers counts tokens."""
        return 0
