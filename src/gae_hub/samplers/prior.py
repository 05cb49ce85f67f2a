r"""Prior: Auto-Encoding Variational Bayes (Kingma & Welling, 2013), arXiv:1312.6114.

.. math::
    z \sim p(z)

The prior that a model was trained with, without the model: a standard normal, the uniform distribution on a
hypersphere, a normal distribution of the Poincaré ball, the mixture of a VampPrior, or a learned flow.

Use it when: you want the model's own prior as a Hub object, without the model.

Relations:
    Its samples equal `model.sample_prior` to the bit. If the embeddings are not distributed as the prior, the
    other samplers, which are fitted to the latents, generate better images.
    A flow that is fitted after training can replace the prior of any method:
    `model.generate(n, sampler=MAFSampler().fit_to(model, images))`.
"""

__all__ = ["PriorSampler", "PriorSamplerConfig"]

from math import log
from typing import Any, Literal, Self

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..core.argument_checks import generator_device
from ..models.base import GAEPreTrainedModel, inference
from ..models.flow_prior_vae import FlowPriorVAEModel, build_prior_flow
from ..models.poincare_vae import PoincareVAEModel
from ..models.svae import SVAEModel
from ..models.vamp import VAMPModel
from ..modules.expectation_maximization import GaussianMixture
from ..modules.flows import Flow
from ..modules.hyperbolic_posteriors import HYPERBOLIC_POSTERIORS, HyperbolicPosterior
from ..modules.noise import randn
from ..modules.posteriors import DiagonalGaussian, gaussian_log_prob
from ..modules.precision import to_float64
from ..modules.sphere import log_sphere_area, normalize
from .base import GAESampler, GAESamplerConfig, check_unit_norm, register_sampler, require_value
from .latent_kinds import LatentKind

_FLOW_FIELDS = ("num_flows", "num_hidden_layers", "hidden_size", "activation")


@strict
class PriorSamplerConfig(GAESamplerConfig):
    """Config of [`PriorSampler`].

    Args:
        prior: "normal"; "sphere"; "wrapped_normal" or "riemannian_normal" of the Poincaré ball, in normal coordinates;
            "mixture"; or "flow". `fit_to` sets it and the fields below from the model.
        curvature, prior_scale: curvature of the Poincaré ball, and scale of its normal distribution.
        num_components: number of components of the mixture.
        num_flows, num_hidden_layers, hidden_size, activation: as in `FlowPriorVAEConfig`.
    """

    model_type = "gae_prior_sampler"

    prior: Literal["normal", "sphere", "wrapped_normal", "riemannian_normal", "mixture", "flow"] = "normal"
    curvature: float | int = 1.0
    prior_scale: float | int = 1.0
    num_components: int | None = None
    num_flows: int | None = None
    num_hidden_layers: int | None = None
    hidden_size: int | None = None
    activation: Literal["elu", "relu"] | None = None

    set_by_fit = (
        *GAESamplerConfig.set_by_fit,
        "prior",
        "curvature",
        "prior_scale",
        "num_components",
        *_FLOW_FIELDS,
    )

    def validate_prior(self):
        self.require_positive("curvature", "prior_scale")


