"""Conditions of models: class labels or vectors that a model is given. Base of every autoencoder."""

__all__ = ["ClassLabels", "ConditionalModel"]

from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeAlias, cast

import torch
from torch import Tensor

from gae_hub.core.class_labels import check_guidance_scale, draw_class_labels
from gae_hub.core.hub_model import HubModel
from gae_hub.modules.conditions import (
    ConditionalNetwork,
    ConditionFields,
    check_conditions,
    copy_shallow,
    drop_conditions,
)
from gae_hub.modules.inputs import check_images

ClassLabels: TypeAlias = "Tensor | Sequence[int] | int | None"
"""Integers, or vectors of floats, of examples: one for each, or one for all."""


class _Config(ConditionFields, Protocol):
    """The fields of a model's config that this file uses."""

    input_shape: list[int] | tuple[int, ...]

    @property
    def is_conditional(self) -> bool: ...


class ConditionalModel(HubModel):
    """A model whose networks may be given conditions, see modules/conditions.py.

    The networks that receive them are attributes of the class `ConditionalNetwork`. A method needs no code of its own:
    it calls its networks as always, on the copy of itself that `given` returns.
    """

    class_shares: Tensor | None  # (num_classes,) shares of the classes in the training set; uniform until it is known

    supports_conditions = True  # False if a part of the method would need the condition and does not receive it

    @property
    def _fields(self) -> _Config:
        return cast(_Config, self.config)  # transformers would read an annotation of `config` as the config's class

    @property
    def is_conditional(self) -> bool:
        """Whether the model is given a label or a vector of each example."""
        return self._fields.is_conditional

    @property
    def is_given(self) -> bool:
        """Whether this model has conditions: it is a result of `given`."""
        return getattr(self.encoder, "conditions", None) is not None

    def check_given(self, user: str, remedy: str):
        """Raise ValueError if this model needs class_labels, for code that has none.

        Args:
            user: what has no labels, the beginning of the message.
            remedy: what to do instead, its end.
        """
        if self.is_conditional and not self.is_given:
            raise ValueError(f"{user} has no class_labels, but this {type(self).__name__} is conditional: {remedy}")

    def given(self, class_labels: ClassLabels, guidance_scale: float = 1.0) -> Self:
        """This model with conditions: every method of the result works as that of a model without.

        The result shares all weights, and this object does not change.

        Args:
            class_labels: one integer for all examples, or (num,) integers, -1 if missing; or vectors (num,
                condition_dim) or (condition_dim,), of nan if missing. What is missing must be trained by
                `condition_dropout`.
            guidance_scale: the decoder's output is `(1 - guidance_scale) * without + guidance_scale * given` the
                condition, before the activation: 1 for no guidance, above 1 to exaggerate what is typical.

        Raises:
            ValueError: if this model is not conditional, class_labels do not fit its config, or guidance needs
                `condition_dropout`.
        """
        return self._given(class_labels, None, guidance_scale)

    def _given(self, class_labels: Any, num_examples: int | None, guidance_scale: float = 1.0) -> Self:
        """As `given`, for `num_examples` examples; this model itself if there are no labels."""
        check_guidance_scale(guidance_scale)
        if class_labels is None and guidance_scale == 1:
            return self
        if class_labels is None and not self.is_given:
            raise ValueError(f"guidance_scale = {guidance_scale} needs class_labels, got None")
        if not self.is_conditional:
            raise ValueError(
                f"this {type(self).__name__} is not conditional, so it has no class_labels: num_classes and "
                "condition_dim are None in its config"
            )
        if guidance_scale != 1 and not self._fields.condition_dropout:
            raise ValueError(
                f"guidance_scale = {guidance_scale} needs a model that is trained with condition_dropout above 0"
            )
        if class_labels is None:
            own = cast(ConditionalNetwork, self.encoder).conditions
            return self._with_conditions(cast(Tensor, own), guidance_scale)
        check_values = not torch.compiler.is_compiling() and (self.device.type == "cpu" or not self.training)
        conditions = check_conditions(class_labels, self._fields, num_examples, self.device, check_values)
        return self._with_conditions(conditions, guidance_scale)

    def _given_images(self, pixel_values: Tensor, class_labels: Any) -> Self:
        """This model with the conditions of images."""
        if class_labels is None:
            return self
        check_images(pixel_values, cast(tuple[int, ...], self._fields.input_shape))
        return self._given(class_labels, pixel_values.shape[0])

    def given_parts(self, parts: Sequence[Tensor], class_labels: Any, guidance_scale: float = 1.0) -> list[Self]:
        """The model with the conditions of each part of a batch, given those of the whole batch."""
        num_examples = sum(map(len, parts))
        model = self._given(class_labels, num_examples, guidance_scale)
        if class_labels is None:
            return [model] * len(parts)
        conditions = cast(Tensor, cast(ConditionalNetwork, model.encoder).conditions)
        conditions = conditions.expand(num_examples, *conditions.shape[1:])
        return [self._with_conditions(own, guidance_scale) for own in conditions.split([len(part) for part in parts])]

    def _with_conditions(self, conditions: Tensor, guidance_scale: float = 1.0) -> Self:
        parts = {
            name: part.given(conditions, guidance_scale if name == "decoder" else 1.0)
            for name, part in self._modules.items()
            if isinstance(part, ConditionalNetwork)
        }
        return copy_shallow(self, _modules={**self._modules, **parts})

    def _drop_conditions(self, num_examples: int, generator: torch.Generator | None) -> Self:
        """This model with a share `condition_dropout` of its conditions missing."""
        conditions = cast(Tensor, cast(ConditionalNetwork, self.encoder).conditions)
        dropout = self._fields.condition_dropout
        return self._with_conditions(drop_conditions(conditions, dropout, num_examples, generator))

    def draw_class_labels(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor | None:
        """(num_samples,) classes, drawn with their shares in the training set; None for models that need no label."""
        if self.class_shares is None or self.is_given:
            return None
        return draw_class_labels(self.class_shares, num_samples, generator, self.device)

    @torch.no_grad()
    def set_class_shares(self, class_labels: Tensor):
        """Set `class_shares`, p(y), from the labels of a training set, (num,) integers. The trainer calls it.

        Labels of -1, which are missing, are left out.
        """
        if self.class_shares is not None:
            known = class_labels[class_labels >= 0]
            counts = known.bincount(minlength=len(self.class_shares))
            self.class_shares.copy_(counts / max(1, len(known)))
