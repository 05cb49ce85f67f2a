"""The contract of every generative autoencoder: config, output, base class, registration.

One convention holds for every loss: nats per example, summed over the data's dimensions, averaged over the batch.
"""

__all__ = [
    "MODELS",
    "DeterministicModel",
    "GAEConfig",
    "GAEOutput",
    "GAEPreTrainedModel",
    "check_sampler",
    "inference",
    "register_model",
]

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from math import prod
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from gae_hub.core.argument_checks import check_count, check_generator, describe
from gae_hub.core.class_labels import check_guidance_scale, supports_guidance
from gae_hub.core.configuration import StrictConfig, may_register
from gae_hub.core.hooks import HOOKS
from gae_hub.modules.backbones import (
    backbone_config,
    build_decoder,
    build_encoder,
    check_sharing,
    init_weights,
    record_outputs,
    register_backbone,
)
from gae_hub.modules.conditions import build_conditional
from gae_hub.modules.diffusers_networks import DIFFUSERS_NETWORKS
from gae_hub.modules.inputs import check_finite_values, check_images, check_latents, check_values
from gae_hub.modules.likelihoods import Likelihood, build_likelihood, check_likelihood
from gae_hub.modules.networks import NETWORKS
from gae_hub.modules.noise import randn
from gae_hub.modules.paper_networks import PAPER_NETWORKS
from gae_hub.modules.posteriors import PointMass, Posterior
from gae_hub.modules.precision import at_least_float32
from gae_hub.modules.vision_encoder import VISION_ENCODER
from gae_hub.modules.vit_decoder import VIT_DECODER

from .conditional import ClassLabels, ConditionalModel

MODELS: dict[str, type["GAEPreTrainedModel"]] = {}
"""Short name ("beta_vae") to model class, filled by `register_model`."""

P = ParamSpec("P")
R = TypeVar("R")
Module = TypeVar("Module", bound=nn.Module)


