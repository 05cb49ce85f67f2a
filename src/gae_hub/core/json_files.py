"""Reading JSON files that may come from anyone."""

__all__ = ["check_nesting", "describe_type", "get_field", "read_json_object"]

import json
import reprlib
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bool, int, float, str, list)

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_VALUES = 100_000

_WORDS = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list", dict: "an object"}


def read_json_object(path: str | Path, max_bytes: int = MAX_BYTES, any_depth: bool = False) -> dict[str, Any]:
    """Content of a JSON file that holds one object.

    Args:
        path: the file.
        max_bytes: largest size that is read.
        any_depth: whether the caller checks how deeply values are nested, and how many there are.

    Raises:
        ValueError: if the file is too large, not JSON in UTF-8, not one object, or nested too deeply. The message
            names the file.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"'{path}': it has {size:,} bytes, expected at most {max_bytes:,}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not any_depth:
            check_nesting(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"'{path}': expected a JSON object, got {describe_type(content)}")
    return content


def get_field(content: Mapping[str, Any], name: str, kind: type[T], source: str | Path, default: T | None = None) -> T:
    """A value of a JSON object, if it has the expected type.

    Args:
        content: the object.
        name: key of the value.
        kind: expected type. A float may be written as an integer, and is finite. A bool is not an integer.
        source: the file, for messages.
        default: value of a missing key; None if the key is required.

    Raises:
        ValueError: if the key is missing, or its value has another type.
    """
    value: Any = content.get(name, default)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 1 << 63 else inf
    is_finite = not isinstance(value, float) or -inf < value < inf
    if isinstance(value, kind) and type(value) is kind and is_finite:
        return value
    found = f"{name} = {reprlib.repr(content[name])}" if name in content else f"no '{name}'"
    raise ValueError(f"{source} has {found}, expected {_WORDS[kind]}")


def check_nesting(value: Any):
    """Raise ValueError if lists and dicts are nested too deeply, or have too many values for settings.

    In YAML, a short text can stand for a list that contains itself, or for billions of values.
    """
    waiting, num_values = [(value, 0)], 0
    while waiting:
        found, depth = waiting.pop()
        num_values += 1
        if isinstance(found, (dict, list)):
            if depth == MAX_DEPTH:
                raise ValueError(f"lists and objects are nested deeper than {MAX_DEPTH} levels")
            if num_values + len(waiting) + len(found) > MAX_VALUES:
                raise ValueError(f"it has more than {MAX_VALUES:,} values")
            waiting += [(inner, depth + 1) for inner in (found.values() if isinstance(found, dict) else found)]


def describe_type(value: Any) -> str:
    """The JSON type of a value in words, such as "a list"."""
    return "null" if value is None else _WORDS.get(type(value), f"a {type(value).__name__}")
