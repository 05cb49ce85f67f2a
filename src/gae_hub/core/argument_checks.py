"""Checks of the arguments of public methods. Each raises ValueError with the argument's name and what to pass."""

__all__ = [
    "check_count",
    "check_generator",
    "check_seed",
    "describe",
    "generator_device",
    "require_extra",
    "suggest",
]

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import torch


def check_count(name: str, value: Any, minimum: int = 1):
    """Raise ValueError unless an argument is an integer of at least `minimum`. Booleans are not integers here."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{name} must be an integer, got {describe(value)}")
    if value < minimum:
        raise ValueError(f"{name} must be {minimum} or more, got {value}")


def check_generator(generator: Any):
    """Raise ValueError unless an argument is a `torch.Generator` or None."""
    if generator is not None and not isinstance(generator, torch.Generator):
        seed = generator if isinstance(generator, int) and not isinstance(generator, bool) else 0
        raise ValueError(
            f"generator must be a torch.Generator or None, got {describe(generator)}: pass "
            f"torch.Generator().manual_seed({seed})"
        )


def check_seed(seed: Any) -> int:
    """Return a seed. ValueError unless it is an integer."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed must be an integer, got {describe(seed)}")
    return int(seed)


def generator_device(generator: torch.Generator | None, default: torch.device) -> torch.device:
    """The device on which random numbers are drawn: the generator's, or `default` without one.

    Raises:
        ValueError: if the generator is neither a `torch.Generator` nor None.
    """
    if generator is None:
        return default
    check_generator(generator)
    return generator.device


def suggest(name: str, known: Iterable[str], list_as: str) -> str:
    """The end of an error about an unknown name: the nearest known name, or else all of them after `list_as`."""
    known = list(known)
    near = get_close_matches(name, known, n=1) or [other for other in known if name in other]
    return f"did you mean '{near[0]}'?" if near else f"{list_as} {', '.join(known)}"


def describe(value: Any) -> str:
    """A value in an error: a number or a short text as it is, a class by its name, anything else by its type."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return f"the text '{value[:60]}'"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"an object of type {type(value).__name__}"


def require_extra(package: str, action: str):
    """Raise ImportError if an optional package is not installed, which the extra of its name installs.

    Args:
        package: name of the package.
        action: what needs it, the beginning of the message.
    """
    if find_spec(package) is None:
        raise ImportError(f"{action} needs {package}: pip install 'gae_hub[{package}]'")
