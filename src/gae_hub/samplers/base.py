"""The contract of every sampler: a density over latents that is fitted after training and saved as a Hub object."""

__all__ = [
    "SAMPLERS",
    "GAESampler",
    "GAESamplerConfig",
    "check_latent_shape",
    "check_latents",
    "check_unit_norm",
    "fitting_bar",
    "register_sampler",
    "require_value",
]

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import fields as dataclass_fields
from itertools import chain
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
import torch
from huggingface_hub import upload_folder
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import AutoConfig, AutoModel

from ..core.argument_checks import check_count, check_generator, describe
from ..core.configuration import StrictConfig, may_register
from ..core.distributed import process_index
from ..core.hub_errors import explained
from ..core.hub_files import open_repository
from ..core.hub_model import HubModel
from ..data.class_labels import read_class_labels
from ..data.embeddings import embed_dataset
from ..models.base import GAEPreTrainedModel, inference
from ..modules.backbones import init_weights
from ..modules.precision import to_float64
from ..modules.sphere import normalize
from .constant_dimensions import find_constants, has_constants, insert_constants, select_varying
from .latent_kinds import INCOMPATIBILITIES, LatentKind, get_latent_kind

SAMPLERS: dict[str, type["GAESampler"]] = {}
"""Short name ("gaussian_mixture") to sampler class, filled by `register_sampler`."""

T = TypeVar("T")


