"""The contract of every generative autoencoder: config, output, base model, registration.

One convention holds for every loss: nats per example, summed over the data's dimensions, averaged over the batch.
"""

__all__ = ["MODELS", "GAEConfig", "GAEOutput", "GAEPreTrainedModel", "register_model"]

from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from math import log, pi, prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers import initialization as init
from transformers.utils import ModelOutput

from gae_hub.core.configuration import StrictConfig, may_register
from gae_hub.core.distributed import mean_over_processes
from gae_hub.core.hub_model import HubModel
from gae_hub.modules.backbones import backbone_config, build_decoder, build_encoder, init_weights, register_backbone
from gae_hub.modules.inputs import check_values
from gae_hub.modules.networks import NETWORKS
from gae_hub.modules.noise import randn
from gae_hub.modules.paper_networks import PAPER_NETWORKS
from gae_hub.modules.posteriors import PointMass, Posterior
from gae_hub.modules.precision import at_least_float32

MODELS: dict[str, type["GAEPreTrainedModel"]] = {}
"""Short name ("beta_vae") to model class, filled by `register_model`."""


@strict
class GAEConfig(StrictConfig):
    """Fields that all autoencoders have.

    Args:
        input_shape: shape of one example: (channels, height, width), or (dim,) for vectors.
        latent_dim: size of the latent vector.
        likelihood: "gaussian", ||x - x_hat||^2 / (2 observation_std^2), or "bernoulli", binary cross entropy on
            logits.
        observation_std: standard deviation of the Gaussian likelihood, or "optimal" for its closed-form optimum
            (Rybkin, Daniilidis & Levine, 2021, arXiv:2006.13202). The paper's tables were made with the square error
            without the 1/2: sqrt(1/2) here.
        output_activation: "sigmoid" (the paper's) or "identity". Decoders return the value before it.
        encoder_config, decoder_config: a short name ("mlp", "conv", "resnet", "paper_conv", "paper_resnet"), a dict
            with `model_type` and that network's fields, or a config object.
    """

    keys_to_ignore_at_inference = ["losses", "metrics", "reconstruction"]

    input_shape: list[int] | tuple[int, ...] = (1, 28, 28)
    latent_dim: int = 16
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    observation_std: float | int | Literal["optimal"] = 1.0
    output_activation: Literal["sigmoid", "identity"] = "sigmoid"
    encoder_config: str | dict | PreTrainedConfig | None = None
    decoder_config: str | dict | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs):
        self.input_shape = tuple(self.input_shape)
        self.encoder_config = backbone_config("encoder", self.encoder_config)
        self.decoder_config = backbone_config("decoder", self.decoder_config)
        super().__post_init__(**kwargs)

    def validate_base(self):
        self.require_positive("input_shape", "latent_dim")
        if not self.input_shape:
            raise ValueError("input_shape must have at least one dimension, got ()")
        if self.observation_std != "optimal":
            self.require_positive("observation_std")
        if self.likelihood == "bernoulli" and self.output_activation != "sigmoid":
            raise ValueError(
                f"likelihood 'bernoulli' needs output_activation 'sigmoid', got '{self.output_activation}'"
            )


