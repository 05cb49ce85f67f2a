"""The contract of every sampler: a density over latents, fitted after training, that is a Hub object of its own."""

__all__ = ["SAMPLERS", "GAESampler", "GAESamplerConfig", "LatentDataset", "LearnedSampler", "register_sampler"]

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import upload_folder
from huggingface_hub.dataclasses import strict
from torch import Tensor
from torch.utils.data import Dataset
from transformers import AutoConfig, AutoModel
from transformers import initialization as init

from ..models.backbones import init_weights
from ..models.base import GAEOutput, inference
from ..models.configuration import StrictConfig, may_register
from ..models.hub_errors import explained
from ..models.hub_model import HubModel, open_repository
from ..models.quantizers import QuantizedModel
from ..models.svae import SVAEModel

SAMPLERS: dict[str, type["GAESampler"]] = {}
"""Short name ("gaussian_mixture") to sampler class, filled by `register_sampler`."""


@strict
class GAESamplerConfig(StrictConfig):
    """Fields that all samplers have.

    Args:
        latent_dim: how many numbers one example's latents hold; `fit` fills it in.
        latent_shape: their shape, (latent_dim,) or that of a map; `fit` fills it in.
        unit_norm: whether draws are scaled to length 1, where the model's latents lie on a sphere; `fit_to` knows.
    """

    latent_dim: int | None = None
    latent_shape: list[int] | tuple[int, ...] | None = None
    unit_norm: bool = False

    @property
    def is_fitted(self) -> bool:
        return self.latent_dim is not None


