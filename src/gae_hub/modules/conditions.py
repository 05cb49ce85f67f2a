r"""Conditions: class labels or vectors that encoder and decoder receive beside their input.

A conditional model is p(x | z, y) p(z) with the posterior q(z | x, y), as in Learning Structured Output Representation
using Deep Conditional Generative Models (Sohn, Lee & Yan, 2015). A prior N(mu(y), diag(sigma(y)^2)) would add
nothing: z = mu(y) + sigma(y) * u is an affine map, which encoder and decoder can contain, and the KL does not change.

Each network embeds the condition by weights of its own. "concatenation" appends the embedding to the network's input:
to vectors as further entries, to the images of an encoder as one further channel, to maps of latents as further
channels. "film" scales and shifts the outputs of the hidden layers instead (FiLM: Visual Reasoning with a General
Conditioning Layer; Perez, Strub, de Vries, Dumoulin & Courville, 2018, arXiv:1709.07871).

The condition of an example may be missing: it then has an embedding of its own, which is trained by dropping
conditions at random (Classifier-Free Diffusion Guidance; Ho & Salimans, 2022, arXiv:2207.12598).
"""

__all__ = [
    "ConditionFields",
    "ConditionalNetwork",
    "build_conditional",
    "check_conditions",
    "copy_shallow",
    "drop_conditions",
]

import inspect
from collections.abc import Callable
from math import prod
from typing import Any, Literal, Protocol, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from gae_hub.core.argument_checks import describe
from gae_hub.core.class_labels import check_class_labels

from .backbones import Modulations, Sizes, hidden_widths
from .noise import rand

Module = TypeVar("Module", bound=nn.Module)


class ConditionFields(Protocol):
    """The fields of a model's config that this file uses."""

    num_classes: int | None
    condition_dim: int | None
    condition_embedding_dim: int
    condition_injection: Literal["concatenation", "film"]
    condition_dropout: float | int


class ConditionEmbedding(nn.Module):
    """Embeds conditions: labels (num,), -1 if missing, or vectors (num, condition_dim), nan if missing."""

    def __init__(self, config: ConditionFields):
        super().__init__()
        size = config.condition_embedding_dim
        if config.num_classes is not None:
            self.project = nn.Embedding(config.num_classes, size)
        else:
            self.project = nn.Linear(cast(int, config.condition_dim), size)
        self.missing = nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.missing)

    def forward(self, conditions: Tensor) -> Tensor:
        """(num, condition_embedding_dim)."""
        if conditions.is_floating_point():
            is_missing = conditions.isnan().any(1)
            known = conditions.nan_to_num().to(self.missing.dtype)
        else:
            is_missing, known = conditions < 0, conditions.clamp(min=0)
        return torch.where(is_missing.unsqueeze(1), self.missing, self.project(known))


class Concatenation(nn.Module):
    """Appends embeddings to inputs (num, *shape).

    Args:
        embedding_dim: size of the embeddings.
        shape: shape of one input, (dim,) or (channels, *sizes).
        as_one_channel: whether a map receives one channel, a linear map of the embedding to its sizes; otherwise it
            receives the entries of the embedding, each as a constant channel.
    """

    def __init__(self, embedding_dim: int, shape: Sizes, as_one_channel: bool):
        super().__init__()
        first, *sizes = shape
        as_one_channel = as_one_channel and bool(sizes)
        self.sizes = tuple(sizes)
        self.to_channel = nn.Linear(embedding_dim, prod(sizes)) if as_one_channel else None
        self.shape = (first + (1 if as_one_channel else embedding_dim), *sizes)

    def forward(self, inputs: Tensor, embedding: Tensor) -> Tensor:
        if self.to_channel is not None:
            appended = self.to_channel(embedding).unflatten(1, (1, *self.sizes))
        else:
            appended = embedding.view(*embedding.shape, *[1] * len(self.sizes)).expand(-1, -1, *self.sizes)
        return torch.cat([inputs, appended.to(inputs.dtype)], 1)