@strict
class GAEConfig(StrictConfig):
    """Fields of every autoencoder.

    Args:
        input_shape: shape of one example: (dim,) for vectors, (channels, length) for signals, (channels, height,
            width) for images, (channels, depth, height, width) for volumes.
        latent_dim: size of the latent vector.
        likelihood: p(x|z): "gaussian", "laplace", "bernoulli" or "continuous_bernoulli", or a name registered with
            `register_likelihood`. The Gaussian's loss is ||x - x_hat||^2 / (2 observation_std^2), the Bernoulli's the
            binary cross entropy.
        observation_std: standard deviation of the likelihoods that have one. "optimal" follows the data by
            the closed-form optimum (Gaussian only; Rybkin, Daniilidis & Levine, 2021, arXiv:2006.13202). sqrt(1/2)
            gives the square error without the factor 1/2, as in the tables of the Pythae paper.
        output_activation: "sigmoid" (as in the Pythae paper) or "identity", applied to what the decoder returns.
        encoder_config, decoder_config: a short name, a dict with `model_type` and the network's fields, or a config
            object. "mlp" fits any shape; "conv" and "resnet" signals, images and volumes; "paper_conv",
            "paper_resnet" and "diffusers_kl" images. The encoder "vision" is a vision transformer of the Hub; a name
            with a slash is its repository or folder. The decoder "vit" is a transformer for latent maps.
        num_classes: number of classes, for a model p(x|z, y) that is given class labels y; or None.
        condition_dim: size of the vectors, for a model that is given a vector of each example instead; or None.
        condition_embedding_dim: size of the embeddings of labels or vectors.
        condition_injection: how encoder and decoder receive embeddings: "concatenation" to their inputs, or "film",
            scales and shifts of their hidden layers, which start without effect.
        condition_dropout: share of the training examples whose condition is dropped. Above 0, the model is also one of
            examples without a condition, and `generate` has guidance.
    """

    keys_to_ignore_at_inference = ["losses", "metrics", "reconstruction", "latents", "hidden_states"]
    # transformers declares a property of the class, and reads a dict
    sub_configs = {"encoder_config": AutoConfig, "decoder_config": AutoConfig}  # pyright: ignore[reportAssignmentType]

    input_shape: list[int] | tuple[int, ...] = (1, 28, 28)
    latent_dim: int = 16
    likelihood: str = "gaussian"
    observation_std: float | int | Literal["optimal"] = 1.0
    output_activation: Literal["sigmoid", "identity"] = "sigmoid"
    encoder_config: str | dict | PreTrainedConfig | None = None
    decoder_config: str | dict | PreTrainedConfig | None = None
    num_classes: int | None = None
    condition_dim: int | None = None
    condition_embedding_dim: int = 16
    condition_injection: Literal["concatenation", "film"] = "concatenation"
    condition_dropout: float | int = 0.0

    def __post_init__(self, **kwargs):
        self.input_shape = tuple(self.input_shape)
        self.encoder_config = backbone_config("encoder", self.encoder_config)
        self.decoder_config = backbone_config("decoder", self.decoder_config)
        super().__post_init__(**kwargs)

    @property
    def num_channels(self) -> int:
        """Channels of the images. AttributeError for inputs that are not images."""
        return self._image_shape("num_channels")[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images. AttributeError for inputs that are not images."""
        return self._image_shape("image_size")[1:]

    def _image_shape(self, name: str) -> tuple[int, int, int]:
        if len(self.input_shape) != 3:
            raise AttributeError(f"{name} is defined for images only, but input_shape is {self.input_shape}")
        return cast(tuple[int, int, int], self.input_shape)

    def validate_base(self):
        self.require_positive("input_shape", *([] if self.latent_dim is None else ["latent_dim"]))
        if not self.input_shape:
            raise ValueError("input_shape must have at least one dimension, got ()")
        if self.observation_std != "optimal":
            self.require_positive("observation_std")
        check_likelihood(self)

    def validate_condition(self):
        self.require_positive("condition_embedding_dim")
        if not 0 <= self.condition_dropout < 1:
            raise ValueError(f"condition_dropout must lie in [0, 1), got {self.condition_dropout}")
        if self.num_classes is not None and self.condition_dim is not None:
            raise ValueError(
                f"num_classes = {self.num_classes} and condition_dim = {self.condition_dim} exclude each other: set "
                "num_classes for labels, or condition_dim for vectors"
            )
        if self.is_conditional:
            self.require_positive("condition_dim" if self.num_classes is None else "num_classes")
        elif self.condition_dropout or self.condition_injection != "concatenation":
            name = "condition_dropout" if self.condition_dropout else "condition_injection"
            raise ValueError(f"{name} = {getattr(self, name)} has no effect without num_classes or condition_dim")

    @property
    def is_conditional(self) -> bool:
        """Whether the model is given a label or a vector of each example."""
        return self.num_classes is not None or self.condition_dim is not None


@dataclass
class GAEOutput(ModelOutput):
    """What `forward` returns.

    Args:
        embedding: (batch, *latent_shape), the embedding of `embed`, in eval mode; None in training mode. It is the
            first field, which the "image-feature-extraction" pipeline of transformers returns.
        loss: scalar to minimise, in nats per example.
        reconstruction: (batch, *input_shape).
        latents: (batch, latent_dim), the sample that was decoded; (batch, latent_dim, *sizes) for latent maps.
        losses: the detached terms of the loss by name, unweighted scalars.
        metrics: detached values that are only logged, by name: scalars, or vectors such as "kl_per_dimension".
        hidden_states: with `output_hidden_states=True`, the outputs of the encoder's layers, from the input inwards.
    """

    embedding: Tensor | None = None
    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    latents: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    metrics: dict[str, Tensor] | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class LatentSampler(Protocol):
    """What `generate` needs of a sampler."""

    def sample(self, num_samples: int, generator: torch.Generator | None = None, /) -> Tensor: ...


def check_sampler(sampler: Any, latent_shape: tuple[int, ...]):
    """Raise ValueError unless an argument is a fitted sampler of latents of this shape, as far as its config tells."""
    if isinstance(sampler, str) or isinstance(sampler, type) or not callable(getattr(sampler, "sample", None)):
        create = f"{sampler.__name__}()" if isinstance(sampler, type) else "GaussianMixtureSampler()"
        raise ValueError(
            f"sampler must be a fitted sampler, got {describe(sampler)}: pass {create}.fit_to(model, images), or "
            "AutoSampler.from_pretrained(folder)"
        )
    config = getattr(sampler, "config", None)
    if not getattr(config, "is_fitted", True):
        raise ValueError(f"this {type(sampler).__name__} is not fitted: call fit or fit_to first")
    shape = getattr(config, "latent_shape", None)
    if shape is not None and tuple(shape) != latent_shape:
        raise ValueError(
            f"{type(sampler).__name__} draws latents of shape {tuple(shape)}, but this model's latents have shape "
            f"{latent_shape}: fit the sampler to this model, {type(sampler).__name__}().fit_to(model, images)"
        )


def inference(method: Callable[Concatenate[Module, P], R]) -> Callable[Concatenate[Module, P], R]:
    """Run a method without gradients and in eval mode, then restore the training mode of each module."""

    @wraps(method)
    def wrapper(self: Module, *args: P.args, **kwargs: P.kwargs) -> R:
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                return method(self, *args, **kwargs)
        finally:
            for module in training:
                module.training = True

    return wrapper


class GAEPreTrainedModel(ConditionalModel):
    """Base of every method. A subclass defines `encode` and `compute_output`; the other methods follow from these.

    `pixel_values` is (batch, *input_shape), floats in [0, 1]. Every method that draws random numbers takes a
    `generator`.

    Args:
        config: the method's config.
        encoder: a custom network from pixel_values to features, used instead of `config.encoder_config`.
        decoder: a custom network from latents to pixels before the activation, used instead of
            `config.decoder_config`.

    Raises:
        ValueError: if the config is not one of this method.
    """

    config: GAEConfig
    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood
    progress: Tensor  # share of the training steps that are done, set by the trainer; 1 outside training

    config_class = GAEConfig
    base_model_prefix = "autoencoder"
    main_input_name = "pixel_values"
    input_modalities = "image"
    model_tags = ["gae-hub", "autoencoder", "generative-autoencoder"]
    accepts_loss_kwargs = False
    _keep_in_fp32_modules_strict = ["progress", "likelihood", "class_shares"]

    facts: dict[str, Any] | None = None  # facts about the training run, for the card
    examples: Tensor | None = None  # validation images, for the pictures on the card
    example_labels: Tensor | None = None  # their classes, -1 without one
    example_conditions: Tensor | None = None  # their class_labels, for conditional models
    label_names: tuple[str, ...] | None = None  # names of the classes
    processor: Any = None  # the image processor of the training data, after training

    metric_for_best_model = "loss"  # name of the term or metric that selects the best checkpoint
    can_be_compiled = True  # False if the loss contains a gradient, which stays uncompiled in torch.compile
    min_batch_size = 1  # smallest batch for which the loss is defined
    shardable = True  # False if the loss uses parameters outside of their modules, which FSDP does not support

    def __init__(self, config: GAEConfig, encoder: nn.Module | None = None, decoder: nn.Module | None = None):
        expected = cast(type[GAEConfig], self.config_class)
        if not isinstance(config, expected) and getattr(config, "model_type", None) != expected.model_type:
            raise ValueError(f"{type(self).__name__} needs a {expected.__name__}, got {describe(config)}")
        if encoder is not None or decoder is not None:
            config = deepcopy(config)  # build_encoder and build_decoder write the networks' configs into it
        super().__init__(config)
        if config.is_conditional and not self.supports_conditions:
            raise ValueError(
                f"{type(self).__name__} cannot be conditional: num_classes and condition_dim must be None, got "
                f"{config.num_classes} and {config.condition_dim}"
            )
        injection = config.condition_injection
        self.encoder = build_conditional(
            config,
            cast(tuple[int, ...], config.input_shape),
            lambda shape: build_encoder(config, shape, encoder),
            injection,
            is_encoder=True,
        )
        self.feature_shape = cast(tuple[int, ...], self.encoder.feature_shape)
        self.latent_shape = self.latent_shape_for(self.feature_shape)
        self.decoder = build_conditional(
            config, self.latent_shape, lambda shape: build_decoder(config, shape, decoder), injection
        )
        self.likelihood = build_likelihood(config)
        self.register_buffer("progress", torch.ones((), dtype=torch.float32), persistent=False)
        shares = None if config.num_classes is None else torch.full((config.num_classes,), 1 / config.num_classes)
        self.register_buffer("class_shares", shares)
        self.setup(config)
        check_sharing(self)
        self.post_init()

    def setup(self, config: GAEConfig):
        """Build the modules that the method has in addition to encoder and decoder."""

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one example's latents, given that of the encoder's features: (latent_dim,) unless they are maps."""
        return (self.config.latent_dim,)

    @torch.no_grad()
    def _init_weights(self, module):
        if isinstance(module, GAEPreTrainedModel):
            init.ones_(module.progress)
            if module.class_shares is not None:
                init.constant_(module.class_shares, 1 / len(module.class_shares))
        else:
            init_weights(self, module)

    def forward(
        self,
        pixel_values: Tensor,
        return_loss: bool = True,
        generator: torch.Generator | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        class_labels: ClassLabels = None,
    ) -> GAEOutput | tuple[Any, ...]:
        """Loss, reconstruction, latents and embedding of a batch.

        Args:
            pixel_values: (batch, *input_shape).
            return_loss: whether to compute the loss. In eval mode, a batch below `min_batch_size` has no loss.
            generator: source of random numbers.
            output_hidden_states: whether to return the outputs of the encoder's layers; as in the config by default.
            return_dict: False for a tuple of the fields that are not None; as in the config by default. If a tuple
                has the loss, it starts with it, as transformers' Trainer expects, and has no embedding.
            class_labels: for conditional models, (batch,) integers, or one for all, or (batch, condition_dim) vectors.
                A share of them, `condition_dropout`, is ignored in training mode.

        Raises:
            ValueError: if class_labels are missing or do not fit the config, or the model is not conditional.
        """
        if class_labels is not None:
            model = self._given_images(pixel_values, class_labels)
            if self.training and self.config.condition_dropout:
                model = model._drop_conditions(pixel_values.shape[0], generator)
            return model.forward(pixel_values, return_loss, generator, output_hidden_states, return_dict)
        if not self.training and self.min_batch_size > 1 and isinstance(pixel_values, Tensor):
            return_loss = return_loss and pixel_values.shape[0] >= self.min_batch_size
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if wants_states:
            with record_outputs(self.encoder) as states:
                output = self.compute_output(pixel_values, return_loss, generator)
            output["hidden_states"] = tuple(states)
        else:
            output = self.compute_output(pixel_values, return_loss, generator)
        if self.config.return_dict if return_dict is None else return_dict:
            return output
        return tuple(value for name, value in output.items() if name != "embedding" or output.loss is None)

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """What `forward` returns, by `build_output` from the terms of the loss."""
        raise NotImplementedError(f"{type(self).__name__} must define compute_output")

    # Encoding and decoding

    def encode_features(self, pixel_values: Tensor) -> Tensor:
        """(batch, features): the encoder's output, flattened."""
        return self.encode_feature_map(pixel_values).flatten(1)

    def encode_feature_map(self, pixel_values: Tensor) -> Tensor:
        """(batch, *feature_shape): the encoder's output.

        Raises:
            ValueError: if the batch is not a tensor, has another shape or dtype, or values that are not in [0, 1], or
                not finite with `output_activation="identity"`. Values are not checked in training mode on a GPU, where
                the check would stall the device.
        """
        check_images(pixel_values, cast(tuple[int, ...], self.config.input_shape))
        if not torch.compiler.is_compiling() and (pixel_values.device.type == "cpu" or not self.training):
            (check_values if self.likelihood.is_bounded else check_finite_values)(pixel_values)
        return self.encoder(pixel_values.to(self.dtype))

    def encode(self, pixel_values: Tensor) -> Posterior:
        """The posterior q(z|x): an object with `mean`, (batch, latent_dim), and `rsample`."""
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def decode(self, latents: Tensor, class_labels: ClassLabels = None) -> Tensor:
        """(batch, *input_shape): the mean of p(x|z) for latents (batch, *latent_shape).

        `class_labels` as in `forward`, for conditional models.
        """
        check_latents(latents, self.latent_shape)
        decoder = self._given(class_labels, latents.shape[0]).decoder
        return self.likelihood.activation(decoder(self.to_decoder_coordinates(latents).to(self.dtype)))

    def to_decoder_coordinates(self, latents: Tensor) -> Tensor:
        """Return what the decoder receives for `latents` (batch, *latent_shape): here, the latents themselves."""
        return latents

    @inference
    def sample_pixel_values(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *input_shape): samples of p(x|z), with its observation noise, for latents (batch, *latent_shape)."""
        check_latents(latents, self.latent_shape)
        logits = self.decoder(self.to_decoder_coordinates(latents).to(self.dtype))
        return self.likelihood.sample(at_least_float32(logits), generator)

    def log_prob(
        self,
        pixel_values: Tensor,
        latents: Tensor,
        decoder: Callable[[Tensor], Tensor] | None = None,
        adapt: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """log p(x|z) without the likelihood's constant, in nats, and the reconstruction.

        Args:
            pixel_values: (batch, *input_shape).
            latents: (batch, *draws, *latent_shape).
            decoder: used instead of the model's own decoder, for example with its weights detached.
            adapt: whether an "optimal" observation_std may follow this batch in training mode.

        Returns:
            (batch, *draws) and (batch, *draws, *input_shape).
        """
        axes = len(self.latent_shape)
        draws = latents.shape[:-axes]
        decoder = self.decoder if decoder is None else decoder
        logits = decoder(self.to_decoder_coordinates(latents).flatten(0, -axes - 1).to(self.dtype))
        logits = at_least_float32(logits).unflatten(0, draws)
        target = pixel_values.to(logits.dtype)
        target = target.view(target.shape[0], *[1] * (len(draws) - 1), *self.config.input_shape).expand_as(logits)
        reconstruction = self.likelihood.activation(logits)
        return self.likelihood.log_prob(target, logits, reconstruction, adapt), reconstruction

    @property
    def has_prior(self) -> bool:
        """Whether the model can generate without a sampler."""
        return True

    # For users

    @inference
    def embed(
        self,
        pixel_values: Tensor,
        sample: bool = False,
        generator: torch.Generator | None = None,
        class_labels: ClassLabels = None,
    ) -> Tensor:
        """(batch, *latent_shape): posterior means, or samples with `sample=True`. `class_labels` as in `forward`."""
        check_generator(generator)
        model = self._given_images(pixel_values, class_labels)
        return model.compute_latents(model.encode(pixel_values), sample, generator)

    def compute_latents(
        self, posterior: Posterior, sample: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """The decoder's input: a posterior's mean or a sample, after the flow, normalisation or quantizer, if any."""
        return posterior.rsample(generator=generator) if sample else posterior.mean

    @inference
    def reconstruct(
        self,
        pixel_values: Tensor,
        sample: bool = False,
        generator: torch.Generator | None = None,
        class_labels: ClassLabels = None,
        target_class_labels: ClassLabels = None,
    ) -> Tensor:
        """(batch, *input_shape): the decoded embeddings; in [0, 1] with `output_activation="sigmoid"`.

        Args:
            pixel_values: (batch, *input_shape).
            sample: whether to decode samples of the posteriors instead of their means.
            generator: draws the samples.
            class_labels: for conditional models, as in `forward`.
            target_class_labels: what the embeddings are decoded with, class_labels by default. With other classes, the
                result shows the style of an image in another class.
        """
        model = self._given_images(pixel_values, class_labels)
        latents = model.embed(pixel_values, sample, generator)
        return (model if target_class_labels is None else self).decode(latents, target_class_labels)

    @inference
    def interpolate(
        self,
        start: Tensor,
        end: Tensor,
        num_steps: int = 10,
        class_labels: ClassLabels = None,
        end_class_labels: ClassLabels = None,
    ) -> Tensor:
        """(batch, num_steps, *input_shape): images along the path between two embeddings, ends included.

        Args:
            start, end: images, (batch, *input_shape) each.
            num_steps: images per path, at least 2.
            class_labels: for conditional models, as in `forward`.
            end_class_labels: those of `end`, class_labels by default. The first half of the path is decoded with those
                of `start`, the second half with those of `end`.
        """
        check_count("num_steps", num_steps, minimum=2)
        first = self._given_images(start, class_labels)
        last = first if end_class_labels is None else self._given_images(end, end_class_labels)
        a, b = first.embed(start), last.embed(end)
        if len(a) != len(b):
            raise ValueError(f"start and end must hold the same number of images, got {len(a)} and {len(b)}")
        path = self.interpolate_latents(a, b, torch.linspace(0, 1, num_steps, device=a.device, dtype=a.dtype))
        halves = [(first, path)]
        if last is not first:
            halves = zip((first, last), path.tensor_split([num_steps - num_steps // 2], dim=1), strict=True)
        return torch.cat([own.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2]) for own, z in halves], 1)

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, *latent_shape): points on the geodesic from start to end, here a straight line.

        Args:
            start, end: (batch, *latent_shape).
            t: (steps,), 0 at the start and 1 at the end.
        """
        return torch.lerp(start.unsqueeze(1), end.unsqueeze(1), t.view(1, -1, *[1] * (start.dim() - 1)))

    @inference
    def traverse(self, latents: Tensor, dimensions: Tensor, values: Tensor) -> Tensor:
        """(batch, num_dimensions, steps, *input_shape): images of latents in which one dimension at a time changes.

        Arguments as in `traverse_latents`.
        """
        check_latents(latents, self.latent_shape)
        paths = self.traverse_latents(latents, dimensions, values)
        return self.decode(paths.flatten(0, 2)).unflatten(0, paths.shape[:3])

    def traverse_latents(self, latents: Tensor, dimensions: Tensor, values: Tensor) -> Tensor:
        """(batch, num_dimensions, steps, *latent_shape): latents in which one dimension at a time takes its values.

        Args:
            latents: (batch, *latent_shape).
            dimensions: (num_dimensions,) integers, indices into one example's flattened latents.
            values: (num_dimensions, steps).
        """
        paths = latents.flatten(1)[:, None, None].repeat(1, *values.shape, 1)
        index = dimensions.view(1, -1, 1, 1).expand(*paths.shape[:-1], 1)
        paths.scatter_(-1, index, values.to(paths)[None, ..., None].expand(*paths.shape[:-1], 1))
        return paths.unflatten(-1, self.latent_shape)

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, *latent_shape): latents drawn from the prior, N(0, I) unless the method has another."""
        like = torch.empty(0, device=self.device, dtype=self.dtype)
        return randn((num_samples, self.config.latent_dim), like, generator)

    @inference
    def generate(
        self,
        num_samples: int = 1,
        sampler: LatentSampler | None = None,
        generator: torch.Generator | None = None,
        batch_size: int = 500,
        class_labels: ClassLabels = None,
        guidance_scale: float = 1.0,
    ) -> Tensor:
        """(num_samples, *input_shape): new images; in [0, 1] with `output_activation="sigmoid"`.

        Args:
            num_samples: number of images.
            sampler: a fitted sampler of latents; the model's own prior by default.
            generator: source of random numbers. A CPU generator gives the same latents on every device.
            batch_size: images decoded at a time; the images do not depend on it.
            class_labels: (num_samples,) integers, or one for all, or vectors (num_samples, condition_dim), for a
                conditional model or a sampler with classes. By default, classes are drawn with their shares in the
                training set.
            guidance_scale: as in `given`, for models with `condition_dropout` and for samplers with `class_dropout`.

        Raises:
            ValueError: if the sampler is not an object with a method `sample`, or draws latents of another shape; or
                if class_labels do not fit, or neither model nor sampler is conditional.
            NotImplementedError: if there is no sampler and the model has no prior.
        """
        check_count("batch_size", batch_size)
        check_count("num_samples", num_samples)
        class_labels = self.draw_class_labels(num_samples, generator) if class_labels is None else class_labels
        of_sampler, of_decoder = self.split_guidance(sampler, guidance_scale)
        latents = self.draw_latents(num_samples, sampler, generator, class_labels, of_sampler)
        parts = latents.split(batch_size)
        models = self.given_parts(parts, class_labels if self.is_conditional else None, of_decoder)
        return torch.cat([model.decode(part) for part, model in zip(parts, models, strict=True)])

    def split_guidance(self, sampler: LatentSampler | None, guidance_scale: float) -> tuple[float, float]:
        """The guidance scales of a sampler and of the decoder: `guidance_scale`, or 1 for one that supports no other.

        Raises:
            ValueError: if the scale is not 1 and neither supports it.
        """
        check_guidance_scale(guidance_scale)
        guides_sampler, guides_decoder = supports_guidance(sampler), bool(self.config.condition_dropout)
        if guidance_scale != 1 and not guides_sampler and not guides_decoder:
            raise ValueError(
                f"guidance_scale = {guidance_scale} needs a model that is trained with condition_dropout above 0, or "
                "a sampler with class_dropout above 0"
            )
        return guidance_scale if guides_sampler else 1.0, guidance_scale if guides_decoder else 1.0

    @inference
    def draw_latents(
        self,
        num_samples: int = 1,
        sampler: LatentSampler | None = None,
        generator: torch.Generator | None = None,
        class_labels: ClassLabels = None,
        guidance_scale: float = 1.0,
    ) -> Tensor:
        """(num_samples, *latent_shape): the latents of new images, which `generate` decodes.

        Arguments and errors as in `generate`. The prior does not depend on the class; samplers with classes do.
        """
        check_count("num_samples", num_samples)
        check_generator(generator)
        has_classes = sampler is not None and getattr(sampler, "num_classes", None) is not None
        if class_labels is not None and not has_classes and not self.is_conditional:
            raise ValueError(
                f"class_labels need a conditional model or a sampler with classes, but this {type(self).__name__} has "
                "neither num_classes nor condition_dim, and there is no sampler with classes"
            )
        if sampler is None:
            return self.sample_prior(num_samples, generator)
        own, other = self.config.num_classes, getattr(sampler, "num_classes", None)
        if own is not None and other is not None and own != other:
            raise ValueError(
                f"{type(sampler).__name__} has {other} classes, but this {type(self).__name__} has {own}: fit a "
                f"sampler with num_classes = {own}"
            )
        conditions: dict[str, Any] = {}
        if has_classes and class_labels is not None:
            conditions["class_labels"] = class_labels
        if guidance_scale != 1:
            conditions["guidance_scale"] = guidance_scale
        return self._draw_latents(sampler, num_samples, generator, **conditions).to(self.dtype)

    def _draw_latents(
        self, sampler: LatentSampler, num_samples: int, generator: torch.Generator | None, **conditions: Any
    ) -> Tensor:
        """(num_samples, *latent_shape): a sampler's latents, on the model's device.

        Raises:
            ValueError: if the sampler is not an object with a method `sample`, or draws latents of another shape.
        """
        check_sampler(sampler, self.latent_shape)
        latents = cast(Any, sampler).sample(num_samples, generator, **conditions)  # conditions if it has classes
        found, expected = getattr(latents, "shape", None), (num_samples, *self.latent_shape)
        if not isinstance(latents, Tensor) or found != expected:
            drawn = describe(latents) if found is None else f"latents of shape {tuple(found)}"
            raise ValueError(
                f"{type(sampler).__name__}.sample({num_samples}) must return a tensor of shape {expected}, got {drawn}"
            )
        return latents.to(self.device)

    @inference
    def log_likelihood(
        self,
        pixel_values: Tensor,
        num_samples: int = 100,
        generator: torch.Generator | None = None,
        batch_size: int = 500,
        class_labels: ClassLabels = None,
    ) -> Tensor:
        r"""(batch,) estimates of log p(x) in nats, constants included, by importance sampling with the posterior:
        :math:`\log \frac{1}{S} \sum_s p(x|z_s) p(z_s) / q(z_s|x)`.

        The expectation of an estimate is a lower bound of log p(x), which it reaches as S increases.

        Args:
            pixel_values: (batch, *input_shape).
            num_samples: S, the number of samples per image. The image is encoded once.
            generator: source of random numbers.
            batch_size: images decoded at a time.
            class_labels: for log p(x|y) of a conditional model, as in `forward`. Without labels, a model of classes
                returns log p(x), the logarithm of the sum over all classes of p(y) p(x|y), where p(y) is
                `class_shares`.

        Raises:
            NotImplementedError: if the method has no likelihood.
            ValueError: for an argument out of range, or labels that do not fit.
        """
        check_images(pixel_values, cast(tuple[int, ...], self.config.input_shape))
        check_count("num_samples", num_samples)
        check_count("batch_size", batch_size)
        check_generator(generator)
        if class_labels is None and self.class_shares is not None and not self.is_given:
            return self._log_joint(pixel_values, num_samples, generator, batch_size).logsumexp(1)
        parts = pixel_values.split(batch_size)
        return torch.cat(
            [
                model.estimate_log_likelihood(part, num_samples, generator, batch_size)
                for part, model in zip(parts, self.given_parts(parts, class_labels), strict=True)
            ]
        )

    def estimate_log_likelihood(
        self, pixel_values: Tensor, num_samples: int, generator: torch.Generator | None, batch_size: int
    ) -> Tensor:
        """(batch,) estimates for one batch of images; `log_likelihood` calls it with arguments that it has checked."""
        raise NotImplementedError(f"{type(self).__name__} has no likelihood, so log_likelihood is not defined for it")

    @inference
    def class_log_probs(
        self,
        pixel_values: Tensor,
        num_samples: int = 100,
        generator: torch.Generator | None = None,
        batch_size: int = 500,
    ) -> Tensor:
        """(batch, num_classes): log p(y|x) by Bayes' rule, for models of classes. Arguments as in `log_likelihood`.

        Raises:
            ValueError: if the model has no classes.
            NotImplementedError: if the method has no likelihood.
        """
        if self.class_shares is None:
            raise ValueError(f"class_log_probs needs a model with num_classes, got {self.config.num_classes}")
        return self._log_joint(pixel_values, num_samples, generator, batch_size).log_softmax(1)

    def _log_joint(self, pixel_values: Tensor, *options: Any) -> Tensor:
        """(batch, num_classes): log p(x, y). Options are the other arguments of `log_likelihood`."""
        shares = cast(Tensor, self.class_shares)
        each = [self.log_likelihood(pixel_values, *options, class_labels=k) for k in range(len(shares))]
        return torch.stack(each, 1) + shares.to(each[0].dtype).log()

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        format: Literal["gae_hub", "torch", "onnx", "diffusers"] = "gae_hub",
        **kwargs: Any,
    ):
        """Save a checkpoint, or encoder and decoder for use without gae_hub.

        Args:
            save_directory: the folder.
            format: "gae_hub" for a checkpoint that `from_pretrained` loads. The others are those of [`export_model`]:
                "diffusers" writes an autoencoder for pipelines, an `AutoencoderKL` or `VQModel` where possible.
            **kwargs: for a checkpoint, as in `PreTrainedModel.save_pretrained`; for "diffusers", `images` to measure
                the scaling factor on.

        Raises:
            ValueError: for an unknown format, a model that cannot be exported, or a checkpoint of a model that `given`
                returned, whose conditions a checkpoint does not hold.
            OSError: if the disk is full.
        """
        if format == "gae_hub" and self.is_given:
            raise ValueError(
                f"this {type(self).__name__} is a result of given(class_labels), which a checkpoint does not hold: "
                "save the model itself, or export_model(model.given(class_labels), folder)"
            )
        if format == "gae_hub":
            super().save_pretrained(save_directory, **kwargs)
        elif HOOKS.export_model is None:
            raise RuntimeError(f"format='{format}' needs gae_hub, which this copy of its code is without: install it")
        else:
            HOOKS.export_model(self, save_directory, format, **kwargs)

    # Training

    def compute_warmup(self, fraction: float) -> Tensor | float:
        """Progress of a warm-up over the first `fraction` of the training steps, from 0 to 1; 1 in evaluation."""
        return (self.progress / fraction).clamp(max=1) if fraction else 1.0

    def before_training(self, batches: Iterable[Tensor]):
        """Called by the trainer before a new run, with images of the training set, (batch, *input_shape) each.

        The images are read as `batches` is iterated. Several processes share them: each iterates its own.
        """

    def before_optimizer_step(self):
        """Called by the trainer after the backward pass. Networks that skip this step get `.grad = None` here."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Name to parameters that share optimizer settings: a partition of all trainable parameters."""
        return {"autoencoder": [p for p in self.parameters() if p.requires_grad]}

    def loss_weights(self) -> dict[str, float]:
        """Weights of the loss's terms by name; 1 for terms that are not listed."""
        return {}

    def current_loss_weights(self) -> dict[str, float | Tensor]:
        """`loss_weights` at this point of the training, with warm-ups applied."""
        return {**self.loss_weights()}

    def build_output(
        self,
        terms: dict[str, Tensor],
        posterior: Posterior | None = None,
        metrics: dict[str, Tensor] | None = None,
        return_loss: bool = True,
        **fields: Any,
    ) -> GAEOutput:
        """A `GAEOutput` whose loss is the weighted sum of the terms.

        Args:
            terms: (batch,) or scalar terms of the loss, in nats. `current_loss_weights` weights them.
            posterior: its diagnostics are added to the metrics, and in eval mode the embedding is computed from it.
                Without a posterior, the field `latents` is the embedding.
            metrics: values that are only logged. A term of weight 0 would not do: 0 times infinity is nan.
            return_loss: whether to compute the loss; otherwise only `fields` are returned.
            **fields: other fields of the output.
        """
        if not self.training:
            fields["embedding"] = fields["latents"] if posterior is None else self.compute_latents(posterior)
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
        """0: transformers' estimate is for transformers, and it visits all modules in every step."""
        return 0


class DeterministicModel(GAEPreTrainedModel):
    """Base of the methods whose encoder returns one point: the head is one linear layer on the encoder's features."""

    head: nn.Linear

    def setup(self, config: GAEConfig):
        self.head = nn.Linear(prod(self.feature_shape), config.latent_dim)

    def encode(self, pixel_values: Tensor) -> Posterior:
        return PointMass(at_least_float32(self.head(self.encode_features(pixel_values))))

    @property
    def has_prior(self) -> bool:
        return type(self).sample_prior is not DeterministicModel.sample_prior

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} has no prior: fit a sampler to its latents, "
            "sampler = GaussianMixtureSampler().fit_to(model, dataset), "
            "and pass it as generate(..., sampler=sampler)"
        )


def register_model(config_class: type[GAEConfig], model_class: type[GAEPreTrainedModel]):
    """Register a method with gae_hub, `AutoConfig` and `AutoModel`. A registered model_type stays as it is.

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


for _network in (*NETWORKS, *PAPER_NETWORKS, *DIFFUSERS_NETWORKS, VISION_ENCODER, VIT_DECODER):
    register_backbone(*_network)