class GAESampler(HubModel):
    """Base of every sampler. It holds no autoencoder: its fitted state is buffers and weights, saved as safetensors.

    A subclass gives `allocate(config)`, which registers its state at the size in the config, `estimate(latents)`,
    which fills it, and `draw(num_samples, generator)`; and `log_prob(latents)` if it knows its density.

    Args:
        config: the config; or leave it out and give its fields as keywords.
    """

    config_class = GAESamplerConfig
    base_model_prefix = "sampler"
    main_input_name = "latents"
    model_tags = ["gae-hub", "sampler"]
    kinds: tuple[str, ...] = ("vectors", "sphere", "codes")  # of latents that it can model: see `kind_of`

    def __init__(self, config: GAESamplerConfig | None = None, **fields):
        super().__init__(config or self.config_class(**fields))
        if self.config.is_fitted:
            self.allocate(self.config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if module is not self:
            init_weights(self, module)

    # a model of buffers only has no parameter to read these from
    @property
    def device(self) -> torch.device:
        return next((t.device for t in chain(self.parameters(), self.buffers())), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        tensors = chain(self.parameters(), self.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())

    def allocate(self, config: GAESamplerConfig):
        """Register the fitted state, at the sizes in the config."""
        raise NotImplementedError(f"{type(self).__name__} must define allocate")

    def estimate(self, latents: Tensor, **training):
        """Fill the state from latents (num, latent_dim)."""
        raise NotImplementedError(f"{type(self).__name__} must define estimate")

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """(num_samples, latent_dim) latents."""
        raise NotImplementedError(f"{type(self).__name__} must define draw")

    @torch.no_grad()
    def fit(self, latents: Tensor, **training) -> "GAESampler":
        """Fit the density and return the sampler.

        Args:
            latents: (num, *latent_shape), from [`embed_dataset`]; maps are seen as vectors.
            **training: for the samplers that are trained, see [`LearnedSampler`]; the others take none.

        Raises:
            ValueError: if latents are not a batch, or hold nan or infinite values.
        """
        latents = check_latents(latents)
        with self.all_or_nothing():
            self.config.latent_shape, latents = tuple(latents.shape[1:]), latents.flatten(1)
            self.config.latent_dim = latents.shape[1]
            self.prepare(latents)
            self.begin(latents.device)
            self.estimate(latents, **training)
        return self.eval()

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What fails inside, or is interrupted, leaves config and state as they were: unfitted, or fitted before.

        Every fit allocates its state anew, so the state before it is kept by its references, and nothing is copied.
        """
        owners = vars(self), vars(self.config)
        before = [{key: copy(v) if isinstance(v, (dict, set)) else v for key, v in own.items()} for own in owners]
        try:
            yield
        except BaseException:  # Ctrl-C too: what is half fitted must not pass for fitted
            for now, then in zip(owners, before, strict=True):
                now.clear()
                now.update(then)
            raise

    def begin(self, device: torch.device):
        """Make the state, before it is estimated."""
        self.allocate(self.config)
        self.to(device)

    def prepare(self, latents: Tensor):
        """Write into the config what sizes of the state depend on, beside those of the latents (num, latent_dim)."""

    def fit_to(self, model, dataset=None, validation_dataset=None, **training) -> "GAESampler":
        """Fit to the embeddings that a model gives a data set, and return the sampler.

        Args:
            model: an autoencoder whose latents this sampler can model.
            dataset, validation_dataset: what [`load_images`] gives; the samplers that are trained choose their best
                weights on the second one.
            **training: as for `fit`.

        Raises:
            ValueError: if this sampler cannot model the latents of that model.
        """
        from ..data import embed_dataset

        self.check_model(model)
        latents = embed_dataset(model, self.require_data(dataset))
        if validation_dataset is not None and isinstance(self, LearnedSampler):
            training = {"validation_latents": embed_dataset(model, validation_dataset), **training}
        with self.all_or_nothing():
            self.config.unit_norm = kind_of(model) == "sphere"
            return self.fit(latents, **training)

    def require_data(self, dataset):
        if dataset is None:
            raise ValueError(f"{type(self).__name__} is fitted to embeddings: give a data set beside the model")
        return dataset

    @classmethod
    def why_not(cls, model) -> str | None:
        """Why this sampler cannot model the latents of a model; None if it can."""
        kind = kind_of(model)
        return None if kind in cls.kinds else _WHY_NOT[kind]

    @classmethod
    def check_model(cls, model):
        """Raise ValueError, with the samplers that can, if this one cannot model the latents of a model."""
        reason = cls.why_not(model)
        if reason is not None:
            able = [name for name, sampler in sorted(SAMPLERS.items()) if sampler.why_not(model) is None]
            raise ValueError(
                f"{cls.__name__} cannot model the latents of {type(model).__name__}: {reason}; {', '.join(able)} can"
            )

    @inference
    def sample(self, num_samples: int = 1, generator: torch.Generator | None = None, **conditions) -> Tensor:
        """(num_samples, *latent_shape) latents.

        Raises:
            ValueError: if the sampler was not fitted, or num_samples is below 1.
        """
        self.require_fitted()
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        latents = self.draw(num_samples, generator, **conditions)
        if self.config.unit_norm:
            latents = torch.nn.functional.normalize(latents, dim=1)
        return latents.unflatten(1, self.config.latent_shape or (self.config.latent_dim,))

    def require_fitted(self):
        if not self.config.is_fitted:
            raise ValueError(f"this {type(self).__name__} was not fitted: call fit(latents) first")

    def log_prob(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, *latent_shape), in nats. Only for samplers that know it."""
        raise NotImplementedError(f"{type(self).__name__} knows no density, so log_prob is not defined for it")

    def save_pretrained(self, save_directory, **kwargs):
        """Write config.json, model.safetensors and a card. Only a fitted sampler can be saved."""
        if not self.config.is_fitted:
            raise ValueError(
                f"this {type(self).__name__} was not fitted, so there is nothing to save: call fit(latents)"
            )
        super().save_pretrained(save_directory, **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        subfolder: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Publish in one commit, and return its URL.

        Args:
            repo_id: `user/name`.
            subfolder: such as "sampler", the one that [`GenerationPipeline`] loads by default: a place beside a model
                and other samplers. Without one, the sampler is the repository.
            private, token: as for `huggingface_hub.create_repo`.
            revision: a branch, which is made if it is new; main by default.
            commit_message: says what is uploaded by default.

        Raises:
            HubError: if network or Hub fail, or the token may not write there.
            ValueError: if the sampler was not fitted.
        """
        where = {"private": private, "token": token, "revision": revision}
        if subfolder is None:
            return super().push_to_hub(repo_id, commit_message=commit_message, **where)
        with explained("publish to", repo_id, token), TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / subfolder)
            (Path(folder) / subfolder / "README.md").unlink(missing_ok=True)  # the repository has one card
            return upload_folder(
                repo_id=open_repository(repo_id, **where),
                folder_path=folder,
                commit_message=commit_message or f"Upload {type(self).__name__} to {subfolder}",
                token=token,
                revision=revision,
            ).commit_url


def check_latents(latents: Tensor) -> Tensor:
    """Raise ValueError unless these are a batch of finite numbers."""
    latents = torch.as_tensor(latents)
    if latents.dim() < 2 or not latents.numel():
        raise ValueError(f"latents must be (num, *latent_shape), got shape {tuple(latents.shape)}")
    if not latents.isfinite().all():
        raise ValueError("latents hold nan or infinite values: the model they come from has diverged")
    return latents


_WHY_NOT = {
    "vectors": "they are vectors of real numbers, and not codes",
    "sphere": "they lie on a sphere, where a density over the whole space has no bound",
    "codes": "they are vectors of a codebook, where a density over the whole space has no bound",
}


def kind_of(model) -> str:
    """What latents are: "codes" of a quantizer, points of a unit "sphere", or "vectors" that fill their space."""
    if isinstance(model, QuantizedModel):
        return "codes"
    return "sphere" if isinstance(model, SVAEModel) else "vectors"


# Samplers that are trained


class LatentDataset(Dataset):
    """Named tensors with as many rows each, which come in whole batches, as the trainer takes them."""

    def __init__(self, **tensors: Tensor):
        self.tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        indices = torch.as_tensor(indices)
        return {name: tensor[indices] for name, tensor in self.tensors.items()}


def whole_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The collator of a [`LatentDataset`]."""
    return batch


class LearnedSampler(GAESampler):
    """Base of the samplers that [`GAETrainer`] trains, with all that it does: resuming, early stopping, the log.

    A subclass gives `forward(latents, return_loss=True) -> GAEOutput`, with a loss in nats per example, and
    `standardize(latents)`, which takes the constants that it needs from data. Its config has a `seed`. `fit` takes,
    beside the latents:

    Args:
        validation_latents: (num, *latent_shape), to choose the best weights by; without them, the last are kept.
        args: [`GAETrainingArguments`]; those of `default_arguments` in a folder that is deleted, by default.
        callbacks: of transformers, such as `EarlyStoppingCallback(5)`.
        resume_from_checkpoint: as for `GAETrainer.train`.
        progress: show a progress bar, where no `args` say so.
        **arguments: fields of [`GAETrainingArguments`] in place of the defaults, such as `num_train_epochs=20`.
    """

    kinds = ("vectors",)
    accepts_loss_kwargs = False
    best_by = "loss"
    min_batch_size = 1
    facts = None
    default_arguments = {"num_train_epochs": 100, "learning_rate": 1e-3, "lr_scheduler_type": "cosine"}

    def __init__(self, config: GAESamplerConfig | None = None, **fields):
        super().__init__(config, **fields)
        self.register_buffer("progress", torch.ones((), dtype=torch.float32), persistent=False)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        if module is self:
            if "progress" in self._buffers:
                init.ones_(self.progress)
        else:
            super()._init_weights(module)

    def begin(self, device: torch.device):
        with torch.random.fork_rng([]):
            torch.manual_seed(self.config.seed)
            super().begin(device)

    def standardize(self, latents: Tensor):
        """Take constants from latents (num, latent_dim)."""

    def examples(self, latents: Tensor, **columns: Tensor) -> LatentDataset:
        """What the trainer is given of latents (num, latent_dim)."""
        return LatentDataset(latents=latents, **columns)

    def estimate(
        self, latents, validation_latents=None, args=None, callbacks=None, resume_from_checkpoint=None, **arguments
    ):
        from ..checkpointing import rng_state, set_rng_state

        state, device = rng_state(), self.device
        self.standardize(latents)
        if isinstance(validation_latents, Tensor):
            validation_latents = check_latents(validation_latents).flatten(1)
        try:
            with TemporaryDirectory() as folder, torch.enable_grad():
                trainer = self.trainer(latents, validation_latents, args, callbacks, output_dir=folder, **arguments)
                trainer.train(resume_from_checkpoint=resume_from_checkpoint)
                self.log_history = trainer.state.log_history
        finally:
            set_rng_state(state)
        self.to(device)
        self.finish(latents)

    def finish(self, latents: Tensor):
        """What is done once the weights are there."""

    def trainer(self, latents, validation_latents=None, args=None, callbacks=None, progress=True, **arguments):
        """The [`GAETrainer`] of `fit`, for latents (num, latent_dim)."""
        from ..trainer import GAETrainer
        from ..training_args import GAETrainingArguments

        if args is None:
            defaults = {
                **self.default_arguments,
                "report_to": "none",
                "disable_tqdm": not progress,
                "seed": self.config.seed,
                "channels_last": False,
            }
            if validation_latents is None:  # nothing to choose the best weights by
                defaults |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
            args = GAETrainingArguments(**{**defaults, **arguments})
        elif set(arguments) - {"output_dir"}:
            raise ValueError(f"give {', '.join(sorted(set(arguments) - {'output_dir'}))} in args, or no args")
        return GAETrainer(
            self,
            args,
            data_collator=whole_batch,
            train_dataset=self.examples(latents),
            eval_dataset=None if validation_latents is None else self.examples(validation_latents),
            callbacks=callbacks,
        )

    def output(self, terms: dict[str, Tensor], return_loss: bool = True) -> GAEOutput:
        """The sum of per-example terms as loss, and the terms for the log."""
        if not return_loss:
            return GAEOutput()
        means = {name: term.mean() for name, term in terms.items()}
        return GAEOutput(loss=sum(means.values()), losses={name: mean.detach() for name, mean in means.items()})

    def parameter_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return {"sampler": [p for p in self.parameters() if p.requires_grad]}

    def floating_point_ops(self, inputs, exclude_embeddings: bool = True) -> int:
        """0: transformers' estimate is for transformers."""
        return 0


def register_sampler(config_class: type[GAESamplerConfig], sampler_class: type[GAESampler]):
    """Make a sampler known to gae_hub, `AutoConfig` and `AutoModel`; its model_type is `gae_<name>_sampler`."""
    model_type = config_class.model_type
    if not (model_type.startswith("gae_") and model_type.endswith("_sampler")):
        raise ValueError(f"{config_class.__name__}.model_type must read 'gae_<name>_sampler', got '{model_type}'")
    short = model_type.removeprefix("gae_").removesuffix("_sampler")
    if SAMPLERS.setdefault(short, sampler_class) is sampler_class and may_register(model_type):
        AutoConfig.register(model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, sampler_class, exist_ok=True)
