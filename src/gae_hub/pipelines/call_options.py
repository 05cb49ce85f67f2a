"""The options of a pipeline's calls, which are the parameters of its steps."""

__all__ = ["choose_options"]

from collections.abc import Callable
from inspect import signature
from typing import Any

from ..core.argument_checks import suggest


def choose_options(name: str, options: dict[str, Any], *functions: Callable[..., Any]) -> list[dict[str, Any]]:
    """The options of a call for each function: those that it has parameters for, after its first.

    Args:
        name: the pipeline's class, for the error.
        options: the options.
        functions: bound methods.

    Raises:
        TypeError: if no function has such a parameter.
    """
    accepted = [list(signature(function).parameters)[1:] for function in functions]
    known = [option for names in accepted for option in names]
    for option in options:
        if option not in known:
            hint = suggest(option, [*known, "batch_size", "num_workers"], "its options are")
            raise TypeError(f"{name} has no option '{option}'; {hint}")
    return [{option: options[option] for option in names if option in options} for names in accepted]