@strict
class GAESamplerConfig(StrictConfig):
    """Fields of every sampler.

    Args:
        latent_dim: number of values in one example's latents. `fit` sets it.
        latent_shape: their shape: (latent_dim,), or (channels, *sizes) for maps. `fit` sets it.
        unit_norm: whether samples are scaled to length 1, for models whose latents lie on a sphere. `fit_to` sets it.
        constants: the value of each dimension that is constant, and None for the others, (latent_dim,); or None if all
            vary. `fit` sets it.
    """

    latent_dim: int | None = None
    latent_shape: list[int] | tuple[int, ...] | None = None
    unit_norm: bool = False
    constants: list[float | None] | tuple[float | None, ...] | None = None

    set_by_fit: ClassVar[tuple[str, ...]] = ("latent_dim", "latent_shape", "unit_norm", "constants")
    """Fields that `fit` or `fit_to` set, so that they are no flags of `gae-hub fit-sampler`."""

    def validate_latents(self):
        if self.latent_dim is not None:
            self.require_positive("latent_dim")
        if self.latent_shape is not None and (not self.latent_shape or prod(self.latent_shape) != self.latent_dim):
            raise ValueError(f"latent_shape must have latent_dim = {self.latent_dim} values, got {self.latent_shape}")
        if self.constants is not None and (len(self.constants) != self.latent_dim or None not in self.constants):
            raise ValueError(
                f"constants must have latent_dim = {self.latent_dim} entries, with None for one or more dimensions, "
                f"got {self.constants}"
            )

    @property
    def density_dim(self) -> int:
        """Number of dimensions that vary: the density has these only.

        Raises:
            ValueError: if the sampler is not fitted.
        """
        latent_dim = require_value(self.latent_dim, "latent_dim")
        return latent_dim if self.constants is None else self.constants.count(None)

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` or `fit_to` has set the size of the latents."""
        return self.latent_dim is not None


class GAESampler(HubModel):
    """Base of every sampler. It holds no autoencoder: its state is buffers and weights, saved as safetensors.

    A subclass defines `allocate`, which registers the state at the sizes in the config; `estimate_density`, which
    calls `reallocate` and fills the state; `draw_latents`; and, if its density is known, `compute_log_density`, and
    `compute_log_density_of_directions` for latents on a sphere. With `omits_constants`, these methods see latents
    without their constant dimensions, (num, density_dim).

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.

    Raises:
        ValueError: if both a config and fields are given, or the config belongs to another sampler.
    """

    config: GAESamplerConfig
    config_class: type[GAESamplerConfig] = GAESamplerConfig
    base_model_prefix = "sampler"
    main_input_name = "latents"
    model_tags = ["gae-hub", "sampler"]
    latent_kinds: tuple[LatentKind, ...] = ("vectors", "sphere", "codes")  # kinds of latents that it can model
    omits_constants = False  # whether constant dimensions are kept from the density, which they would make unbounded

    def __init__(self, config: GAESamplerConfig | None = None, **fields: Any):
        if config is None:
            config = self.config_class(**fields)
        elif fields:
            for name in fields.keys() - {field.name for field in dataclass_fields(config)}:
                raise TypeError(f"{type(self).__name__} got an unexpected keyword argument '{name}'")
            names = ", ".join(sorted(fields))
            raise ValueError(f"got a config and also {names}: set {names} in the config, or leave the config out")
        elif getattr(config, "model_type", None) != self.config_class.model_type:
            raise ValueError(f"{type(self).__name__} needs a {self.config_class.__name__}, got {describe(config)}")
        super().__init__(config)
        if self.config.is_fitted:
            self.allocate(self.config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if module is not self:
            init_weights(self, module)

    # transformers reads device and dtype from the parameters only, but a sampler may have none

    @property
    def device(self) -> torch.device:
        return next((t.device for t in chain(self.parameters(), self.buffers())), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        tensors = chain(self.parameters(), self.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())

    @property
    def latent_dtype(self) -> torch.dtype:
        """The dtype of its latents and densities: `dtype`, but at least float32."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the density is conditioned on, or None."""
        return getattr(self.config, "num_classes", None)

    # For subclasses

    def allocate(self, config: GAESamplerConfig):
        """Register buffers and modules at the sizes in the config."""
        raise NotImplementedError(f"{type(self).__name__} must define allocate")

    def reallocate(self, device: torch.device, dtype: torch.dtype | None = None):
        """Replace the state by a new one at the sizes in the config, on a device and in a dtype."""
        self.allocate(self.config)
        cast(nn.Module, self).to(device=device, dtype=dtype)  # transformers hides the signature of `to`

    def estimate_density(self, latents: Tensor, progress: bool = True, **training: Any):
        """Allocate the state and fill it from latents (num, latent_dim), with a progress bar if `progress` is set."""
        raise NotImplementedError(f"{type(self).__name__} must define estimate_density")

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        """(num_samples, latent_dim) samples."""
        raise NotImplementedError(f"{type(self).__name__} must define draw_latents")

    def compute_log_density(self, latents: Tensor) -> Tensor:
        """(num,) log density of latents (num, latent_dim), in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no known density, so log_prob is not defined for it")

    def compute_log_density_of_directions(self, latents: Tensor) -> Tensor:
        """(num,) log density of samples that are scaled to length 1, per area of the unit sphere.

        This is the log of the integral of p(r u) r^(d - 1) over r > 0, in nats, at latents u of length 1.
        """
        raise NotImplementedError(
            f"log_prob of {type(self).__name__} is not defined with unit_norm: the density of its samples on the "
            "sphere is an integral over their lengths without a closed form; GaussianMixtureSampler, "
            "KernelDensitySampler and FlowMatchingSampler have one"
        )

    @contextmanager
    def _restore_on_error(self) -> Iterator[None]:
        """Restore config and state if the block raises, so that no half-fitted sampler remains.

        Every fit allocates new state, so it is enough to keep references to the old one.
        """
        namespaces = vars(self), vars(self.config)
        saved = [
            {key: copy(value) if isinstance(value, (dict, set)) else value for key, value in namespace.items()}
            for namespace in namespaces
        ]
        try:
            yield
        except BaseException:  # also KeyboardInterrupt
            for namespace, before in zip(namespaces, saved, strict=True):
                namespace.clear()
                namespace.update(before)
            raise

    # Fitting

    @torch.no_grad()
    def fit(self, latents: Tensor, *, progress: bool = True, **training: Any) -> Self:
        """Fit the density. If this fails or is interrupted, the sampler stays as it was.

        Args:
            latents: (num, *latent_shape), for example from [`embed_dataset`] with `sample=True`. Maps are modelled as
                vectors. Where a dimension is constant, samples have the same value, and only the other dimensions are
                modelled.
            progress: whether to show a progress bar.
            **training: `class_labels`, (num,) integers, of the samplers with `num_classes`; and options of the
                samplers that are trained, see [`LearnedSampler`].

        Returns:
            The sampler itself.

        Raises:
            ValueError: if latents are not floats, are empty, have no batch axis, are all equal, or hold nan or
                infinite values; or for an option that this sampler does not have.
        """
        latents = check_latents(latents)
        self._check_options(self.estimate_density, training, "fit")
        with self._restore_on_error():
            self.config.latent_shape = tuple(latents.shape[1:])
            self.config.latent_dim = prod(latents.shape[1:])
            points = latents.flatten(1)
            has_density = self.omits_constants and not self.config.unit_norm  # scaling to length 1 changes constants
            self.config.constants = find_constants(points) if has_density else None
            self.estimate_density(select_varying(points, self.config.constants), progress=progress, **training)
        return self.eval()

    def fit_to(
        self,
        model: GAEPreTrainedModel,
        dataset: Any = None,
        validation_dataset: Any = None,
        *,
        progress: bool = True,
        **training: Any,
    ) -> Self:
        """Fit the density to samples of a model's posteriors of a data set, one of each example.

        Latents that are drawn from it are like those that the decoder was trained on. The means of the posteriors,
        which spread less, can be fitted with `fit(embed_dataset(model, dataset))`.

        Args:
            model: a model whose latents this sampler can model.
            dataset: returned by [`load_images`], or any object that it accepts.
            validation_dataset: the same. Samplers that are trained select their best weights on it; the others do not
                use it.
            progress: whether to show progress bars.
            **training: as for `fit`.

        Returns:
            The sampler itself.

        Raises:
            ValueError: if this sampler cannot model the model's latents, or needs a data set and there is none, or
                labels and the data set has none.
        """
        self.check_model(model)
        latents = embed_dataset(model, self._require_dataset(dataset), progress=progress, sample=True)
        if self.num_classes is not None:
            training = {"class_labels": read_class_labels(dataset, self.num_classes), **training}
        with self._restore_on_error():
            self.config.unit_norm = get_latent_kind(model) == "sphere"
            return self.fit(latents, progress=progress, **training)

    def _check_options(self, method: Callable[..., Any], options: Mapping[str, Any], name: str):
        """Raise ValueError for options that are not parameters of a method.

        Args:
            method: receives the options.
            options: by name.
            name: the public method that the options were passed to, for the message.
        """
        parameters = inspect.signature(method).parameters
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return
        for option in options:
            if option not in parameters:
                sampler = type(self).__name__
                is_field = option in self.config_class.own_fields()
                hint = f": it is a field of the config, {sampler}({option}=...)" if is_field else ""
                raise ValueError(f"{sampler}.{name} has no option '{option}'{hint}")

    def _require_dataset(self, dataset: Any) -> Any:
        if dataset is None:
            raise ValueError(f"{type(self).__name__}.fit_to needs a data set in addition to the model, got None")
        return dataset

    @classmethod
    def explain_incompatibility(cls, model: GAEPreTrainedModel) -> str | None:
        """Why this sampler cannot model a model's latents, or None if it can."""
        kind = get_latent_kind(model)
        return None if kind in cls.latent_kinds else INCOMPATIBILITIES[kind]

    @classmethod
    def check_model(cls, model: GAEPreTrainedModel):
        """Check that this sampler can model a model's latents.

        Raises:
            ValueError: if it cannot, with the reason and the samplers that can.
        """
        if not hasattr(model, "latent_shape"):
            raise ValueError(
                f"{cls.__name__}.fit_to needs a model and then a data set, got {describe(model)} as the model; "
                "AutoGAE.from_pretrained loads a model"
            )
        reason = cls.explain_incompatibility(model)
        if reason is not None:
            able = [name for name, other in sorted(SAMPLERS.items()) if other.explain_incompatibility(model) is None]
            raise ValueError(
                f"{cls.__name__} cannot model the latents of {type(model).__name__}: {reason}; use one of "
                f"{', '.join(able)}"
            )

    # Sampling

    @inference
    def sample(self, num_samples: int = 1, generator: torch.Generator | None = None, **conditions: Any) -> Tensor:
        """(num_samples, *latent_shape) samples.

        Args:
            num_samples: number of samples.
            generator: source of random numbers. With a CPU generator, samples are the same on every device.
            **conditions: what to sample given, for samplers that support it: `class_labels`, (num_samples,) classes or
                one class for all. Without them, classes have their shares in the training set.

        Raises:
            ValueError: if the sampler is not fitted, num_samples is not an integer of at least 1, or the sampler does
                not have such a condition.
        """
        self._require_fitted()
        check_count("num_samples", num_samples)
        check_generator(generator)
        self._check_options(self.draw_latents, conditions, "sample")
        latents = insert_constants(self.draw_latents(num_samples, generator, **conditions), self.config.constants)
        if self.config.unit_norm:
            latents = normalize(latents)
        return latents.unflatten(1, self.config.latent_shape or latents.shape[1:])

    @inference
    def log_prob(self, latents: Tensor, **conditions: Any) -> Tensor:
        """(num,) log density of samples at latents (num, *latent_shape), in nats, if the sampler knows its density.

        With `unit_norm`, this is the density per area of the unit sphere. If dimensions were constant in `fit`, it is
        the density of the others, and -inf at latents that have other values in the constant dimensions.

        Args:
            latents: (num, *latent_shape), flattened or not.
            **conditions: what the density is given, for samplers that support it: `class_labels`, (num,) classes or
                one class for all. Without them, this is the density of all classes together.

        Raises:
            NotImplementedError: if the density is not known.
            ValueError: if the sampler is not fitted; if latents have another shape than those that it was fitted to,
                or hold nan or infinite values; with `unit_norm`, if they do not have length 1; or for a condition that
                the sampler does not have.
        """
        points, constants = self._flatten_latents(latents), self.config.constants
        compute = self.compute_log_density_of_directions if self.config.unit_norm else self.compute_log_density
        self._check_options(compute, conditions, "log_prob")
        if self.config.unit_norm:
            check_unit_norm(points)
            return compute(points.to(self.latent_dtype), **conditions)
        log_density = compute(select_varying(points, constants).to(self.latent_dtype), **conditions)
        return log_density.masked_fill(~has_constants(points, constants), -torch.inf)

    def _flatten_latents(self, latents: Any) -> Tensor:
        """Latents (num, *latent_shape), flattened or not, as (num, latent_dim).

        Raises:
            ValueError: if the sampler is not fitted, or latents have another shape than those that it was fitted to.
        """
        self._require_fitted()
        latents = check_latents(latents)
        if tuple(latents.shape[1:]) != (self.config.latent_dim,):
            check_latent_shape("latents", latents, tuple(self.config.latent_shape or ()))
        return latents.flatten(1)

    def _require_fitted(self):
        if not self.config.is_fitted:
            raise ValueError(f"this {type(self).__name__} is not fitted: call fit or fit_to first")

    # Saving and publishing

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any):
        """Write config.json, model.safetensors and a card.

        Raises:
            ValueError: if the sampler is not fitted.
        """
        self._require_fitted()
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
        license: str | None = None,
    ) -> str:
        """Publish the sampler in one commit.

        Args:
            repo_id: `user/name`.
            subfolder: folder of the repository, so that a model and several samplers can share it;
                [`GenerationPipeline`] loads "sampler" by default. Without it, the repository holds this sampler only.
            private, token: as in `huggingface_hub.create_repo`.
            revision: branch, created if it does not exist; main by default.
            commit_message: describes the upload by default.
            license: license for the card, as in `model.push_to_hub`. A subfolder has no card.

        Returns:
            The commit's URL.

        Raises:
            HubError: if the network or the Hub fails, or the token has no write access.
            ValueError: if the sampler is not fitted.
        """
        where = {"private": private, "token": token, "revision": revision}
        if subfolder is None:
            return super().push_to_hub(repo_id, commit_message=commit_message, license=license, **where)
        with explained("publish to", repo_id, token), TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / subfolder)
            (Path(folder) / subfolder / "README.md").unlink(missing_ok=True)  # the repository keeps its own card
            return upload_folder(
                repo_id=open_repository(repo_id, private, token, revision),
                folder_path=folder,
                commit_message=commit_message or f"Upload {type(self).__name__} to {subfolder}",
                token=token,
                revision=revision,
            ).commit_url


def check_latents(latents: Tensor) -> Tensor:
    """Return latents (num, *latent_shape) as a tensor.

    Raises:
        ValueError: if they are not floats, are empty, have no batch axis, or hold nan or infinite values.
    """
    if not isinstance(latents, (Tensor, np.ndarray, list, tuple)):
        raise ValueError(
            f"latents must be a tensor (num, *latent_shape), got {describe(latents)}: pass embed_dataset(model, "
            "dataset), or use fit_to(model, dataset)"
        )
    try:
        latents = torch.as_tensor(latents)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"latents must be a tensor (num, *latent_shape) of numbers: {error}") from error
    if latents.dim() < 2 or not latents.numel():
        raise ValueError(f"latents must be (num, *latent_shape), got shape {tuple(latents.shape)}")
    if not latents.is_floating_point():
        raise ValueError(f"latents must be floats, got dtype {latents.dtype}; PixelCNNSampler is fitted to codes")
    if not latents.isfinite().all():
        raise ValueError("latents hold nan or infinite values; check whether the training of their model diverged")
    return latents


def check_latent_shape(name: str, latents: Tensor, latent_shape: tuple[int, ...]):
    """Raise ValueError unless latents (num, *latent_shape) have this shape.

    Args:
        name: the argument's name, for the message.
        latents: (num, ...).
        latent_shape: shape of the latents that the sampler was fitted to.
    """
    if tuple(latents.shape[1:]) != latent_shape:
        raise ValueError(
            f"{name} has shape {tuple(latents.shape)}, but the sampler is fitted to latents of shape {latent_shape}"
        )


def check_unit_norm(latents: Tensor):
    """Raise ValueError unless latents (num, latent_dim) have length 1, up to rounding."""
    lengths = torch.linalg.vector_norm(to_float64(latents), dim=1)
    if (lengths - 1).abs().max() > max(1e-3, torch.finfo(latents.dtype).eps):
        raise ValueError(
            "samples of this sampler have length 1, so it needs latents of length 1, got lengths from "
            f"{lengths.min():.4g} to {lengths.max():.4g}: divide latents by their lengths"
        )


def fitting_bar(progress: bool, what: str, total: int | None = None, unit: str = "it") -> tqdm:
    """A progress bar of a fit, on the first process only.

    Args:
        progress: whether to show it.
        what: what is fitted, for its label.
        total: number of steps, if it is known.
        unit: name of a step.
    """
    is_shown = progress and process_index() == 0
    return tqdm(desc=f"fitting {what}", total=total, unit=unit, disable=not is_shown, leave=False)


def require_value(value: T | None, name: str) -> T:
    """Return a config field that `fit` or `fit_to` sets.

    Raises:
        ValueError: if it is None.
    """
    if value is None:
        raise ValueError(f"{name} is None, but a fitted sampler needs it: call fit or fit_to, or set it in the config")
    return value


def register_sampler(config_class: type[GAESamplerConfig], sampler_class: type[GAESampler]):
    """Register a sampler with gae_hub, `AutoConfig` and `AutoModel`. A registered model_type stays as it is.

    Raises:
        ValueError: if the model_type does not have the form `gae_<name>_sampler`.
    """
    model_type = config_class.model_type
    if not (model_type.startswith("gae_") and model_type.endswith("_sampler")):
        raise ValueError(
            f"{config_class.__name__}.model_type must have the form 'gae_<name>_sampler', got '{model_type}'"
        )
    short = model_type.removeprefix("gae_").removesuffix("_sampler")
    if SAMPLERS.setdefault(short, sampler_class) is sampler_class and may_register(model_type):
        AutoConfig.register(model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, sampler_class, exist_ok=True)
