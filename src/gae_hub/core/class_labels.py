"""Class labels as arguments: integers from 0, one for each example, or one for all."""

__all__ = [
    "check_class_labels",
    "check_guidance_scale",
    "choose_class_labels",
    "draw_class_labels",
    "refuse_class_labels",
    "supports_guidance",
]

from math import inf
from typing import Any

import torch
from torch import Tensor

from .argument_checks import describe, generator_device


def check_class_labels(
    class_labels: Any,
    num_classes: int,
    num_examples: int | None,
    device: torch.device | None = None,
    allow_missing: bool = False,
    name: str = "class_labels",
    check_values: bool = True,
) -> Tensor:
    """Return class labels as a tensor (num_examples,) of int64.

    Args:
        class_labels: (num_examples,) integers in [0, num_classes), as a tensor, array or list; or one integer for all.
        num_classes: number of classes.
        num_examples: number of examples. With None, there may be any number, and one integer becomes (1,).
        device: device of the result; by default where the labels are.
        allow_missing: whether -1 is accepted, for an example without a label.
        name: the argument's name, for the message.
        check_values: whether to check that labels are classes, which waits for a GPU.

    Raises:
        ValueError: if they are not integers, are not classes, or are neither one nor `num_examples`.
    """
    lowest = -1 if allow_missing else 0
    expected = f"integers in [0, {num_classes}){', or -1 for a missing label' if allow_missing else ''}"
    if class_labels is None:
        raise ValueError(f"{name} must be {expected}, got None")
    try:
        labels = torch.as_tensor(class_labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be {expected}, got {describe(class_labels)}") from error
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name} must be {expected}, got dtype {labels.dtype}")
    labels = labels.to(device=device, dtype=torch.long)  # before the comparison with -1, which is none of uint8
    if labels.dim() > 1 or (labels.dim() == 1 and num_examples not in (None, labels.shape[0])):
        number = "example" if num_examples is None else f"of {num_examples} examples"
        raise ValueError(f"{name} must be one integer, or one for each {number}, got shape {tuple(labels.shape)}")
    if check_values and labels.numel() and not (labels.min() >= lowest and labels.max() < num_classes):
        wrong = labels[(labels < lowest) | (labels >= num_classes)].unique().tolist()
        raise ValueError(f"{name} must be {expected}, got {', '.join(map(str, wrong[:5]))}")
    return labels.reshape(-1) if num_examples is None else labels.expand(num_examples)


def refuse_class_labels(class_labels: Any, examples: str | None = None, name: str = "class_labels"):
    """Raise ValueError for labels that would have no effect.

    Args:
        class_labels: the labels, or None.
        examples: the argument without which they have no effect; by default, it is the config's num_classes.
        name: the argument's name, for the message.
    """
    if class_labels is None:
        return
    missing = "num_classes is None: set it" if examples is None else f"there are no {examples}: pass them, too"
    raise ValueError(f"{name} were given, but {missing}, or leave {name} out")


def check_guidance_scale(guidance_scale: Any):
    """Raise ValueError unless a guidance scale is a finite number of 0 or more."""
    is_number = isinstance(guidance_scale, (int, float)) and not isinstance(guidance_scale, bool)
    if not is_number or not 0 <= guidance_scale < inf:
        raise ValueError(f"guidance_scale must be a number, 0 or more and finite, got {describe(guidance_scale)}")


def supports_guidance(sampler: Any) -> bool:
    """Whether a sampler has classes and is trained with some of them dropped."""
    has_classes, config = getattr(sampler, "num_classes", None) is not None, getattr(sampler, "config", None)
    return has_classes and bool(getattr(config, "class_dropout", 0))


def draw_class_labels(
    class_shares: Tensor, num_samples: int, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """(num_samples,) labels on a device, drawn with the shares (num_classes,) of the classes in a training set."""
    weights = class_shares.to(generator_device(generator, device))
    return torch.multinomial(weights, num_samples, replacement=True, generator=generator).to(device)


def choose_class_labels(
    class_labels: Any,
    class_shares: Tensor | None,
    num_samples: int,
    generator: torch.Generator | None,
    device: torch.device,
) -> Tensor | None:
    """(num_samples,) classes to sample given, on a device; None for a sampler without classes.

    Args:
        class_labels: as for [`check_class_labels`], or None to draw them.
        class_shares: (num_classes,) shares of the classes in the training set, or None without classes.
        num_samples: number of samples.
        generator: source of random numbers.
        device: device of the result.

    Raises:
        ValueError: if labels are not classes, or there are labels but no classes.
    """
    if class_shares is None:
        if class_labels is not None:
            raise ValueError(
                "this sampler was fitted without class_labels: set num_classes and fit it with class_labels"
            )
        return None
    if class_labels is None:
        return draw_class_labels(class_shares, num_samples, generator, device)
    return check_class_labels(class_labels, len(class_shares), num_samples, device)
