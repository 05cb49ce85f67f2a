"""Checks that the training state in a checkpoint fits the run that resumes from it.

PyTorch and transformers check little of it: moments of another shape crash fused kernels, and values of another type
fail long after loading, or never.
"""

__all__ = ["check_like", "check_tensor", "check_weights", "describe", "fits", "is_number", "require"]

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn


@contextmanager
def fits(file: Path) -> Iterator[None]:
    """Extend the ValueErrors of checks inside this context by the file and what to do."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"'{file}' does not fit this run: {error}; resume from an earlier checkpoint, or with the model and the "
            "settings that saved it"
        ) from error


def check_like(found: Any, expected: Any, where: str):
    """Check that `found` has the structure of `expected`: keys, lengths, types of values, shapes and dtypes.

    Numbers must be finite if they are finite in `expected`. Where `expected` has None, everything but tensors is
    accepted. Keys that begin with an underscore may be missing or additional: they differ between versions of PyTorch.

    Raises:
        ValueError: if it does not. The message begins with `where`, extended by the keys that lead to the value.
    """
    if isinstance(expected, Mapping):
        require(isinstance(found, Mapping), where, "a dict", found)
        differences = [(key, "is missing") for key in expected if key not in found]
        differences += [(key, "is not expected") for key in found if key not in expected]
        for key, problem in differences:
            if not str(key).startswith("_"):
                raise ValueError(f"{where}.{key} {problem}")
        for key in expected.keys() & found.keys():
            check_like(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        require(isinstance(found, (list, tuple)), where, "a list", found)
        if len(found) != len(expected):
            raise ValueError(f"{where} has {len(found)} entries instead of {len(expected)}")
        for index, pair in enumerate(zip(found, expected, strict=True)):
            check_like(*pair, f"{where}.{index}")
    elif isinstance(expected, (Tensor, np.ndarray)):
        require(type(found) is type(expected), where, "a tensor", found)
        if tuple(found.shape) != tuple(expected.shape) or found.dtype != expected.dtype:
            raise ValueError(
                f"{where} has shape {tuple(found.shape)} and dtype {found.dtype} instead of {tuple(expected.shape)} "
                f"and {expected.dtype}"
            )
    elif expected is None:
        require(not isinstance(found, (Tensor, np.ndarray)), where, "a plain value", found)
    elif isinstance(expected, (bool, str)):
        require(isinstance(found, type(expected)), where, f"a {type(expected).__name__}", found)
    else:
        require(is_number(found), where, "a number", found)
        require(isfinite(found) or not isfinite(expected), where, "finite", found)


def check_weights(values: Any, model: nn.Module, where: str):
    """Check that `values` is a list of finite tensors, with the shapes of the model's parameters.

    Raises:
        ValueError: if it is not. The message names the parameter.
    """
    require(isinstance(values, list), where, "a list of tensors", values)
    parameters = list(model.named_parameters())
    if len(values) != len(parameters):
        raise ValueError(f"{where} have {len(values)} tensors, but the model has {len(parameters)} parameters")
    for value, (name, parameter) in zip(values, parameters, strict=True):
        check_tensor(value, parameter, f"{where} of {name}")


def check_tensor(value: Any, parameter: Tensor, where: str):
    """Check that `value` is a finite tensor with the shape and the kind of dtype of a parameter."""
    require(isinstance(value, Tensor), where, "a tensor", value)
    if value.shape != parameter.shape:
        raise ValueError(f"{where} has shape {tuple(value.shape)} instead of {tuple(parameter.shape)}")
    if value.is_floating_point() != parameter.is_floating_point():
        raise ValueError(f"{where} has dtype {value.dtype} instead of {parameter.dtype}")
    if not value.isfinite().all():
        raise ValueError(f"{where} has values that are nan or infinite")


def require(condition: bool, where: str, expected: str, found: Any):
    """Raise ValueError with what was expected and found, unless the condition holds."""
    if not condition:
        raise ValueError(f"{where} must be {expected}, got {describe(found)}")


def is_number(value: Any) -> bool:
    """Whether a value is an int or float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def describe(value: Any) -> str:
    """A short value as JSON, or the type of another one."""
    if value is None or isinstance(value, (int, float)) or (isinstance(value, str) and len(value) < 40):
        return json.dumps(value)
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    return f"a {type(value).__name__}"