@dataclass
class GAEOutput(ModelOutput):
    """What `forward` returns.

    Args:
        loss: scalar to minimise, in nats per example.
        reconstruction: (batch, *input_shape).
        latents: (batch, latent_dim), the draw that was decoded; (batch, latent_dim, height, width) for maps of codes.
        losses: the detached terms of the loss by name, unweighted scalars.
        metrics: what is only logged, by name: detached scalars, or vectors such as "kl_per_dimension".
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    latents: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    metrics: dict[str, Tensor] | None = None


def inference(method):
    """Run a method without gradients and in eval mode, so that it answers the same while the model is trained."""

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                return method(self, *args, **kwargs)
        finally:
            for module in training:
                module.training = True

    return wrapper


class GAEPreTrainedModel(HubModel):
    """Base of every method. A subclass gives `encode` and `forward`; the rest follows from these and `decode`.

    `pixel_values` is (batch, *input_shape), floats in [0, 1]. Every method that draws takes a `generator`.

    Args:
        config: the method's config.
        encoder: a trunk of one's own, pixel_values to features, in place of `config.encoder_config`.
        decoder: a decoder of one's own, latents to pixels before the activation, in place of `config.decoder_config`.
    """

    config_class = GAEConfig
    base_model_prefix = "autoencoder"
    main_input_name = "pixel_values"
    input_modalities = "image"
    model_tags = ["gae-hub", "autoencoder", "generative-autoencoder"]
    accepts_loss_kwargs = False
    _keep_in_fp32_modules_strict = ["progress", "observation_var"]
    facts: dict[str, Any] | None = None  # what is known of the training run, for the card
    examples: Tensor | None = None  # images of its validation split, for the pictures on the card
    metric_for_best_model = (
        "loss"  # what the trainer chooses the best checkpoint by: the name of a term or of a metric
    )
    can_be_compiled = True  # False where the loss holds a gradient, which torch.compile cannot differentiate again
    min_batch_size = 1  # smallest batch that the loss is defined for
    shardable = True  # whether FSDP may split its parameters: not where a loss uses them apart from their modules

    def __init__(self, config: GAEConfig, encoder: nn.Module | None = None, decoder: nn.Module | None = None):
        if encoder is not None or decoder is not None:
            config = deepcopy(config)  # which will name the modules in place of the person's own choice
        super().__init__(config)
        self.encoder = build_encoder(config, encoder)
        self.latent_shape = self.latent_shape_for(self.encoder.feature_shape)
        self.decoder = build_decoder(config, self.latent_shape, decoder)
        self.register_buffer(
            "progress", torch.ones((), dtype=torch.float32), persistent=False
        )  # share of training done, set by the trainer
        if config.likelihood == "gaussian" and config.observation_std == "optimal":
            self.register_buffer("observation_var", torch.ones((), dtype=torch.float32))
        self.setup(config)
        self.post_init()

    def setup(self, config: GAEConfig):
        """Build what the method has beside encoder and decoder."""

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one example's latents, given that of the trunk's features: (latent_dim,) unless they are maps."""
        return (self.config.latent_dim,)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, GAEPreTrainedModel):
            init.ones_(module.progress)
            if "observation_var" in module._buffers:
                init.ones_(module.observation_var)
        else:
            init_weights(self, module)

    # Encoding and decoding

    def encode_features(self, pixel_values: Tensor) -> Tensor:
        """(batch, features): the trunk's output, flattened, after a check of the input."""
        return self.encode_feature_map(pixel_values).flatten(1)

    def encode_feature_map(self, pixel_values: Tensor) -> Tensor:
        """(batch, *feature_shape): the trunk's output, after a check of the input.

        Values are checked where no training step waits for the answer: on the CPU, and in eval mode.
        """
        shape = tuple(pixel_values.shape)
        if shape[1:] != self.config.input_shape or not shape[0]:
            raise ValueError(
                f"pixel_values has shape {shape}, but this model was built for input_shape {self.config.input_shape}"
                + (" (the batch is empty)" if shape[1:] == self.config.input_shape else "")
            )
        if not pixel_values.is_floating_point():
            raise ValueError(
                f"pixel_values has dtype {pixel_values.dtype}, but must be floats in [0, 1]: divide by 255"
            )
        if not torch.compiler.is_compiling() and (pixel_values.device.type == "cpu" or not self.training):
            check_values(pixel_values)
        return self.encoder(pixel_values.to(self.dtype))

    def encode(self, pixel_values: Tensor) -> Posterior:
        """The posterior: an object with `mean`, (batch, latent_dim), and `rsample`."""
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def decode(self, latents: Tensor) -> Tensor:
        """latents (batch, *latent_shape) to images (batch, *input_shape)."""
        return self.activation(self.decoder(latents.to(self.dtype)))

    def activation(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.config.output_activation == "sigmoid" else logits

    def log_prob(
        self, pixel_values: Tensor, latents: Tensor, decoder=None, adapt: bool = True
    ) -> tuple[Tensor, Tensor]:
        """log p(x|z) up to the likelihood's constant, in nats, and the reconstruction.

        Args:
            pixel_values: (batch, *input_shape).
            latents: (batch, *draws, *latent_shape).
            decoder: what decodes them, in place of the model's own: its frozen copy, for instance.
            adapt: whether an "optimal" observation_std follows this batch while training.

        Returns:
            (batch, *draws) and (batch, *draws, *input_shape).
        """
        axes, dims = len(self.latent_shape), len(self.config.input_shape)
        lead = latents.shape[:-axes]
        logits = (decoder or self.decoder)(latents.flatten(0, -axes - 1).to(self.dtype))
        logits = at_least_float32(logits).unflatten(0, lead)
        target = pixel_values.to(logits.dtype).view(
            len(pixel_values), *[1] * (len(lead) - 1), *self.config.input_shape
        )
        reconstruction = self.activation(logits)
        target = target.expand_as(logits)
        if self.config.likelihood == "bernoulli":
            log_p = -F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(-dims).sum(-1)
            return log_p, reconstruction
        square = F.mse_loss(reconstruction, target, reduction="none").flatten(-dims).sum(-1)
        if self.config.observation_std != "optimal":
            return square / (-2 * self.config.observation_std**2), reconstruction
        size = prod(self.config.input_shape)
        variance = self.observation_var.to(square.dtype)
        if self.training and adapt:
            variance = mean_over_processes(square.detach().mean() / size).clamp(min=1e-8)
            self.observation_var.lerp_(variance.to(self.observation_var.dtype), 0.1)
        return -0.5 * (square / variance + size * variance.log()), reconstruction

    def log_prob_constant(self) -> float:
        """What `log_prob` leaves out of log p(x|z), in nats."""
        if self.config.likelihood == "bernoulli":
            return 0.0
        std = self.config.observation_std
        return -prod(self.config.input_shape) * (0.5 * log(2 * pi) + (0.0 if std == "optimal" else log(std)))

    # What people call

    @inference
    def embed(self, pixel_values: Tensor, sample: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *latent_shape): posterior means, or draws with `sample=True`."""
        return self.compute_latents(self.encode(pixel_values), sample, generator)

    def compute_latents(
        self, posterior: Posterior, sample: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """What the decoder takes: a posterior's mean or a draw, passed through flow, normalisation or quantizer."""
        return posterior.rsample(generator=generator) if sample else posterior.mean

    @inference
    def reconstruct(
        self, pixel_values: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """(batch, *input_shape) in [0, 1]: the decoded embedding."""
        return self.decode(self.embed(pixel_values, sample, generator))

    @inference
    def interpolate(self, start: Tensor, end: Tensor, num_steps: int = 10) -> Tensor:
        """(batch, num_steps, *input_shape): images along the path between two embeddings, both ends included.

        Args:
            start, end: images, each (batch, *input_shape).
            num_steps: images per path, at least 2.
        """
        if num_steps < 2:
            raise ValueError(f"num_steps must be 2 or more, got {num_steps}")
        a, b = self.embed(start), self.embed(end)
        if len(a) != len(b):
            raise ValueError(f"start and end must hold as many images, got {len(a)} and {len(b)}")
        path = self.interpolate_latents(a, b, torch.linspace(0, 1, num_steps, device=a.device, dtype=a.dtype))
        return self.decode(path.flatten(0, 1)).unflatten(0, path.shape[:2])

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, *latent_shape): points at t, (steps,), on the geodesic from start to end: a straight line."""
        return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), t.view(1, -1, *[1] * (start.dim() - 1)))

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim) latents from the prior, N(0, I) unless the method has another."""
        like = torch.empty(0, device=self.device, dtype=self.dtype)
        return randn((num_samples, self.config.latent_dim), like, generator)

    @inference
    def generate(
        self, num_samples: int = 1, sampler=None, generator: torch.Generator | None = None, batch_size: int = 500
    ) -> Tensor:
        """(num_samples, *input_shape) new images in [0, 1].

        Args:
            num_samples: how many.
            sampler: a fitted [`GAESampler`] over the latents; the model's own prior without one.
            generator: source of randomness; a CPU generator gives the same latents on every device.
            batch_size: images decoded at a time. It does not change the images.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        if sampler is None:
            latents = self.sample_prior(num_samples, generator)
        else:
            latents = sampler.sample(num_samples, generator).to(device=self.device, dtype=self.dtype)
        return torch.cat([self.decode(chunk) for chunk in latents.split(batch_size)])

    def log_likelihood(self, pixel_values: Tensor, num_samples: int = 100, **kwargs) -> Tensor:
        """(batch,) estimates of log p(x) in nats. Only for methods with a likelihood."""
        raise NotImplementedError(f"{type(self).__name__} has no likelihood, so log_likelihood is not defined for it")

    # Training

    def compute_warmup(self, fraction: float) -> Tensor | float:
        """How much of a warm-up over the first `fraction` of all training steps is done, 0 to 1; 1 in evaluation."""
        return (self.progress / fraction).clamp(max=1) if fraction else 1.0

    def before_optimizer_step(self):
        """Called by the trainer once all gradients of a step are there: a player that sits out loses its own."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Name to the parameters that share optimizer settings: a partition of all trainable parameters."""
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    def loss_weights(self) -> dict[str, float]:
        """Weights of the loss's terms; 1 for those that are not named."""
        return {}

    def current_loss_weights(self) -> dict[str, float | Tensor]:
        """`loss_weights` as they are at this point of the training; as they are in evaluation."""
        return self.loss_weights()

    def build_output(
        self,
        terms: dict[str, Tensor],
        posterior: Posterior | None = None,
        metrics: dict[str, Tensor] | None = None,
        return_loss: bool = True,
        **fields,
    ) -> GAEOutput:
        """`loss`: the sum of per-example or scalar terms, weighted by `current_loss_weights`; terms stay unweighted.

        What is only to be logged goes into `metrics`: a term of weight 0 that is infinite would turn the loss into
        nan. The diagnostics of a posterior are added to them.
        """
        if not return_loss:
            return GAEOutput(**fields)
        metrics = {**(posterior.diagnostics() if posterior is not None else {}), **(metrics or {})}
        weights, means = self.current_loss_weights(), {name: term.mean() for name, term in terms.items()}
        first, *others = [weights[name] * mean if name in weights else mean for name, mean in means.items()]
        return GAEOutput(
            loss=sum(others, start=first),
            losses={name: mean.detach() for name, mean in means.items()},
            metrics={name: value.detach() for name, value in metrics.items()} or None,
            **fields,
        )

    def floating_point_ops(self, inputs, exclude_embeddings: bool = True) -> int:
        """0: transformers' estimate is for transformers, and walks over all modules at every step."""
        return 0


class DeterministicModel(GAEPreTrainedModel):
    """Base of the methods whose encoder gives one point: the head is one linear layer on the trunk's features."""

    def setup(self, config):
        self.head = nn.Linear(prod(self.encoder.feature_shape), config.latent_dim)

    def encode(self, pixel_values: Tensor) -> PointMass:
        return PointMass(at_least_float32(self.head(self.encode_features(pixel_values))))

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} has no prior: fit a sampler on its embeddings, "
            "sampler = GaussianMixtureSampler().fit(embed_dataset(model, dataset)), "
            "and pass it as generate(..., sampler=sampler)"
        )


def register_model(config_class: type[GAEConfig], model_class: type[GAEPreTrainedModel]):
    """Make a method known to gae_hub, `AutoConfig` and `AutoModel`. A method that is already known is left as it is.

    Raises:
        ValueError: if the model_type does not begin with "gae_", or a field of the config has no annotation.
    """
    model_type = config_class.model_type
    if not model_type.startswith("gae_"):
        raise ValueError(f"{config_class.__name__}.model_type must begin with 'gae_', got '{model_type}'")
    inherited = set(dir(GAEConfig)) | {"model_type"}
    for name, value in vars(config_class).items():
        if not (
            name.startswith("_") or callable(value) or name in inherited or name in config_class.__dataclass_fields__
        ):
            raise ValueError(
                f"{config_class.__name__}.{name} has no annotation, so it would not be saved in config.json"
            )
    if MODELS.setdefault(model_type.removeprefix("gae_"), model_class) is model_class and may_register(model_type):
        AutoConfig.register(model_type, config_class, exist_ok=True)
        AutoModel.register(config_class, model_class, exist_ok=True)


for _network in (*NETWORKS, *PAPER_NETWORKS):
    register_backbone(*_network)
