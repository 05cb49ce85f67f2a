"""Digests of settings: short names that change when something does that a result depends on."""

__all__ = ["digest"]

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """SHA-256 of JSON values, as 64 hexadecimal digits. The order of keys has no effect; 1 and 1.0 are equal.

    Raises:
        TypeError: for a value that JSON does not have.
    """
    text = json.dumps(_normalize(value), sort_keys=True, ensure_ascii=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _normalize(value: Any) -> Any:
    """The value with whole floats as integers and tuples as lists, so that equal settings have equal texts."""
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, (list, tuple)):
        return [_normalize(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _normalize(item) for key, item in value.items()}
    raise TypeError(f"settings must be JSON values, got {type(value).__name__}")