class ZeroLinear(nn.Linear):
    """A linear layer that starts with zeros."""

    def reset_parameters(self):
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class FiLM(nn.Module):
    """Scales, minus 1, and shifts of hidden layers with `widths` channels. All start at 0, which changes nothing."""

    def __init__(self, embedding_dim: int, widths: Sizes):
        super().__init__()
        self.layers = nn.ModuleList(ZeroLinear(embedding_dim, 2 * width) for width in widths)

    def forward(self, embedding: Tensor) -> Modulations:
        return [layer(embedding).chunk(2, dim=1) for layer in self.layers]


class ConditionalNetwork(nn.Module):
    """A network that receives the condition of each example beside its input. `given` sets the conditions.

    Args:
        config: the model's config.
        shape: shape of one input, without the condition.
        build: from the shape of one input of the network, with what is appended, to the network.
        injection: "concatenation" or "film".
        is_encoder: whether inputs are examples, one for each condition; a decoder may receive several latents for
            each, next to each other.

    Raises:
        ValueError: for "film", if the network does not support it.
    """

    embedding: ConditionEmbedding
    conditions: Tensor | None = None  # (num,) labels or (num, condition_dim) vectors; one row holds for all inputs
    guidance_scale: float = 1.0

    def __init__(
        self,
        config: ConditionFields,
        shape: Sizes,
        build: Callable[[tuple[int, ...]], nn.Module],
        injection: Literal["concatenation", "film"],
        is_encoder: bool = False,
    ):
        super().__init__()
        self.is_encoder = is_encoder
        self.embedding = ConditionEmbedding(config)
        size = config.condition_embedding_dim
        if injection == "film":
            self.network = build(tuple(shape))
            self.film = FiLM(size, _film_widths(self.network, shape))
        else:
            self.concatenation = Concatenation(size, shape, as_one_channel=is_encoder)
            self.network = build(self.concatenation.shape)
        self.injection = injection

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of an encoder's features of one example."""
        return cast(tuple[int, ...], self.network.feature_shape)

    @property
    def net(self) -> Any:
        """Layers of the network, if it has this attribute."""
        return getattr(self.network, "net", None)

    def given(self, conditions: Tensor, guidance_scale: float = 1.0) -> Self:
        """This network with conditions. It shares all weights, and this object does not change."""
        return copy_shallow(self, conditions=conditions, guidance_scale=guidance_scale)

    def forward(self, inputs: Tensor) -> Tensor:
        conditions = self.conditions
        if conditions is None:
            raise ValueError(
                "class_labels is missing: this model is conditional. Pass class_labels=..., one for each example"
            )
        num, rows = inputs.shape[0], conditions.shape[0]
        if rows != 1 and (num != rows if self.is_encoder else num % rows):
            raise ValueError(f"class_labels must be one or one for each example, got {rows} for {num} examples")
        embedding = self.embedding(conditions)
        embedding = embedding.expand(num, -1) if rows == 1 else embedding.repeat_interleave(num // rows, 0)
        outputs = self.run(inputs, embedding)
        if self.guidance_scale == 1:
            return outputs
        missing = self.embedding(_as_missing(conditions[:1]))
        without = self.run(inputs, missing.expand_as(embedding))
        return torch.lerp(without, outputs, self.guidance_scale)

    def run(self, inputs: Tensor, embedding: Tensor) -> Tensor:
        """Outputs of the network for inputs (num, *shape) and embeddings (num, condition_embedding_dim)."""
        if self.injection == "film":
            return self.network(inputs, self.film(embedding))
        return self.network(self.concatenation(inputs, embedding))


def _film_widths(network: nn.Module, shape: Sizes) -> list[int]:
    """Channels of the hidden layers that FiLM modulates, from the input inwards."""
    is_supported = "modulations" in inspect.signature(network.forward).parameters
    widths = hidden_widths(network, shape) if is_supported else []
    if not widths:
        why = "has no hidden layers" if is_supported else "has no argument 'modulations'"
        raise ValueError(
            f"condition_injection is 'film', but {type(network).__name__} {why}; choose 'concatenation', or one of "
            "the networks 'mlp', 'conv', 'resnet', 'paper_conv' and 'paper_resnet'"
        )
    return widths


def build_conditional(
    config: ConditionFields,
    shape: Sizes,
    build: Callable[[tuple[int, ...]], nn.Module],
    injection: Literal["concatenation", "film"] = "concatenation",
    is_encoder: bool = False,
) -> nn.Module:
    """`build(shape)`, for a conditional model in a [`ConditionalNetwork`], which has the same arguments."""
    if config.num_classes is None and config.condition_dim is None:
        return build(tuple(shape))
    return ConditionalNetwork(config, shape, build, injection, is_encoder)


def copy_shallow(module: Module, **attributes: Any) -> Module:
    """A shallow copy of a module with other attributes: both have the same parameters, buffers and submodules.

    `copy.copy` would do the same, but torch.compile cannot trace it.
    """
    other = object.__new__(type(module))
    other.__dict__.update(module.__dict__)
    other.__dict__.update(attributes)
    return other


def check_conditions(
    class_labels: Any,
    config: ConditionFields,
    num_examples: int | None,
    device: torch.device,
    check_values: bool = True,
) -> Tensor:
    """Return conditions of examples as a tensor on a device: (num,) labels, or (num, condition_dim) vectors.

    Args:
        class_labels: one integer for all examples, or (num,); vectors (condition_dim,) or (num, condition_dim).
        config: the model's config.
        num_examples: number of examples; None for any.
        device: where the result is.
        check_values: whether to check the range of labels, which waits for a GPU.

    Raises:
        ValueError: if labels or vectors do not fit the config or the number of examples, or one is missing although
            the model is not trained for that.
    """
    may_miss = config.condition_dropout > 0
    if config.num_classes is not None:
        return check_class_labels(
            class_labels, config.num_classes, num_examples, device, allow_missing=may_miss, check_values=check_values
        )
    dim = cast(int, config.condition_dim)
    expected = f"class_labels must be vectors of condition_dim = {dim} numbers, one or one for each example"
    try:
        vectors = torch.as_tensor(class_labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{expected}, got {describe(class_labels)}") from error
    if vectors.dim() == 1:
        vectors = vectors.unsqueeze(0)
    if vectors.dim() != 2 or vectors.shape[1] != dim or vectors.shape[0] not in (1, num_examples or len(vectors)):
        wanted = "" if num_examples is None else f" for {num_examples} examples"
        raise ValueError(f"{expected}, got shape {tuple(vectors.shape)}{wanted}")
    vectors = vectors.to(device=device, dtype=torch.float32)
    if check_values and (vectors.isinf().any() or (vectors.isnan().any() and not may_miss)):
        raise ValueError(
            "class_labels hold nan or infinite values; nan marks a missing vector, for models with condition_dropout"
        )
    return vectors


def drop_conditions(
    conditions: Tensor, dropout: float, num_examples: int, generator: torch.Generator | None
) -> Tensor:
    """(num_examples, ...) conditions, each of which is missing with probability `dropout`."""
    conditions = conditions.expand(num_examples, *conditions.shape[1:])
    shape = (num_examples, *[1] * (conditions.dim() - 1))
    is_dropped = rand(shape, torch.empty(0, device=conditions.device), generator) < dropout
    return torch.where(is_dropped, _as_missing(conditions), conditions)


def _as_missing(conditions: Tensor) -> Tensor:
    """Missing conditions of the same shape."""
    return torch.full_like(conditions, torch.nan if conditions.is_floating_point() else -1)
