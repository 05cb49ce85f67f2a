"""Checks of what visitors send: numbers of the right kind, in the range that the app serves."""

__all__ = ["check_choice", "check_choices", "check_integer", "check_number", "check_numbers"]

from collections.abc import Collection
from math import isfinite
from typing import Any

from ..core.argument_checks import describe

_LARGEST_NUMBER = 1e6


def check_integer(name: str, value: Any, minimum: int, maximum: int) -> int:
    """Return an integer of this range. JSON has no integers, so 3.0 is one.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise ValueError(f"{name} must be an integer from {minimum} to {maximum:,}, got {describe(value)}")
    return value


def check_number(name: str, value: Any, minimum: float = -_LARGEST_NUMBER, maximum: float = _LARGEST_NUMBER) -> float:
    """Return a finite number of this range.

    Raises:
        ValueError: for anything else.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not minimum <= value <= maximum or not isfinite(value):
        raise ValueError(f"{name} must be a number from {minimum:g} to {maximum:g}, got {describe(value)}")
    return float(value)


def check_numbers(name: str, values: Any, max_count: int) -> list[float]:
    """Return a list of at most `max_count` finite numbers.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{name} must be a list of numbers, got {describe(values)}")
    if len(values) > max_count:
        raise ValueError(f"{name} must have at most {max_count} numbers, got {len(values)}")
    return [check_number(f"{name}[{index}]", value) for index, value in enumerate(values)]


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return a value that is one of the choices.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {describe(value)}")
    return value


def check_choices(name: str, values: Any, choices: Collection[str]) -> list[str]:
    """Return the values of a list that are all choices, each once.

    Args:
        name: what one value is, such as "a sampler".
        values: the list.
        choices: the choices.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"expected a list whose entries are each {name}, got {describe(values)}")
    return list(dict.fromkeys(check_choice(name, value, choices) for value in values))
