r"""A sampler per class: Discriminant Analysis by Gaussian Mixtures (Hastie & Tibshirani, 1996),
doi:10.1111/j.2517-6161.1996.tb02073.x.

.. math::
    p(z) = \sum_k p(y = k) \, p_k(z)

with the shares p(y = k) of the classes in the training set, and a density of each class, mixtures in the paper and any
sampler here.

Use it when: you want samples of chosen classes, also from an autoencoder that was trained without labels.

Relations:
    [`FlowMatchingSampler`] and [`PixelCNNSampler`] condition one network on the class instead, which shares what
    classes have in common. With a model that is given the class itself, latents depend less on it, and its prior may
    be enough.
"""

__all__ = ["PerClassSampler", "PerClassSamplerConfig"]

from typing import Any, Self, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from ..core.argument_checks import suggest
from ..core.class_labels import check_class_labels, choose_class_labels, refuse_class_labels
from ..models.base import GAEPreTrainedModel
from .base import SAMPLERS, GAESampler, GAESamplerConfig, register_sampler, require_value
from .latent_kinds import LatentKind
from .learned import LearnedSampler


@strict
class PerClassSamplerConfig(GAESamplerConfig):
    """Config of [`PerClassSampler`].

    Args:
        sampler_config: the sampler of each class: its short name, such as "maf"; a dict with `model_type` and the
            sampler's fields; or a config object.
        num_classes: number of classes.
        class_configs: the fitted config of each class. `fit` sets it.
    """

    model_type = "gae_per_class_sampler"

    sampler_config: str | dict | PreTrainedConfig = "gaussian_mixture"
    num_classes: int | None = None
    class_configs: list[dict] | tuple[dict, ...] | None = None

    set_by_fit = (*GAESamplerConfig.set_by_fit, "class_configs")

    def __post_init__(self, **kwargs):
        self.sampler_config = _find_config(self.sampler_config)
        super().__post_init__(**kwargs)

    def validate_classes(self):
        if self.num_classes is not None:
            self.require_positive("num_classes")


