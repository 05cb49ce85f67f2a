"""The base of the samplers that model the codes of quantized models."""

__all__ = ["CodeNetwork", "CodeSampler", "CodeSamplerConfig"]

from functools import reduce
from math import prod
from typing import Any, Protocol, Self, cast

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor
from transformers.utils.generic import can_return_tuple

from ..core.argument_checks import check_count, describe
from ..core.class_labels import check_class_labels, choose_class_labels, refuse_class_labels
from ..data.class_labels import read_class_labels
from ..data.embeddings import embed_dataset
from ..models.base import GAEOutput, GAEPreTrainedModel, inference
from ..models.quantized import QuantizedModel
from ..modules.noise import rand
from .base import require_value
from .latent_kinds import LatentKind
from .learned import LatentDataset, LearnedSampler, LearnedSamplerConfig

MAX_AXES = 3
_MAX_MAPS = 512  # maps sampled at a time


class CodeNetwork(Protocol):
    """A module that knows the probability of each code given those before it."""

    def __call__(self, codes: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(batch, *sizes, levels, num_embeddings) logits for codes (batch, *sizes, levels)."""
        ...

    def sample(self, uniform: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """(batch, *sizes, levels) codes by the inverse of the distribution function, for `uniform` of this shape."""
        ...


@strict
class CodeSamplerConfig(LearnedSamplerConfig):
    """Fields of every sampler of codes.

    Args:
        hidden_size: number of channels.
        num_hidden_layers: number of layers.
        num_classes: number of classes of a density conditioned on the class, or None.
        num_embeddings, num_levels, code_shape: number of values of a code, number of codes of a token (of its groups
            and levels), and sizes of one example's codes. `fit` sets them.
    """

    hidden_size: int = 64
    num_hidden_layers: int = 6
    num_classes: int | None = None
    num_embeddings: int | None = None
    num_levels: int = 1
    code_shape: list[int] | tuple[int, ...] | None = None

    set_by_fit = (*LearnedSamplerConfig.set_by_fit, "num_embeddings", "num_levels", "code_shape")

    def validate_network(self):
        self.require_positive("hidden_size", "num_hidden_layers")
        if self.num_classes is not None:
            self.require_positive("num_classes")


class CodeSampler(LearnedSampler):
    """Base of the samplers that draw codes, and return the sums of their vectors. A subclass defines `build_network`.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.
    """

    config: CodeSamplerConfig
    network: CodeNetwork
    codebooks: Tensor  # (num_levels, num_embeddings, dim)
    class_shares: Tensor  # (num_classes,) shares of the classes in the training set

    config_class = CodeSamplerConfig
    _keep_in_fp32_modules_strict = [*LearnedSampler._keep_in_fp32_modules_strict, "codebooks", "class_shares"]
    latent_kinds: tuple[LatentKind, ...] = ("codes",)
    draws_codes = True  # a quantized model decodes these samples without quantizing them again

    def build_network(self, config: Any, num_embeddings: int, code_shape: tuple[int, ...]) -> CodeNetwork:
        """The network, for `config.num_levels` codes with `num_embeddings` values at each position of `code_shape`."""
        raise NotImplementedError(f"{type(self).__name__} must define build_network")

    def allocate(self, config: CodeSamplerConfig):
        num_embeddings = require_value(config.num_embeddings, "num_embeddings")
        dim = require_value(config.latent_shape, "latent_shape")[0]
        self.register_buffer("codebooks", torch.zeros(config.num_levels, num_embeddings, dim))
        code_shape = tuple(require_value(config.code_shape, "code_shape"))
        self.network = self.build_network(config, num_embeddings, code_shape)
        if config.num_classes is not None:
            self.register_buffer("class_shares", torch.full((config.num_classes,), 1 / config.num_classes))

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
        """Train the density on a model's codes of a data set, and on its labels if the config has `num_classes`.

        Arguments are as in [`LearnedSampler`].

        Raises:
            ValueError: if the model has no codes, or there is no data set, or no labels where they are needed.
        """
        self.check_model(model)
        self._require_dataset(dataset)
        codebooks = cast(QuantizedModel, model).code_vectors
        for prefix, images in (("", dataset), ("validation_", validation_dataset)):
            if images is not None:
                training[f"{prefix}codes"] = embed_dataset(model, images, progress=progress, output="codes")
                if self.num_classes is not None:
                    training[f"{prefix}class_labels"] = read_class_labels(images, self.num_classes)
        return self.fit(codebooks=codebooks.detach(), progress=progress, **training)

    @torch.no_grad()
    def fit(
        self,
        codes: Tensor,
        codebooks: Tensor,
        class_labels: Tensor | None = None,
        validation_codes: Tensor | None = None,
        validation_class_labels: Tensor | None = None,
        **training: Any,
    ) -> Self:
        """Train the density of codes. If this fails or is interrupted, the sampler stays as it was.

        Args:
            codes: (num,) integers, or (num, *sizes) for maps with one to three axes, with a last axis of levels if
                there are several codebooks.
            codebooks: (num_embeddings, dim), the vectors of the codes; or (levels, num_embeddings, dim), whose vectors
                are summed over the levels.
            class_labels: (num,) integers, if the config has `num_classes`.
            validation_codes, validation_class_labels: the same for the validation set, to select the best weights on.
            **training: as for [`LearnedSampler`].

        Returns:
            The sampler itself.

        Raises:
            ValueError: if codes are not integers of the codebook, or differ in shape from those for validation; if
                labels are missing or not classes; or for an unknown field of the training arguments.
        """
        if not isinstance(codebooks, Tensor) or codebooks.dim() not in (2, 3) or not codebooks.is_floating_point():
            found = tuple(codebooks.shape) if isinstance(codebooks, Tensor) else describe(codebooks)
            raise ValueError(
                f"codebooks must be floats (num_embeddings, dim) or (levels, num_embeddings, dim), got {found}"
            )
        config, has_levels = self.config, codebooks.dim() == 3
        codebooks = codebooks if has_levels else codebooks.unsqueeze(0)
        num_axes = _check_integers(codes).dim() - 1 - has_levels
        if not 0 <= num_axes <= MAX_AXES:
            raise ValueError(
                f"codes must be integers (num[, *sizes]{', levels' if has_levels else ''}) with at most {MAX_AXES} "
                f"sizes, got shape {tuple(codes.shape)}"
            )
        spatial = tuple(codes.shape[1 : 1 + num_axes])
        with self._restore_on_error():
            config.num_levels, config.num_embeddings, dim = codebooks.shape
            config.code_shape = spatial or (1, 1)
            config.latent_shape = (dim, *spatial)
            config.latent_dim = prod(config.latent_shape)
            examples = self._prepare_examples(codes, class_labels)
            validation = None
            if validation_codes is None:
                refuse_class_labels(validation_class_labels, "validation_codes", "validation_class_labels")
            else:
                validation = LatentDataset(
                    **self._prepare_examples(validation_codes, validation_class_labels, "validation_codes")
                )
            self.reallocate(codes.device)
            self.codebooks.copy_(codebooks)
            if config.num_classes is not None:
                counts = examples["class_labels"].bincount(minlength=config.num_classes)
                self.class_shares.copy_(counts / counts.sum())
            self.train_on(LatentDataset(**examples), validation, **training)
        return self.eval()

    def _prepare_examples(
        self, codes: Tensor, class_labels: Tensor | int | None, name: str = "codes"
    ) -> dict[str, Tensor]:
        """Check codes and class_labels, and return them as arguments of `forward`. `name` is the argument's name."""
        config = self.config
        num_embeddings = require_value(config.num_embeddings, "num_embeddings")
        spatial = tuple(require_value(config.latent_shape, "latent_shape"))[1:]
        with_levels = (*spatial, config.num_levels)
        if tuple(_check_integers(codes, name).shape[1:]) not in (with_levels, *([spatial] * (config.num_levels == 1))):
            shape = spatial if config.num_levels == 1 else with_levels
            raise ValueError(
                f"{name} has shape {tuple(codes.shape)}, but the sampler is fitted to codes of shape {shape} each"
            )
        if codes.numel() == 0 or codes.min() < 0 or codes.max() >= num_embeddings:
            found = f"[{codes.min()}, {codes.max()}]" if codes.numel() else "no codes"
            raise ValueError(f"{name} must lie in [0, {num_embeddings}), the indices of the codebook, got {found}")
        code_shape = require_value(config.code_shape, "code_shape")
        examples = {"codes": codes.long().reshape(len(codes), *code_shape, config.num_levels)}
        if config.num_classes is not None:
            examples["class_labels"] = check_class_labels(class_labels, config.num_classes, len(codes), codes.device)
        else:
            refuse_class_labels(class_labels)
        return examples

    @can_return_tuple
    def forward(self, codes: Tensor, class_labels: Tensor | None = None, return_loss: bool = True) -> GAEOutput:
        """The loss: the mean of -log p(codes) over codes (batch, *sizes, levels), in nats per map."""
        if not return_loss:
            return GAEOutput()
        logits = self.network(codes, class_labels)
        each = F.cross_entropy(logits.flatten(0, -2), codes.flatten(), reduction="none").view(len(codes), -1)
        return self.build_output({"negative_log_likelihood": each.sum(1)})

    @inference
    def code_log_prob(self, codes: Tensor, class_labels: Tensor | int | None = None) -> Tensor:
        """(num,) log probability of codes, in nats.

        Args:
            codes: as for `fit`.
            class_labels: (num,) classes, or one for all. By default, this is the probability under the mixture of all
                classes, with their shares in the training set.
        """
        self._require_fitted()
        if class_labels is not None or self.config.num_classes is None:
            return self._log_prob_given(codes, class_labels)
        joint = [
            self._log_prob_given(codes, label) + share.log()
            for label, share in enumerate(self.class_shares)
            if share > 0
        ]
        return torch.stack(joint).logsumexp(0)

    def _log_prob_given(self, codes: Tensor, class_labels: Tensor | int | None) -> Tensor:
        """(num,) log probability of codes given their classes, if there are classes."""
        examples = self._prepare_examples(codes, class_labels)
        log_p = self.network(**examples).log_softmax(-1)
        return log_p.gather(-1, examples["codes"].unsqueeze(-1)).flatten(1).sum(1)

    # Sampling

    def draw_latents(
        self, num_samples: int, generator: torch.Generator | None, class_labels: Tensor | int | None = None
    ) -> Tensor:
        codes = self.draw_codes(num_samples, generator, class_labels)
        levels = [book[own] for book, own in zip(self.codebooks, codes.unbind(-1), strict=True)]
        return reduce(torch.add, levels).movedim(-1, 1).flatten(1)

    @inference
    def draw_codes(
        self, num_samples: int, generator: torch.Generator | None = None, class_labels: Tensor | int | None = None
    ) -> Tensor:
        """(num_samples, *sizes, levels) sampled codes. Codes that are not maps have the sizes (1, 1).

        Args:
            num_samples: number of samples.
            generator: source of random numbers. With a CPU generator, codes are the same on every device.
            class_labels: (num_samples,) classes, or one class for all. By default they are drawn with their shares in
                the training set.

        Raises:
            ValueError: if labels are not classes, or the sampler was fitted without labels.
        """
        self._require_fitted()
        check_count("num_samples", num_samples)
        config = self.config
        code_shape = require_value(config.code_shape, "code_shape")
        uniform = rand((num_samples, *code_shape, config.num_levels), self.codebooks, generator)
        shares = None if config.num_classes is None else self.class_shares
        classes = choose_class_labels(class_labels, shares, num_samples, generator, self.device)
        parts = [None] * -(-num_samples // _MAX_MAPS) if classes is None else classes.split(_MAX_MAPS)
        return torch.cat([self.network.sample(u, own) for u, own in zip(uniform.split(_MAX_MAPS), parts, strict=True)])


def _check_integers(codes: Any, name: str = "codes") -> Tensor:
    """Return codes unless they are not a tensor of integers, which raises ValueError."""
    if not isinstance(codes, Tensor) or codes.is_floating_point() or codes.dtype == torch.bool:
        found = f"dtype {codes.dtype}" if isinstance(codes, Tensor) else describe(codes)
        raise ValueError(
            f"{name} must be a tensor of integers, got {found}: model.encode_codes(images) or embed_dataset(model, "
            'dataset, output="codes") returns them'
        )
    return codes
