"""The class that a visitor chooses, for conditional models and for samplers with classes."""

__all__ = ["EACH_ITS_OWN", "LARGEST_GUIDANCE", "NO_CLASS", "ClassChoice", "Classes", "read_example_classes"]

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.class_labels import supports_guidance
from ..models.base import GAEPreTrainedModel
from ..samplers.base import GAESampler
from .example_sets import ExampleSet
from .request_checks import check_integer, check_number

NO_CLASS = -1
"""The class label of an image without a class, for models that are trained with `condition_dropout`."""

LARGEST_GUIDANCE = 5
"""Largest guidance_scale that can be chosen."""


@dataclass(frozen=True)
class ClassChoice:
    """What a visitor chose.

    Args:
        class_label: class of all images; `NO_CLASS` for none; None for each image its own.
        guidance_scale: as for `generate`.
    """

    class_label: int | None = None
    guidance_scale: float = 1.0

    def apply(self, own: Tensor | None) -> Tensor | None:
        """(num,) labels to decode images with, whose own labels are (num,); None for models without classes."""
        return own if own is None or self.class_label is None else torch.full_like(own, self.class_label)


EACH_ITS_OWN = ClassChoice()
"""No class is chosen."""


@dataclass(frozen=True)
class Classes:
    """The classes that visitors can choose.

    Args:
        of_model: number of classes of the model; 0 without any.
        of_samplers: number of classes of its samplers.
        guides_model: whether the model supports a guidance_scale, and images without a class.
        guides_samplers: whether a sampler supports a guidance_scale.
    """

    of_model: int
    of_samplers: int
    guides_model: bool
    guides_samplers: bool

    @classmethod
    def find(cls, model: GAEPreTrainedModel, samplers: Collection[GAESampler | None]) -> "Classes":
        """Find the classes of a model and its samplers."""
        return cls(
            model.config.num_classes or 0,
            max((getattr(sampler, "num_classes", None) or 0 for sampler in samplers), default=0),
            bool(model.config.condition_dropout),
            any(map(supports_guidance, samplers)),
        )

    def accept(self, parameter: str, of_samples: bool) -> bool:
        """Whether a request may set a parameter. `of_samples` is as for `check`."""
        if parameter == "class_label":
            return bool(self.of_model or (of_samples and self.of_samplers))
        return parameter != "guidance_scale" or self.guides_model or (of_samples and self.guides_samplers)

    def check(self, class_label: Any, guidance_scale: Any, of_samples: bool = False) -> ClassChoice:
        """The choice of a request.

        Args:
            class_label: as in `ClassChoice`.
            guidance_scale: as in `ClassChoice`.
            of_samples: whether the request asks for samples, which a sampler with classes draws for any model.

        Raises:
            ValueError: if there are no such classes, or the scale is out of range or not supported.
        """
        if class_label is not None:
            if not self.accept("class_label", of_samples):
                raise ValueError("class_label must be left out, as this model has no classes")
            lowest = NO_CLASS if self.of_model and self.guides_model else 0
            class_label = check_integer("class_label", class_label, lowest, (self.of_model or self.of_samplers) - 1)
        scale = check_number("guidance_scale", guidance_scale, 0, LARGEST_GUIDANCE)
        if scale != 1 and not self.accept("guidance_scale", of_samples):
            raise ValueError("guidance_scale must be left out, as this model was trained without condition_dropout")
        return ClassChoice(class_label, scale)


def read_example_classes(model: GAEPreTrainedModel, examples: ExampleSet) -> Tensor | None:
    """(num,) classes of examples that a conditional model needs; None for other models.

    Raises:
        ValueError: if labels are not classes of the model, or are missing and the model was not trained for that.
    """
    num_classes = model.config.num_classes
    if num_classes is None:
        return None
    labels = torch.tensor(examples.labels or [NO_CLASS] * len(examples))
    wrong = labels[(labels < (NO_CLASS if model.config.condition_dropout else 0)) | (labels >= num_classes)]
    if len(wrong):
        found = "no label" if wrong[0] == NO_CLASS else f"the label {wrong[0]}"
        raise ValueError(
            f"an example ({examples.origin}) has {found}, but this {type(model).__name__} needs a class from 0 to "
            f"{num_classes - 1}: write the Space with the data of its training, gae-hub space MODEL --dataset DATA"
        )
    return labels