class PerClassSampler(GAESampler):
    """Fits a sampler to the latents of each class.

    Args:
        config: the config, or a sampler as that of each class.
        **fields: fields of the config, used if no config is given.

    Example:

    ```python
    sampler = PerClassSampler(MAFSampler(num_flows=5), num_classes=10).fit_to(model, train)
    model.generate(16, sampler=sampler, class_labels=7)
    ```
    """

    config: PerClassSamplerConfig
    samplers: nn.ModuleList  # one per class
    class_shares: Tensor  # (num_classes,) shares of the classes in the training set

    config_class = PerClassSamplerConfig
    _keep_in_fp32_modules_strict = ["class_shares"]
    latent_kinds: tuple[LatentKind, ...] = ("vectors", "sphere", "codes")  # `fit_to` asks the sampler of the classes

    def __init__(self, config: PerClassSamplerConfig | GAESampler | None = None, **fields: Any):
        if isinstance(config, GAESampler):
            config, fields = None, {"sampler_config": config.config, **fields}
        super().__init__(config, **fields)

    def allocate(self, config: PerClassSamplerConfig):
        self.samplers = nn.ModuleList(
            _build(fields) for fields in require_value(config.class_configs, "class_configs")
        )
        self.register_buffer("class_shares", torch.full((len(self.samplers),), 1 / len(self.samplers)))
        # transformers collects these names from direct submodules only
        parts: list[Any] = [type(self), *self.samplers]
        kept = {name for part in parts for name in part._keep_in_fp32_modules_strict or ()}
        self._keep_in_fp32_modules_strict = kept  # pyright: ignore[reportAttributeAccessIssue] (typed as a list)

    @property
    def dtype(self) -> torch.dtype:
        return cast(GAESampler, self.samplers[0]).dtype

    # Fitting

    def fit_to(
        self,
        model: GAEPreTrainedModel,
        dataset: Any = None,
        validation_dataset: Any = None,
        *,
        progress: bool = True,
        **training: Any,
    ) -> Self:
        """Fit each density to the samples of a model's posteriors of the examples of its class, as in [`GAESampler`].

        If the samplers are trained, the best weights are selected on `validation_dataset`.
        """
        template = _build(self.config.sampler_config)
        template.check_model(model)
        self._require_num_classes()
        if isinstance(template, LearnedSampler) and validation_dataset is not None:
            training = template.embed_validation(model, validation_dataset, self.num_classes, progress) | training
        return super().fit_to(model, dataset, progress=progress, **training)

    def estimate_density(
        self,
        latents: Tensor,
        progress: bool = True,
        class_labels: Any = None,
        validation_latents: Tensor | None = None,
        validation_class_labels: Any = None,
        **training: Any,
    ):
        """Fit one sampler per class. `training` is as for the samplers' `fit`."""
        num_classes = self._require_num_classes()
        labels = check_class_labels(class_labels, num_classes, len(latents), latents.device)
        counts = _count_classes(labels, num_classes, "latents")
        maps = latents.unflatten(1, require_value(self.config.latent_shape, "latent_shape"))
        validation: list[dict[str, Tensor]] = [{} for _ in range(num_classes)]
        if validation_latents is None:
            refuse_class_labels(validation_class_labels, "validation_latents", "validation_class_labels")
        else:
            others = check_class_labels(
                validation_class_labels,
                num_classes,
                len(validation_latents),
                validation_latents.device,
                name="validation_class_labels",
            )
            _count_classes(others, num_classes, "validation_latents")
            validation = [{"validation_latents": validation_latents[others == label]} for label in range(num_classes)]
        fitted = []
        for label in range(num_classes):
            sampler = _build(self.config.sampler_config)
            sampler.config.unit_norm = self.config.unit_norm
            fitted.append(sampler.fit(maps[labels == label], progress=progress, **validation[label], **training))
        self.config.class_configs = [sampler.config.to_dict() for sampler in fitted]
        self.samplers = nn.ModuleList(fitted)
        self.register_buffer("class_shares", counts / counts.sum())

    def _require_num_classes(self) -> int:
        if self.config.num_classes is None:
            raise ValueError("num_classes is None: pass PerClassSampler(num_classes=...), the number of classes")
        return self.config.num_classes

    # Sampling

    def draw_latents(self, num_samples: int, generator: torch.Generator | None, class_labels: Any = None) -> Tensor:
        shares = self.class_shares
        labels = cast(Tensor, choose_class_labels(class_labels, shares, num_samples, generator, self.device))
        drawn = torch.empty(num_samples, self.config.density_dim, device=self.device, dtype=self.latent_dtype)
        for label in labels.unique().tolist():
            rows = labels == label
            latents = cast(GAESampler, self.samplers[label]).sample(int(rows.sum()), generator)
            drawn[rows] = latents.flatten(1).to(drawn.dtype)
        return drawn

    def compute_log_density(self, latents: Tensor, class_labels: Any = None) -> Tensor:
        if class_labels is None:
            each = [cast(GAESampler, sampler).log_prob(latents) for sampler in self.samplers]
            return (torch.stack(each, 1) + self.class_shares.log().to(each[0].dtype)).logsumexp(1)
        labels = check_class_labels(class_labels, len(self.samplers), len(latents), latents.device)
        found = torch.empty(len(latents), device=latents.device, dtype=latents.dtype)
        for label in labels.unique().tolist():
            rows = labels == label
            found[rows] = cast(GAESampler, self.samplers[label]).log_prob(latents[rows]).to(found.dtype)
        return found

    def compute_log_density_of_directions(self, latents: Tensor, class_labels: Any = None) -> Tensor:
        return self.compute_log_density(latents, class_labels)  # the samplers of the classes have unit_norm too


def _count_classes(class_labels: Tensor, num_classes: int, name: str) -> Tensor:
    """(num_classes,) numbers of examples. Raise ValueError if a class has none; `name` is that of the examples."""
    counts = class_labels.bincount(minlength=num_classes)
    if missing := (counts == 0).nonzero().flatten().tolist():
        raise ValueError(f"each class needs {name}, but there are none of {', '.join(map(str, missing))}")
    return counts


def _find_config(spec: str | dict[str, Any] | PreTrainedConfig) -> PreTrainedConfig:
    """The config that `sampler_config` refers to.

    Raises:
        ValueError: if there is no such sampler, or it is not fitted to latents alone.
    """
    if isinstance(spec, (str, dict)):
        fields = {"model_type": spec} if isinstance(spec, str) else dict(spec)
        name = str(fields.get("model_type", "gaussian_mixture")).removeprefix("gae_").removesuffix("_sampler")
        if name not in SAMPLERS:
            raise ValueError(
                f"sampler_config must name a sampler, got '{name}'; {suggest(name, SAMPLERS, 'there are')}"
            )
        spec = AutoConfig.for_model(**{**fields, "model_type": f"gae_{name}_sampler"})
    name = str(spec.model_type).removeprefix("gae_").removesuffix("_sampler")
    if SAMPLERS[name].fit_to not in (GAESampler.fit_to, LearnedSampler.fit_to):
        raise ValueError(f"sampler_config '{name}' cannot be fitted per class: it needs a model, not only its latents")
    return spec


def _build(config: Any) -> GAESampler:
    """A sampler of a copy of a config, so that classes do not share one."""
    fields = config if isinstance(config, dict) else config.to_dict()
    return cast(GAESampler, AutoModel.from_config(AutoConfig.for_model(**fields)))


register_sampler(PerClassSamplerConfig, PerClassSampler)
