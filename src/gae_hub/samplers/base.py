"""The contract of every sampler: a density over latents, fitted after training, that is a Hub object of its own."""

__all__ = ["SAMPLERS", "GAESampler", "GAESamplerConfig", "register_sampler"]

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import upload_folder
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers import AutoConfig, AutoModel

from ..core.configuration import StrictConfig, may_register
from ..core.hub_errors import explained
from ..core.hub_files import open_repository
from ..core.hub_model import HubModel
from ..data.embeddings import embed_dataset
from ..models.base import inference
from ..models.quantized import QuantizedModel
from ..models.svae import SVAEModel
from ..modules.backbones import init_weights

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
        self.check_model(model)
        latents = embed_dataset(model, self.require_data(dataset))
        training = {**self.embed_validation(model, validation_dataset), **training}
        with self.all_or_nothing():
            self.config.unit_norm = kind_of(model) == "sphere"
            return self.fit(latents, **training)

    def embed_validation(self, model, dataset) -> dict[str, Tensor]:
        """Arguments of `fit` from a validation set: none for a sampler that is not trained."""
        return {}

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


def register_sampler(config_class: type[GAESamplerConfig], sampler_class: type[GAESampler]):
    """Make a sampler known to gae_hub, `AutoConfig` and `AutoModel`; its model_type is `gae_<name>_sampler`."""
    model_type = config_class.model_type
    if not (model_type.startswith("gae_") and model_type.endswith("_sampler")):
        raise ValueError(f"{config_class.__name__}.model_type must read 'gae_<name>_sampler', got '{model_type}'")
    short = model_type.removeprefix("gae_").removesuffix("_sampler")
    if SAMPLERS.setdefault(short, sampler_class) is sampler_class and may_register(model_type):
        AutoConfig.register(model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, sampler_class, exist_ok=True)
