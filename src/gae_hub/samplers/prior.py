r"""Prior: Auto-Encoding Variational Bayes (Kingma & Welling, 2013), arXiv:1312.6114.

.. math::
    z \sim p(z)

The prior that a model was trained with, without the model: a standard normal, the uniform distribution on a
hypersphere, a normal distribution of the Poincaré ball, the mixture of a VampPrior, or a learned flow.

Relations:
    A flow that is fitted after training takes the prior's place, of any method:
    `model.generate(n, sampler=MAFSampler().fit_to(model, images))`.
    `model.sample_prior`, to the bit, as a Hub object. Where the embeddings are not spread as the prior, the other
    samplers, which are fitted to them, make better images.
"""

__all__ = ["PriorSampler", "PriorSamplerConfig"]

from math import log
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..models.base import inference
from ..models.flow_prior_vae import FlowPriorVAEModel, prior_flow
from ..models.poincare_vae import FAMILIES, PoincareVAEModel
from ..models.svae import SVAEModel
from ..models.vamp import VAMPModel
from ..modules.noise import randn
from ..modules.posteriors import DiagonalGaussian
from ..modules.sphere import normalize
from .base import GAESampler, GAESamplerConfig, register_sampler

_FLOW = ("num_flows", "num_hidden_layers", "hidden_size", "activation")


@strict
class PriorSamplerConfig(GAESamplerConfig):
    """
    Args:
        prior: "normal", "sphere", "wrapped_normal" or "riemannian_normal" of the Poincaré ball, in normal coordinates,
            "mixture", or "flow". `fit_to` takes it from the model, and the fields below.
        curvature, prior_scale: of the Poincaré ball's normal.
        num_components: of the mixture.
        num_flows, num_hidden_layers, hidden_size, activation: of the flow.
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

    def validate_prior(self):
        self.require_positive("curvature", "prior_scale")


class PriorSampler(GAESampler):
    """`fit_to(model)` needs no data; `fit(latents)` takes nothing but their shape, and has no mixture, nor flow."""

    config_class = PriorSamplerConfig
    kinds = ("vectors", "sphere")

    @classmethod
    def why_not(cls, model) -> str | None:
        reason = super().why_not(model)
        special = (SVAEModel, PoincareVAEModel, VAMPModel, FlowPriorVAEModel)
        if reason is None and not isinstance(model, special) and not draws_normal(model):
            return "it has no prior that this sampler knows"
        return reason

    def allocate(self, config: PriorSamplerConfig):
        for name in {"mixture": ("num_components",), "flow": _FLOW}.get(config.prior, ()):
            if getattr(config, name) is None:
                raise ValueError(f"prior '{config.prior}' needs {name}, got None: `fit_to` takes it from a model")
        self.register_buffer("centre", torch.zeros(1, config.latent_dim))
        for name in ("means", "stds"):  # those of a mixture before
            self._buffers.pop(name, None)
        self._modules.pop("flow", None)
        if config.prior == "flow":
            self.flow = prior_flow(config.latent_dim, **{name: getattr(config, name) for name in _FLOW})
        if config.prior == "mixture":
            self.register_buffer("means", torch.zeros(config.num_components, config.latent_dim))
            self.register_buffer("stds", torch.ones(config.num_components, config.latent_dim))

    def prepare(self, latents: Tensor):
        if self.config.prior in ("mixture", "flow"):
            raise ValueError(f"a prior that is a {self.config.prior} is that of a model: use fit_to(model)")

    def estimate(self, latents: Tensor):
        self.centre.zero_()

    @torch.no_grad()
    def fit_to(self, model, dataset=None, validation_dataset=None) -> "PriorSampler":
        """Take the prior of a model. Data, if given, change nothing."""
        self.check_model(model)
        config = self.config
        with self.all_or_nothing():
            config.prior, config.num_components = "normal", None
            for name in _FLOW:
                setattr(config, name, None)
            config.latent_dim, config.latent_shape = model.config.latent_dim, tuple(model.latent_shape)
            if isinstance(model, SVAEModel):
                config.prior = "sphere"
            elif isinstance(model, PoincareVAEModel):
                config.prior = model.config.prior
                config.curvature, config.prior_scale = model.config.curvature, model.config.prior_scale
            elif isinstance(model, VAMPModel):
                config.prior, config.num_components = "mixture", model.config.num_components
            elif isinstance(model, FlowPriorVAEModel) and model.config.num_flows:
                config.prior = "flow"
                for name in _FLOW:
                    setattr(config, name, getattr(model.config, name))
            self.allocate(config)
            self.to(device=model.device, dtype=model.dtype)
            if config.prior == "mixture":
                components = mixture_of(model)
                self.means.copy_(components.mean)
                self.stds.copy_((0.5 * components.log_var).exp())
            if config.prior == "flow":
                self.flow.load_state_dict(model.prior.state_dict())
        return self.eval()

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        prior, d = self.config.prior, self.config.latent_dim
        if prior == "mixture":
            device = generator.device if generator is not None else self.device
            k = torch.randint(len(self.means), (num_samples,), generator=generator, device=device).to(self.device)
            return self.means[k] + self.stds[k] * randn((num_samples, d), self.stds, generator)
        if prior in FAMILIES:
            log_var = torch.full_like(self.centre[:, :1], 2 * log(self.config.prior_scale))
            normal = FAMILIES[prior](self.centre, log_var, self.config.curvature)
            return normal.rsample(num_samples, generator=generator)[0]
        noise = randn((num_samples, d), self.centre, generator)
        if prior == "flow":
            return self.flow.inverse(noise)[0]
        return normalize(noise) if prior == "sphere" else noise


@inference
def mixture_of(model: VAMPModel) -> DiagonalGaussian:
    """The components of its prior."""
    return model.components()


def draws_normal(model) -> bool:
    """Whether a model's prior is N(0, I), which its own draws tell."""
    try:
        drawn = model.sample_prior(2, torch.Generator().manual_seed(0))
    except NotImplementedError:
        return False
    return torch.equal(drawn, randn((2, model.config.latent_dim), drawn, torch.Generator().manual_seed(0)))


register_sampler(PriorSamplerConfig, PriorSampler)