class PriorSampler(GAESampler):
    """Samples from the prior of a model.

    `fit_to(model)` needs no data. `fit(latents)` uses only their shape, and cannot make a mixture or a flow.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.
    """

    config: PriorSamplerConfig
    centre: Tensor  # (1, latent_dim) zeros
    means: Tensor  # (num_components, latent_dim), if the prior is a mixture
    stds: Tensor  # (num_components, latent_dim), if the prior is a mixture
    flow: Flow  # if the prior is a flow

    config_class = PriorSamplerConfig
    _keep_in_fp32_modules_strict = ["centre", "means", "stds"]
    latent_kinds: tuple[LatentKind, ...] = ("vectors", "sphere")

    @classmethod
    def explain_incompatibility(cls, model: GAEPreTrainedModel) -> str | None:
        reason = super().explain_incompatibility(model)
        known = isinstance(model, (SVAEModel, PoincareVAEModel, VAMPModel, FlowPriorVAEModel))
        if reason is None and not known and not _has_normal_prior(model):
            return "this sampler does not know their prior, or they have none"
        return reason

    def allocate(self, config: PriorSamplerConfig):
        d = require_value(config.latent_dim, "latent_dim")
        self.register_buffer("centre", torch.zeros(1, d))
        for name in ("means", "stds"):  # of an earlier mixture
            self._buffers.pop(name, None)
        self._modules.pop("flow", None)
        if config.prior == "flow":
            self.flow = build_prior_flow(
                d, **{name: require_value(getattr(config, name), name) for name in _FLOW_FIELDS}
            )
        if config.prior == "mixture":
            num_components = require_value(config.num_components, "num_components")
            self.register_buffer("means", torch.zeros(num_components, d))
            self.register_buffer("stds", torch.ones(num_components, d))

    def estimate_density(self, latents: Tensor, progress: bool = True):
        if self.config.prior in ("mixture", "flow"):
            raise ValueError(f"prior '{self.config.prior}' belongs to a model: use fit_to(model)")
        self.reallocate(latents.device)

    @torch.no_grad()
    def fit_to(
        self,
        model: GAEPreTrainedModel,
        dataset: Any = None,
        validation_dataset: Any = None,
        *,
        progress: bool = True,
    ) -> Self:
        """Copy the prior of a model. Data sets and `progress` are accepted, as by every sampler, and not used.

        Raises:
            ValueError: if the model has no prior that this sampler knows.
        """
        self.check_model(model)
        with self._restore_on_error():
            self._copy_config(model)
            self.reallocate(model.device, model.dtype)
            if isinstance(model, VAMPModel):
                components = _compute_components(model)
                self.means.copy_(components.mean)
                self.stds.copy_((0.5 * components.log_var).exp())
            if self.config.prior == "flow" and isinstance(model, FlowPriorVAEModel):
                self.flow.load_state_dict(model.prior.state_dict())
        return self.eval()

    def _copy_config(self, model: GAEPreTrainedModel):
        config = self.config
        config.latent_dim, config.latent_shape = model.config.latent_dim, tuple(model.latent_shape)
        config.prior, config.num_components = "normal", None
        for name in _FLOW_FIELDS:
            setattr(config, name, None)
        if isinstance(model, SVAEModel):
            config.prior = "sphere"
        elif isinstance(model, PoincareVAEModel):
            config.prior = model.config.prior
            config.curvature, config.prior_scale = model.config.curvature, model.config.prior_scale
        elif isinstance(model, VAMPModel):
            config.prior, config.num_components = "mixture", model.config.num_components
        elif isinstance(model, FlowPriorVAEModel) and model.config.num_flows:
            config.prior = "flow"
            for name in _FLOW_FIELDS:
                setattr(config, name, getattr(model.config, name))

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        prior, shape = self.config.prior, (num_samples, self.centre.shape[1])
        if prior == "mixture":
            device = generator_device(generator, self.device)
            k = torch.randint(len(self.means), (num_samples,), generator=generator, device=device).to(self.device)
            return self.means[k] + self.stds[k] * randn(shape, self.stds, generator)
        if prior in HYPERBOLIC_POSTERIORS:
            return self._build_hyperbolic_normal().rsample(num_samples, generator=generator)[0]
        noise = randn(shape, self.centre, generator)
        if prior == "flow":
            return self.flow.inverse(noise)[0]
        return normalize(noise) if prior == "sphere" else noise

    def compute_log_density(self, latents: Tensor) -> Tensor:
        """(num,) log density, in nats: per area of the sphere, and per volume of the hyperbolic space."""
        prior = self.config.prior
        if prior == "sphere":
            check_unit_norm(latents)
            return torch.full_like(latents[:, 0], -log_sphere_area(latents.shape[1]))
        if prior in HYPERBOLIC_POSTERIORS:
            return self._build_hyperbolic_normal().centred_log_prob(to_float64(latents)).to(latents.dtype)
        if prior == "mixture":
            weights = torch.full_like(self.means[:, 0], 1 / len(self.means))
            return GaussianMixture(weights, self.means, self.stds, "diag").log_prob(latents)
        noise, log_det = self.flow(latents) if prior == "flow" else (latents, 0.0)
        return gaussian_log_prob(noise).sum(-1) + log_det

    def _build_hyperbolic_normal(self) -> HyperbolicPosterior:
        """The normal distribution of the Poincaré ball, as a batch of one."""
        log_var = torch.full_like(self.centre[:, :1], 2 * log(self.config.prior_scale))
        return HYPERBOLIC_POSTERIORS[self.config.prior](self.centre, log_var, self.config.curvature)


@inference
def _compute_components(model: VAMPModel) -> DiagonalGaussian:
    """The components of a model's prior, in eval mode."""
    return model.encode_components()


def _has_normal_prior(model: GAEPreTrainedModel) -> bool:
    """Whether `model.sample_prior` returns the generator's standard normal numbers unchanged."""
    try:
        drawn = model.sample_prior(2, torch.Generator().manual_seed(0))
    except NotImplementedError:
        return False
    return torch.equal(drawn, randn((2, model.config.latent_dim), drawn, torch.Generator().manual_seed(0)))


register_sampler(PriorSamplerConfig, PriorSampler)
